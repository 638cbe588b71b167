package socket_test

import (
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/transport/socket/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTCP(t *testing.T) {
	conformance.Run(t, conformance.Features{
		Descriptors: true,
		RawDial: func(address net.Addr) (net.Conn, error) {
			return net.Dial("tcp", address.String())
		},
		RawListen: func(t *testing.T) (net.Listener, string) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return ln, ln.Addr().String()
		},
	}, func(*testing.T) string { return "tcp://127.0.0.1:0" })
}
