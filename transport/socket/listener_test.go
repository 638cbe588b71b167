package socket

// Where a listener is bound, and what it advertises.

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

// A listener follows its machine's addresses, and lets in who dials an old one.
func TestListenerLooks(t *testing.T) {
	l, err := Listen(context.Background(), ListenerConfig{Lookup: func(string) (Secret, bool) { return Secret{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	first := l.URLs()
	if l.Look() || l.URL() != first[0] {
		t.Errorf("%v changed by itself to %v", first, l.URLs())
	}
	l.doors[0].hosts = func(string) []string { return []string{"10.9.8.7"} }
	if !l.Look() || l.Look() || len(l.URLs()) != 1 || !strings.HasPrefix(l.URLs()[0], "tcp://10.9.8.7:") {
		t.Errorf("the address changed, and %v is advertised", l.URLs())
	}
	if d := l.doors[0].dialled(); !slices.Contains(d, first[0]) || !slices.Contains(d, l.URLs()[0]) {
		t.Errorf("let in are those who dialled %v", d)
	}
}

func TestPortRange(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	cfg := ListenerConfig{
		URLs:   []address.URL{{Scheme: "tcp", Host: "127.0.0.1", PortLow: port, PortHigh: port}},
		Lookup: func(string) (Secret, bool) { return Secret{}, false },
	}
	if _, err := Listen(context.Background(), cfg); !errors.Is(err, messages.ErrAddrInUse) || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("one port, taken: %v, want ErrAddrInUse with the port", err)
	}
	cfg.URLs[0].PortHigh = min(port+50, 65535)
	l, err := Listen(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got := l.Addr().(*net.TCPAddr).Port; got <= port || got > cfg.URLs[0].PortHigh {
		t.Errorf("bound %d, want one after %d", got, port)
	}
	if want := "tcp://" + l.Addr().String(); l.URL() != want {
		t.Errorf("advertises %s, want %s", l.URL(), want)
	}
}
