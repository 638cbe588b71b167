package embedded

// What a caller may change, and the defaults that fit a log kept in etcd.

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/penstock-io/penstock/messages"
)

// Option changes how Start runs the server.
type Option interface{ apply(*options) }

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

type options struct {
	listen  string
	peer    string // empty: no port for peers
	quota   int64
	history time.Duration
	fsync   fsync
	log     *zap.Logger
	tune    func(*embed.Config)
	pace    pace // a look of 0: never
	told    func(Defragmentation)
}

// fsync says whether commits reach the disk before they are answered.
type fsync bool

const (
	durable fsync = true
	unsafe  fsync = false
)

func defaults() options {
	return options{listen: "127.0.0.1:0", quota: 8 << 30, history: 10 * time.Minute, fsync: durable, log: zap.NewNop(), tune: func(*embed.Config) {},
		pace: defaultPace(), told: func(Defragmentation) {}}
}

// Listen sets the address for clients, host:port. Port 0 takes a free one,
// which Server.Endpoint tells. The default is 127.0.0.1:0. There is no
// authentication: see the package comment before leaving the loopback.
func Listen(hostport string) Option {
	return optionFunc(func(o *options) { o.listen = hostport })
}

// Peer opens a port for other etcd members, host:port, so that members can be
// added to this one later. Without it the server stays alone. The address is
// written into the data directory when that is new, so give a fixed port.
func Peer(hostport string) Option {
	return optionFunc(func(o *options) { o.peer = hostport })
}

// Quota bounds the size of the database file in bytes; the default is 8 GiB,
// etcd's own advice for the maximum. Past it etcd refuses every write but
// deletes, leases included.
func Quota(bytes int64) Option {
	return optionFunc(func(o *options) { o.quota = bytes })
}

// History sets how long etcd keeps overwritten and deleted values; the default
// is 10 minutes, the least is 5: slower watchers may still need them.
func History(d time.Duration) Option {
	return optionFunc(func(o *options) { o.history = d })
}

// ZapLogger sends etcd's log lines to log. The default drops them. A sink that
// blocks makes etcd hang. The option that comes last wins.
func ZapLogger(log *zap.Logger) Option {
	return optionFunc(func(o *options) { o.log = log })
}

// Logger is ZapLogger for slog.
func Logger(log *slog.Logger) Option {
	return optionFunc(func(o *options) { o.log = zap.New(slogCore{log.Handler()}) })
}

// OnDefragment has told called after each time that the server was defragmented, which it
// is in quiet moments, or that an alarm was ended whose reason was gone: see the package comment. told is called by the server's goroutine, one
// call at a time, and Close waits for it: it must not block, nor call Close.
func OnDefragment(told func(Defragmentation)) Option {
	return optionFunc(func(o *options) { o.told = told })
}

// NeverDefragment leaves it to others to defragment the server.
func NeverDefragment() Option {
	return optionFunc(func(o *options) { o.pace = pace{} })
}

// UnsafeNoFsync answers commits before they are on disk: a crash of the
// machine loses or corrupts what was written. For tests only.
func UnsafeNoFsync() Option {
	return optionFunc(func(o *options) { o.fsync = unsafe })
}

// Tune lets change see and change etcd's own configuration last, before the
// server starts: for TLS, metrics and whatever has no option here. Addresses
// stay with Listen and Peer, the directory with Start. With TLS, Server.Config
// must be completed by the caller.
func Tune(change func(*embed.Config)) Option {
	return optionFunc(func(o *options) { o.tune = change })
}

// validate returns all faults at once.
func (o options) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{messages.ErrInvalid}, args...)...))
	}
	if _, err := parseAddress(o.listen); err != nil {
		fault("Listen(%q): %v", o.listen, err)
	}
	if o.peer != "" {
		if _, err := parseAddress(o.peer); err != nil {
			fault("Peer(%q): %v", o.peer, err)
		}
	}
	if o.quota < 1<<20 {
		fault("Quota(%d): less than 1 MiB", o.quota)
	}
	if o.history < 5*time.Minute {
		fault("History(%v): less than 5m, watchers that lag would lose their place", o.history)
	}
	if o.log == nil {
		fault("ZapLogger(nil)")
	}
	if o.told == nil {
		fault("OnDefragment(nil)")
	}
	if o.tune == nil {
		fault("Tune(nil)")
	}
	return errors.Join(faults...)
}

// address is where a listener binds.
type address struct {
	host string
	port int // 0: any
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// parseAddress takes host:port apart. etcd binds IP addresses only, so the one
// name that everybody writes is translated.
func parseAddress(hostport string) (address, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return address{}, fmt.Errorf("want host:port: %w", err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if host == "" {
		return address{}, errors.New("the host is missing; 0.0.0.0 binds all interfaces")
	}
	if net.ParseIP(host) == nil {
		return address{}, fmt.Errorf("host %q is not an IP address", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return address{host, int(n)}, nil
}

// advertised is the address that clients in this process use: an address that
// binds all interfaces is not one to connect to.
func (a address) advertised() address {
	if ip := net.ParseIP(a.host); ip.IsUnspecified() {
		if ip.To4() != nil {
			a.host = "127.0.0.1"
		} else {
			a.host = "::1"
		}
	}
	return a
}

// free returns a with a port that nobody has bound at this moment. Somebody
// may take it before etcd does, so its caller tries more than once.
func (a address) free() (address, error) {
	if a.port != 0 {
		return a, nil
	}
	l, err := net.Listen("tcp", a.String())
	if err != nil {
		return a, fmt.Errorf("find a free port on %s: %w", a.host, err)
	}
	a.port = l.Addr().(*net.TCPAddr).Port
	return a, l.Close()
}

// makeDir makes the data directory, or a temporary one.
func makeDir(dir string) (path string, temporary bool, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", "penstock-etcd-")
		return path, true, err
	}
	return dir, false, os.MkdirAll(dir, 0o700)
}
