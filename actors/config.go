package actors

// What can be set, with its defaults and limits. Validate names every fault at
// once.

import (
	"cmp"
	"log/slog"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// Defaults of an engine.
const (
	DefaultPrefix    = "/penstock"
	DefaultListen    = "tcp://:0"
	DefaultListenTLS = "tls+tcp://:0"
	DefaultLeaseTTL  = 10 * time.Second

	// LeastHistory is the least of Config.History.
	LeastHistory = topics.LeastHistory
)

// Config is what an engine needs.
type Config struct {
	// Etcd is penstock.EtcdConfig. Required: Endpoints.
	Etcd clientv3.Config
	// Prefix is penstock.Prefix. Default DefaultPrefix.
	Prefix string
	// Listen is penstock.Listen: URLs with spaces in between. Default DefaultListen, or
	// DefaultListenTLS with LinkTLS.
	Listen string
	// LinkTLS is penstock.LinkTLS; nil for none.
	LinkTLS *carrier.Certificates
	// RequireTLS is penstock.RequireTLS. It needs LinkTLS.
	RequireTLS bool
	// AllowMembers is penstock.AllowMembers; nil for none.
	AllowMembers func(destination, group string, id carrier.Identity) error
	// AllowMembersEvery is how often AllowMembers is asked again about members that are linked;
	// 30 s when 0.
	AllowMembersEvery time.Duration
	// AllowListedMembers is penstock.AllowListedMembers. It needs LinkTLS.
	AllowListedMembers bool
	// Zone is penstock.Zone; empty for none.
	Zone string
	// LeaseTTL is penstock.LeaseTTL: 2 s to 1 h. Default DefaultLeaseTTL.
	LeaseTTL time.Duration
	// EtcdQuota is penstock.EtcdQuota; 0 is what etcd says, and negative is not looked at.
	EtcdQuota int64
	// History is penstock.CompactHistory: 5 min or more; 0 for not at all.
	History time.Duration
	// Logger is penstock.Logger; nil logs nothing.
	Logger *slog.Logger
	// Tracing is penstock.Tracing; nil for none.
	Tracing trace.TracerProvider
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	if c.LinkTLS != nil {
		c.Listen = cmp.Or(c.Listen, DefaultListenTLS)
	}
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, DefaultLeaseTTL)
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults node.Faults
	faults.Join(discovery.Validate(c.Etcd))
	faults.Join(keys.Space(c.Prefix).Validate())
	_, err := address.ParseAll(c.Listen)
	faults.Join(err)
	if c.LinkTLS != nil {
		faults.Join(c.LinkTLS.Check())
	} else if c.RequireTLS {
		faults.Add("TLS is required, and there are no certificates: give LinkTLS")
	}
	if c.LinkTLS == nil && c.AllowListedMembers {
		faults.Add("listed members alone may join, and there are no certificates to know them by: give LinkTLS")
	}
	faults.Join(messages.ValidateZone(c.Zone))
	if c.LeaseTTL < 2*time.Second || c.LeaseTTL > time.Hour {
		faults.Add("lease TTL %s: it must be between 2s and 1h", c.LeaseTTL)
	}
	if c.History != 0 && c.History < LeastHistory {
		faults.Add("history of %s: etcd's history is compacted to %s at least", c.History, LeastHistory)
	}
	return faults.Err()
}

// links reads the certificates, and finds out whether links can be made as the
// configuration says; the error wraps messages.ErrInvalid.
func (c *Config) links() (*pipes.Links, error) {
	l := &pipes.Links{Listen: c.Listen, RequireTLS: c.RequireTLS, Allow: c.AllowMembers, AllowEvery: c.AllowMembersEvery, AllowListed: c.AllowListedMembers}
	l.Here.Process, l.Here.Machine, l.Here.Host = node.Process(), node.Machine(), hostName(os.Hostname())
	if c.LinkTLS != nil {
		var err error
		if l.TLS, err = carrier.NewTLS(*c.LinkTLS); err != nil {
			return nil, err
		}
	}
	_, err := l.Listens(c.Listen)
	return l, err
}
