package carrier

// WebSocket, over tcp and over TLS: who listens, who dials, and the HTTP request
// between them.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

const (
	// subprotocol is nanomsg's name for a listener that sends.
	subprotocol = "push.sp.nanomsg.org"
	// headBytes is what an HTTP request or response may have, up to its empty line.
	headBytes = 8 << 10
	// httpProtocol is what TLS below HTTP names.
	httpProtocol = "http/1.1"
)

// ErrNoWebSocket: the other end does not agree to a WebSocket, or sends what is none.
var ErrNoWebSocket = errors.New("no WebSocket")

func listenWS(ctx context.Context, u address.URL, _ *TLS) (net.Listener, error) {
	ln, err := listenTCP(ctx, u, nil)
	if err != nil {
		return nil, err
	}
	return &wsListener{ln, u.Path}, nil
}

func listenWSS(ctx context.Context, u address.URL, t *TLS) (net.Listener, error) {
	ln, err := listenOver(ctx, u, t, speaksHTTP)
	if err != nil {
		return nil, err
	}
	return &wsListener{ln, u.Path}, nil
}

// wsListener makes WebSockets of the streams of another listener.
type wsListener struct {
	net.Listener
	path string
}

// Accept does no handshake: whoever reads or writes first does.
func (l *wsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newWebSocket(c, ws.StateServerSide, func(c *webSocket) error { return c.accept(l.path) }), nil
}

func dialWS(ctx context.Context, u address.URL, at string, to Target) (net.Conn, error) {
	c, err := dialTCP(ctx, u, at, to)
	if err != nil {
		return nil, err
	}
	return newWebSocket(c, ws.StateClientSide, func(c *webSocket) error { return c.request(u) }), nil
}

func dialWSS(ctx context.Context, u address.URL, at string, to Target) (net.Conn, error) {
	over := dialOver
	if u.Proxied {
		over = dialProxy
	}
	c, err := over(ctx, u, at, to, speaksHTTP)
	if err != nil {
		return nil, err
	}
	return newWebSocket(c, ws.StateClientSide, func(c *webSocket) error { return c.request(u) }), nil
}

// dialProxy opens a stream to a proxy at which TLS ends. It has to prove the name that is
// dialled, as any web server has, and says nothing about the sender.
func dialProxy(ctx context.Context, u address.URL, at string, to Target, _ spoken) (net.Conn, error) {
	c, err := dialTCP(ctx, u, at, to)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{httpProtocol}, ServerName: u.Host,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks more authorities
		VerifyConnection: func(s tls.ConnectionState) error {
			return to.TLS.verifyProxy(s.PeerCertificates, u.Host, time.Now())
		},
	}
	if to.TLS != nil {
		cfg.GetClientCertificate = to.TLS.shown
	}
	return &proxyConn{tls.Client(&under{Conn: c, left: strangerBytes}, cfg)}, nil
}

// proxyConn is a stream to a proxy. It is no Session: its other end is not the sender's.
type proxyConn struct{ *tls.Conn }

// Handshake is Opener's.
func (c *proxyConn) Handshake(ctx context.Context) error {
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if u, ok := c.NetConn().(*under); ok {
		u.trusted = true
	}
	return nil
}

// Close ends the stream at once.
func (c *proxyConn) Close() error { return c.NetConn().Close() }

// verifyProxy checks the certificates of a web server for a name: the authorities of links
// may have signed them, or those that the system trusts.
func (t *TLS) verifyProxy(chain []*x509.Certificate, host string, at time.Time) error {
	if len(chain) == 0 {
		return errors.New("the proxy shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	opts := x509.VerifyOptions{DNSName: host, Intermediates: between, CurrentTime: at}
	if t != nil {
		roots, _, err := t.authorities()
		if err == nil && roots != nil {
			opts.Roots = roots
			if _, err = chain[0].Verify(opts); err == nil {
				return nil
			}
		}
	}
	opts.Roots = nil // the system's
	if _, err := chain[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: fmt.Errorf("a proxy's certificate: %w", err)}
	}
	return nil
}

// accept answers the request for a WebSocket at a path.
func (c *webSocket) accept(path string) error {
	refused := func(status int, why string) error {
		return ws.RejectConnectionError(ws.RejectionStatus(status), ws.RejectionReason(why))
	}
	agreed := false
	_, err := ws.Upgrader{
		ReadBufferSize: headBytes,
		OnRequest: func(uri []byte) error {
			if at, _, _ := strings.Cut(string(uri), "?"); at != path {
				return refused(http.StatusNotFound, "there is nothing at this path")
			}
			return nil
		},
		Protocol: func(name []byte) bool {
			agreed = agreed || string(name) == subprotocol
			return string(name) == subprotocol
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !agreed {
				return nil, refused(http.StatusBadRequest, "the subprotocol is "+subprotocol)
			}
			return nil, nil
		},
	}.Upgrade(&head{c: c, left: headBytes, begins: "GET "})
	return noWebSocket(err)
}

// request asks for a WebSocket.
func (c *webSocket) request(u address.URL) error {
	_, hs, err := ws.Dialer{Protocols: []string{subprotocol}, ReadBufferSize: headBytes, Host: u.HostHeader()}.
		Upgrade(&head{c: c, left: headBytes, begins: "HTTP/"}, &url.URL{Path: u.Path})
	var status ws.StatusError
	switch {
	case errors.As(err, &status):
		return fmt.Errorf("%w: the answer is %d %s", ErrNoWebSocket, int(status), http.StatusText(int(status)))
	case err == nil && hs.Protocol != subprotocol:
		return fmt.Errorf("%w: the server does not know the subprotocol %s", ErrNoWebSocket, subprotocol)
	}
	return noWebSocket(err)
}

// noWebSocket tells what a peer has done wrong from the end of the stream.
func noWebSocket(err error) error {
	var network net.Error
	switch {
	case err == nil, errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, messages.ErrTooLarge), errors.Is(err, ErrNoWebSocket), errors.Is(err, net.ErrClosed):
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoWebSocket, err)
}

// head is the stream while HTTP is spoken on it. It gives out what belongs to a request or
// response, up to its empty line: what a quick peer sends behind that stays where frames
// are read from.
type head struct {
	c *webSocket
	// left is how much may still come.
	left int
	// begins is what the first bytes have to be: garbage is not waited for.
	begins string
	// line is how much there is of the line that comes now.
	line  int
	ended bool
}

func (h *head) Write(p []byte) (int, error) { return h.c.Conn.Write(p) }

func (h *head) Read(p []byte) (n int, err error) {
	if h.ended {
		return 0, io.EOF
	}
	if h.c.from == h.c.to {
		if err := h.c.fill(); err != nil {
			return 0, err
		}
	}
	for n < len(p) && h.c.from < h.c.to && !h.ended {
		b := h.c.in[h.c.from]
		switch {
		case h.left == 0:
			return n, fmt.Errorf("an HTTP head of more than %d bytes: %w", headBytes, messages.ErrTooLarge)
		case h.begins != "" && b != h.begins[0]:
			return n, fmt.Errorf("%w: byte %d is %q, and no HTTP", ErrNoWebSocket, headBytes-h.left+1, b)
		case h.begins != "":
			h.begins = h.begins[1:]
		}
		p[n] = b
		n, h.left, h.c.from = n+1, h.left-1, h.c.from+1
		switch b {
		case '\n':
			h.line, h.ended = 0, h.line == 0
		case '\r':
		default:
			h.line++
		}
	}
	return n, nil
}
