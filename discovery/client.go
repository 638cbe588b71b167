package discovery

// Clients of etcd that do what they are told once, and that know why they
// could not.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"

	"github.com/penstock-io/penstock/messages"
)

// Clients are the connections to etcd of one runtime.
type Clients struct {
	// Control carries leases, registrations and lists.
	Control *clientv3.Client
	// Watch carries watches, so that a flood of events does not delay a
	// renewal of the lease.
	Watch *clientv3.Client
}

// Dial makes the clients of one runtime from one configuration, as NewClient
// does.
func Dial(cfg clientv3.Config) (*Clients, error) {
	control, err := NewClient(cfg)
	if err != nil {
		return nil, err
	}
	watch, err := NewClient(cfg)
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	return &Clients{Control: control, Watch: watch}, nil
}

// Close closes both connections. Calls and Runs that still use them fail.
func (c *Clients) Close() error {
	err := errors.Join(c.Watch.Close(), c.Control.Close())
	// A client whose context was cancelled says so when it is closed: no news.
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// NewClient makes one client. It differs from clientv3.New in this: no request
// is repeated behind the caller's back but one that was turned away unread (by a
// member that is cut off from the others, a learner, a proxy without an etcd), which
// goes to another endpoint at once; failures to connect are named in
// errors, an etcd that comes back is found within 2 s, a dead connection is
// noticed within 15 s, and, unless cfg says otherwise, nothing is logged and
// DialTimeout is 5 s. Watch and Registry need a client made here: with any
// other, their watches resume where they should not.
//
// With a user in cfg it logs in, and blocks for up to DialTimeout; without one
// it does not wait for etcd. The error wraps messages.ErrInvalid, ErrDenied or
// ErrUnavailable.
func NewClient(cfg clientv3.Config) (*clientv3.Client, error) {
	if err := Validate(cfg); err != nil {
		return nil, err
	}
	// Each attempt is one attempt: 0 would mean a hundred.
	cfg.MaxUnaryRetries = 1
	if cfg.Logger == nil && cfg.LogConfig == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.DialKeepAliveTime == 0 {
		cfg.DialKeepAliveTime, cfg.DialKeepAliveTimeout = 10*time.Second, 5*time.Second
	}
	x := newExplainer(cfg.Endpoints)
	// In front, so that options of the caller's win.
	options := []grpc.DialOption{
		grpc.WithConnectParams(reconnect), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(exact)),
		grpc.WithChainUnaryInterceptor(x.call, nameLimits(cfg.MaxCallRecvMsgSize), askElsewhere),
		grpc.WithChainStreamInterceptor(x.stream, x.openOnce, streamElsewhere),
	}
	if cfg.Username != "" {
		l := newLogins()
		options = append(options, grpc.WithChainUnaryInterceptor(l.call), grpc.WithChainStreamInterceptor(l.stream))
	}
	cfg.DialOptions = append(options, cfg.DialOptions...)
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, Classify("connect to etcd at "+places(cfg.Endpoints), err)
	}
	return client, nil
}

