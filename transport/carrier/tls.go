package carrier

// TLS over tcp.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

const (
	// protocolName keeps streams of other protocols out, whose servers may have the same
	// certificate.
	protocolName = "penstock-link"
	// exporterLabel is what the bytes of Exporter are for.
	exporterLabel = "EXPORTER-penstock-link-proof"
	exporterSize  = 32
	// strangerBytes is what is read of a peer before its handshake has ended.
	strangerBytes = 64 << 10
	// recordSize is what a TLS record holds at most.
	recordSize = 16 << 10
	// readAhead is what one read of the kernel takes, once there is much to read.
	readAhead = 64 << 10
)

// spoken is the protocol inside TLS, by its name (ALPN). Clients that name none are
// served where unnamed is set.
type spoken struct {
	name    string
	unnamed bool
}

var (
	speaksLinks = spoken{name: protocolName}
	// Proxies that encrypt again may name nothing.
	speaksHTTP = spoken{name: httpProtocol, unnamed: true}
)

// check judges what was agreed on.
func (p spoken) check(s tls.ConnectionState, server bool) error {
	if s.NegotiatedProtocol == p.name || server && p.unnamed && s.NegotiatedProtocol == "" {
		return nil
	}
	return fmt.Errorf("the peer speaks %q, and not %s", s.NegotiatedProtocol, p.name)
}

// base is what both ends agree on.
func base(p spoken) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{p.name},
		// A resumed session would be one whose certificates were checked long ago.
		SessionTicketsDisabled: true,
		// Links are long: records as large as they may be from the first on.
		DynamicRecordSizingDisabled: true,
	}
}

func (t *TLS) server(p spoken) *tls.Config {
	cfg := base(p)
	cfg.ClientAuth = tls.RequestClientCert
	if t.c.Mutual {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := t.certificate()
		if err == nil && c == nil {
			err = errors.New("there is no certificate")
		}
		return c, err
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if err := p.check(s, true); err != nil {
			return err
		}
		if len(s.PeerCertificates) == 0 {
			return nil // Mutual has said whether it needs one
		}
		return t.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now())
	}
	return cfg
}

func (t *TLS) client(p spoken, host string, listed []string) *tls.Config {
	cfg := base(p)
	if _, err := netip.ParseAddr(host); err != nil {
		cfg.ServerName = host // for proxies that choose by it
	}
	// VerifyConnection checks the chain, and the identity in place of the name: the name that
	// was dialled says nothing about who a sender is, and etcd says it.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if err := p.check(s, false); err != nil {
			return err
		}
		if len(s.PeerCertificates) == 0 {
			return errors.New("the sender shows no certificate")
		}
		if err := t.verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
			return err
		}
		return identityOf(s.PeerCertificates[0]).isOneOf(listed)
	}
	cfg.GetClientCertificate = t.shown
	return cfg
}

// shown is the certificate for a server that asks for one.
func (t *TLS) shown(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c, err := t.certificate()
	if err == nil && c == nil {
		c = &tls.Certificate{} // shows none
	}
	return c, err
}

func listenTLS(ctx context.Context, u address.URL, t *TLS) (net.Listener, error) {
	return listenOver(ctx, u, t, speaksLinks)
}

func listenOver(ctx context.Context, u address.URL, t *TLS, p spoken) (net.Listener, error) {
	if t == nil {
		return nil, fmt.Errorf("listen on %s: %w: %w", u, messages.ErrInvalid, errNoTLS)
	}
	if _, err := t.Identities(); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", u, err)
	}
	ln, err := listenTCP(ctx, u, nil)
	if err != nil {
		return nil, err
	}
	return &tlsListener{Listener: ln, tls: t, cfg: t.server(p)}, nil
}

type tlsListener struct {
	net.Listener
	tls *TLS
	cfg *tls.Config
}

// Accept does no handshake: whoever reads or writes first does.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newTLSConn(c, l.tls, func(c net.Conn) *tls.Conn { return tls.Server(c, l.cfg) }, x509.ExtKeyUsageClientAuth), nil
}

func dialTLS(ctx context.Context, u address.URL, at string, to Target) (net.Conn, error) {
	return dialOver(ctx, u, at, to, speaksLinks)
}

func dialOver(ctx context.Context, u address.URL, at string, to Target, p spoken) (net.Conn, error) {
	if to.TLS == nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrInvalid, errNoTLS)
	}
	c, err := dialTCP(ctx, u, at, to)
	if err != nil {
		return nil, err
	}
	cfg := to.TLS.client(p, u.Host, to.Identities)
	return newTLSConn(c, to.TLS, func(c net.Conn) *tls.Conn { return tls.Client(c, cfg) }, x509.ExtKeyUsageServerAuth), nil
}

// tlsConn is a TLS stream over a tcp connection.
type tlsConn struct {
	*tls.Conn
	under *under
	tls   *TLS
	// usage is what the peer's certificates have to be for.
	usage x509.ExtKeyUsage
	// met is when the handshake ended, checked the era of the authorities that the peer
	// was checked against last.
	met     time.Time
	checked atomic.Uint64
}

func newTLSConn(c net.Conn, t *TLS, over func(net.Conn) *tls.Conn, usage x509.ExtKeyUsage) *tlsConn {
	u := &under{Conn: c, left: strangerBytes}
	return &tlsConn{Conn: over(u), under: u, tls: t, usage: usage}
}

