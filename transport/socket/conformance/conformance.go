package conformance

// What the suite is told of a transport, and how it is run.

import (
	"net"
	"testing"

	"github.com/penstock-io/penstock/transport/carrier"
)

// Features says what of the suite applies to a transport.
type Features struct {
	// RawDial opens the bare byte stream under a listener's address, for tests
	// that send garbage. Nil skips them, and those that need RawListen.
	RawDial func(address net.Addr) (net.Conn, error)
	// RawListen opens a bare listener of that kind, for impostors and for
	// proxies that cut or inject; it returns the address as it stands in a
	// URL's advertise option. Nil skips the tests that need it.
	RawListen func(t *testing.T) (ln net.Listener, advertise string)
	// TapListen and TapDial are the same below encryption: for proxies, which pass on
	// what they cannot read. Nil where RawListen and RawDial are it.
	TapListen func(t *testing.T) (ln net.Listener, advertise string)
	TapDial   func(address net.Addr) (net.Conn, error)
	// Injected is how a stray length is noticed that a proxy injects; nil where that is as a
	// frame that is too large.
	Injected error
	// TLS and Identities are those of listeners and of who dials them; nil without
	// encryption.
	TLS        *carrier.TLS
	Identities []string
	// Crowd is how many connections the crowded tests open, 1000 when it is 0: fewer where
	// that would be said of a layer that has a suite of its own.
	Crowd int
	// Descriptors tells that each connection holds a file descriptor, so that
	// leaks can be counted where the system shows them.
	Descriptors bool
}

// Run runs the suite. url returns a URL to listen on that is free, as
// address.Parse takes it and without options; it is called for each listener.
func Run(t *testing.T, features Features, url func(t *testing.T) string) {
	if features.Crowd == 0 {
		features.Crowd = 1000
	}
	s := &suite{features: features, url: url}
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *suite)
	}{
		{"Handshake", handshakeTests},
		{"Strangers", strangerTests},
		{"Frames", frameTests},
		{"Life", lifeTests},
		{"End", endTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, s) })
			}
		})
	}
}

type suite struct {
	features Features
	url      func(t *testing.T) string
}
