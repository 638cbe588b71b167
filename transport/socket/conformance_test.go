package socket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
	"github.com/penstock-io/penstock/transport/socket/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dialTCP(address net.Addr) (net.Conn, error) { return net.Dial("tcp", address.String()) }

func listenTCP(t *testing.T) (net.Listener, string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln, ln.Addr().String()
}

func TestTCP(t *testing.T) {
	conformance.Run(t, conformance.Features{Descriptors: true, RawDial: dialTCP, RawListen: listenTCP},
		func(*testing.T) string { return "tcp://127.0.0.1:0" })
}

func TestTLS(t *testing.T) {
	files := carriertest.NewCA(t).Issue(t, time.Hour, "orders.example")
	cfg := bareTLS(t, files)
	conformance.Run(t, conformance.Features{
		Descriptors: true, TLS: files.TLS(t), Identities: []string{"orders.example"},
		RawDial: func(address net.Addr) (net.Conn, error) { return tls.Dial("tcp", address.String(), cfg) },
		RawListen: func(t *testing.T) (net.Listener, string) {
			ln, at := listenTCP(t)
			return tls.NewListener(ln, cfg), at
		},
		TapDial: dialTCP, TapListen: listenTCP, Injected: socket.ErrTLS,
	}, func(*testing.T) string { return "tls+tcp://127.0.0.1:0" })
}

func TestWS(t *testing.T) {
	dial, listen := bareSockets(t, "ws://127.0.0.1:0/a/path", carrier.Target{})
	conformance.Run(t, conformance.Features{
		Descriptors: true, RawDial: dial, RawListen: listen,
		TapDial: dialTCP, TapListen: listenTCP, Injected: frame.ErrProtocol,
	}, func(*testing.T) string { return "ws://127.0.0.1:0/a/path" })
}

func TestWSS(t *testing.T) {
	files := carriertest.NewCA(t).Issue(t, time.Hour, "orders.example")
	to := carrier.Target{TLS: files.TLS(t), Identities: []string{"orders.example"}}
	dial, listen := bareSockets(t, "wss://127.0.0.1:0", to)
	conformance.Run(t, conformance.Features{
		Descriptors: true, Crowd: 200, TLS: to.TLS, Identities: to.Identities, RawDial: dial, RawListen: listen,
		TapDial: dialTCP, TapListen: listenTCP, Injected: socket.ErrTLS,
	}, func(*testing.T) string { return "wss://127.0.0.1:0" })
}

// bareSockets are streams of a scheme of WebSocket for who speaks SP or does not.
func bareSockets(t *testing.T, at string, to carrier.Target) (func(net.Addr) (net.Conn, error), func(*testing.T) (net.Listener, string)) {
	u, err := address.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(addr net.Addr) (net.Conn, error) {
		c, err := by.Dial(context.Background(), u, addr.String(), to)
		return &bareSocket{Conn: c, begin: []byte("\x00SP\x00\x00\x51\x00\x00")}, err
	}
	listen := func(t *testing.T) (net.Listener, string) {
		ln, err := by.Listen(context.Background(), u, to.TLS)
		if err != nil {
			t.Fatal(err)
		}
		return bareListener{ln}, ln.Addr().String()
	}
	return dial, listen
}

type bareListener struct{ net.Listener }

func (l bareListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &bareSocket{Conn: c, begin: []byte("\x00SP\x00\x00\x50\x00\x00")}, nil
}

// bareSocket agrees to a WebSocket when the SP header is written, and sends anything else
// that comes first as it is, below HTTP. Half a length waits for the other half.
type bareSocket struct {
	net.Conn
	begin, held []byte
}

func (c *bareSocket) below() net.Conn { return c.Conn.(interface{ NetConn() net.Conn }).NetConn() }

func (c *bareSocket) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	if len(c.held) < 8 {
		return len(p), nil
	}
	b := c.held
	c.held = nil
	var err error
	switch {
	case bytes.Equal(b, c.begin):
		c.begin = nil
		if err = c.Conn.(carrier.Opener).Handshake(context.Background()); err == nil {
			_, err = c.Conn.Write(b)
		}
	case c.begin != nil:
		_, err = c.below().Write(b)
	case b[0]&0x80 != 0: // more than a frame can have
		_, err = c.below().Write([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	default:
		_, err = c.Conn.Write(b)
	}
	return len(p), err
}

func (c *bareSocket) Read(p []byte) (int, error) {
	if c.begin != nil {
		return c.below().Read(p)
	}
	return c.Conn.Read(p)
}

// bareTLS is what Go's own TLS speaks with a listener, on either side.
func bareTLS(t *testing.T, f carriertest.Files) *tls.Config {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "orders.example", NextProtos: []string{"penstock-link"}}
}

func TestIPC(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("ipc is not for windows")
	}
	// Not the test's own directory: its name is too long for a unix socket.
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left are %v, %v", left, err)
		}
		_ = os.RemoveAll(dir)
	})
	var last atomic.Uint64
	free := func() string { return fmt.Sprintf("%s/%d", dir, last.Add(1)) }
	conformance.Run(t, conformance.Features{
		Descriptors: true,
		RawDial:     func(address net.Addr) (net.Conn, error) { return net.Dial("unix", address.String()) },
		RawListen: func(t *testing.T) (net.Listener, string) {
			at := free()
			ln, err := net.Listen("unix", at)
			if err != nil {
				t.Fatal(err)
			}
			return ln, at
		},
	}, func(*testing.T) string { return "ipc://" + free() })
}

func TestInProc(t *testing.T) {
	var last atomic.Uint64
	free := func() string { return fmt.Sprintf("inproc-%d", last.Add(1)) }
	by, err := carrier.Of(address.InProc)
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, conformance.Features{
		RawDial: func(at net.Addr) (net.Conn, error) {
			return by.Dial(context.Background(), address.URL{}, at.String(), carrier.Target{})
		},
		RawListen: func(t *testing.T) (net.Listener, string) {
			at := free()
			ln, err := by.Listen(context.Background(), address.URL{Scheme: address.InProc, Host: at}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return ln, at
		},
	}, func(*testing.T) string { return "inproc://" + free() })
}