// Handshake is Opener's.
func (c *tlsConn) Handshake(ctx context.Context) error {
	_, era, err := c.tls.authorities()
	if err != nil {
		return err
	}
	c.checked.Store(era)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	c.met = time.Now()
	c.under.trusted = true
	return nil
}

// Close ends the stream at once. TLS's own Close would wait for a peer that does not
// read; the frames above say by themselves where an orderly end is.
func (c *tlsConn) Close() error { return c.under.Close() }

// SyscallConn is the tcp connection's.
func (c *tlsConn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.under.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// Identity is Session's.
func (c *tlsConn) Identity() Identity {
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return Identity{}
	}
	return identityOf(chain[0])
}

// Exporter is Session's.
func (c *tlsConn) Exporter() ([]byte, error) {
	s := c.ConnectionState()
	return s.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
}

// Recheck is Session's. It costs little as long as the authorities are the same. A
// certificate that has expired since the handshake was good then, which is enough.
func (c *tlsConn) Recheck() error {
	_, era, err := c.tls.authorities()
	if err != nil || era == c.checked.Load() {
		return nil //nolint:nilerr // authorities that cannot be had condemn nobody
	}
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		// As of the handshake, and else as of now or the end of the certificates: an
		// authority's certificate may have been renewed since.
		if err := c.tls.verify(chain, c.usage, c.met); err != nil && c.tls.verify(chain, c.usage, lastGood(chain, time.Now())) != nil {
			return err
		}
	}
	c.checked.Store(era)
	return nil
}

// lastGood is now, or earlier: when the first of those certificates ended.
func lastGood(chain []*x509.Certificate, now time.Time) time.Time {
	for _, c := range chain {
		if c.NotAfter.Before(now) {
			now = c.NotAfter
		}
	}
	return now
}

// WritePieces writes head and body in records as large as may be, and in one write to
// the kernel.
func (c *tlsConn) WritePieces(head, body []byte) error {
	n := min(len(body), max(0, recordSize-len(head)))
	room := c.under.gather(len(head) + len(body))
	first := append(append(slices.Grow(room.first[:0], len(head)+n), head...), body[:n]...)
	_, err := c.Write(first)
	if err == nil && n < len(body) {
		_, err = c.Write(body[n:])
	}
	room.first = first
	if ferr := c.under.flush(); err == nil {
		err = ferr
	}
	return err
}

// under is the tcp connection below TLS.
type under struct {
	net.Conn

	// Reading. left is what a stranger may still send, until trusted.
	left    int
	trusted bool
	// in is what was read ahead, from and to what is left of it; last is how much came last.
	in             *[readAhead]byte
	from, to, last int

	// Writing. TLS writes on the goroutines of readers as well. out is where records are
	// gathered; nil while they are not.
	mu  sync.Mutex
	out *room
}

var errStrangerBytes = fmt.Errorf("a handshake of more than %d bytes: %w", strangerBytes, messages.ErrTooLarge)

// Read takes more than it was asked for, where there is more: a record would cost two
// reads of the kernel.
func (u *under) Read(p []byte) (int, error) {
	if !u.trusted {
		if u.left == 0 {
			return 0, errStrangerBytes
		}
		n, err := u.Conn.Read(p[:min(len(p), u.left)])
		u.left -= n
		return n, err
	}
	if u.from < u.to {
		n := copy(p, u.in[u.from:u.to])
		u.from += n
		return n, nil
	}
	if u.in != nil && u.last < recordSize {
		ahead.Put(u.in) // there is little to read
		u.in = nil
	}
	if u.in == nil || len(p) >= readAhead {
		n, err := u.Conn.Read(p)
		if n == len(p) && u.in == nil {
			u.in, u.last = ahead.Get().(*[readAhead]byte), readAhead // there is more
		}
		return n, err
	}
	n, err := u.Conn.Read(u.in[:])
	u.from, u.to, u.last = copy(p, u.in[:n]), n, n
	return u.from, err
}

// ahead and rooms are memory that links use while they have much to read or to write, and
// that idle ones do not keep.
var (
	ahead = sync.Pool{New: func() any { return new([readAhead]byte) }}
	rooms = sync.Pool{New: func() any { return new(room) }}
)

// room is memory for one write.
type room struct {
	first   []byte // what the first record holds
	records []byte // encrypted, for the kernel
}

// mostGathered is how much memory for records there is: more is written in several
// pieces.
const mostGathered = 96 << 10

// gather keeps what is written next, of about n bytes, until flush.
func (u *under) gather(n int) *room {
	r := rooms.Get().(*room)
	r.records = slices.Grow(r.records, min(n+recordSize/2, mostGathered))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out = r
	return r
}

// flush writes what was gathered.
func (u *under) flush() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.drain()
	rooms.Put(u.out)
	u.out = nil
	return err
}

func (u *under) drain() error {
	if len(u.out.records) == 0 {
		return nil
	}
	_, err := u.Conn.Write(u.out.records)
	u.out.records = u.out.records[:0]
	return err
}

func (u *under) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.out == nil {
		return u.Conn.Write(p)
	}
	if len(u.out.records)+len(p) > mostGathered {
		if err := u.drain(); err != nil {
			return 0, err
		}
	}
	u.out.records = append(u.out.records, p...)
	return len(p), nil
}