// reconnect is how a client looks for an etcd that went away. gRPC's default
// would have it wait two minutes between attempts after a long outage, many
// times the life of a lease.
var reconnect = grpc.ConnectParams{
	Backoff:           grpcbackoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// DefaultDialTimeout bounds the login of a client whose configuration does not
// say otherwise.
const DefaultDialTimeout = 5 * time.Second

// Validate returns all faults of a configuration at once; each wraps
// messages.ErrInvalid.
func Validate(cfg clientv3.Config) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: etcd configuration: "+format, append([]any{messages.ErrInvalid}, args...)...))
	}
	if len(cfg.Endpoints) == 0 {
		fault("no endpoint given, for example 127.0.0.1:2379")
	}
	for _, e := range cfg.Endpoints {
		switch {
		case strings.TrimSpace(e) == "":
			fault("an endpoint is empty")
		case strings.ContainsAny(e, " \t\n,"):
			fault("endpoint %q holds a space or comma; give several as several", place(e))
		case len(cfg.DialOptions) > 0: // there may be a dialer among them, with addresses of its own
		default:
			if err := CheckEndpoint(e); err != nil {
				faults = append(faults, err)
			}
		}
	}
	if err := CheckTLS(cfg.Endpoints, cfg.TLS != nil); err != nil && (cfg.TLS != nil || len(cfg.DialOptions) == 0) {
		faults = append(faults, err) // options may hold credentials of the transport
	}
	if cfg.Token != "" && (cfg.Username != "" || cfg.Password != "") {
		fault("both a token and a user are set; use one")
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		fault("a user needs a password, and a password a user")
	}
	if !utf8.ValidString(cfg.Username) || !utf8.ValidString(cfg.Password) || !utf8.ValidString(cfg.Token) {
		fault("a user, password or token is not UTF-8")
	}
	if cfg.DialTimeout < 0 {
		fault("DialTimeout is negative")
	}
	return errors.Join(faults...)
}

// CheckEndpoint reports whether etcd's client can make an address of an endpoint.
// One that it cannot is to it one that does not answer. The error wraps
// messages.ErrInvalid.
func CheckEndpoint(endpoint string) error {
	if dialable(endpoint) {
		return nil
	}
	return fmt.Errorf("%w: etcd endpoint %q is no address: want host:port, http(s)://host:port or unix://path, and no zone", messages.ErrInvalid, place(endpoint))
}

// dialable goes by what clientv3 and the dialer below it do with an endpoint.
func dialable(endpoint string) bool {
	scheme, rest, _ := strings.Cut(endpoint, ":")
	if s := strings.ToLower(scheme); s == "unix" || s == "unixs" {
		return strings.Trim(rest, "/") != ""
	}
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return false
		}
		endpoint = u.Host
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	ip, noIP := netip.ParseAddr(host)
	n, err := net.LookupPort("tcp", port) // by its name too; nobody is asked
	return err == nil && n > 0 && (noIP == nil && ip.Zone() == "" || noIP != nil && !strings.ContainsFunc(host, notOfName))
}

// notOfName reports whether a character cannot be in the name of a host. No name
// at all is this machine's.
func notOfName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
}

// Where names the endpoints of a client for errors and logs, without
// passwords.
func Where(c *clientv3.Client) string { return places(c.Endpoints()) }

func places(endpoints []string) string {
	shown := make([]string, len(endpoints))
	for i, e := range endpoints {
		shown[i] = place(e)
	}
	return strings.Join(shown, ",")
}

// place is an endpoint without the password that its URL may hold.
func place(endpoint string) string {
	if !strings.Contains(endpoint, "@") {
		return endpoint
	}
	if u, err := url.Parse(endpoint); err == nil && u.User != nil {
		return u.Redacted()
	}
	return "…" + endpoint[strings.LastIndex(endpoint, "@"):]
}

// Space is how large the database of a member of etcd is, in bytes.
type Space struct {
	// InUse is what is in use of it, File what it has taken of its file so far. Quota is 0
	// where etcd does not say it, as versions before 3.6.
	InUse, File, Quota int64
	// Alarms are the kinds of alarms of the cluster, such as NOSPACE, sorted, each once.
	Alarms []string
}

// SpaceOf asks a member of etcd how large its database is. It takes one request. The error
// wraps messages.ErrUnavailable or ErrDenied.
func SpaceOf(ctx context.Context, c *clientv3.Client) (Space, error) {
	s, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return Space{}, Classify("look how large etcd is", err)
	}
	return Space{InUse: s.DbSizeInUse, File: s.DbSize, Quota: s.DbSizeQuota, Alarms: alarmsIn(s.Errors)}, nil
}

// alarmsIn are the kinds of alarms that a member's status names beside other errors.
func alarmsIn(errs []string) (kinds []string) {
	for _, text := range errs {
		if _, kind, ok := strings.Cut(text, "alarm:"); ok {
			kind, _, _ = strings.Cut(kind, " ")
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}
