package socket_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/transport/carrier/carriertest"
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
		TapDial: dialTCP, TapListen: listenTCP,
	}, func(*testing.T) string { return "tls+tcp://127.0.0.1:0" })
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
