package socket

// Where a listener is bound, and what it advertises.

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
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

// A listener tells once that its unix socket was replaced, or cannot be made again, and why;
// it makes the socket again when it can, and tells the next trouble.
func TestListenerTellsTrouble(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no ipc")
	}
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := dir + "/s"
	var told []string
	l, err := Listen(context.Background(), ListenerConfig{
		URLs:     []address.URL{{Scheme: address.IPC, File: file}, {Scheme: address.InProc, Host: "tells-trouble"}},
		Lookup:   func(string) (Secret, bool) { return Secret{}, false },
		Troubled: func(u address.URL, err error) { told = append(told, u.String()+" "+err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"at first", func() error { return nil }, ""},
		{"replaced", func() error { return errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600)) }, "somebody else"},
		{"deleted, and made again", func() error { return os.Remove(file) }, ""},
		{"replaced again", func() error { return errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600)) }, "somebody else"},
		{"deleted with its directory", func() error { return os.RemoveAll(dir) }, "make the directory"},
		{"the directory is back", func() error { return os.Mkdir(dir, 0o700) }, ""},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		told = nil
		for range 3 {
			if l.Look() {
				t.Errorf("%s: the URLs changed to %v", step.name, l.URLs())
			}
		}
		if n := len(told); step.want == "" && n > 0 || step.want != "" && (n != 1 || !strings.HasPrefix(told[0], "ipc://"+file) || !strings.Contains(told[0], step.want)) {
			t.Errorf("%s: told %q, want %q once", step.name, told, step.want)
		}
		if _, err := os.Lstat(file); step.want == "" && err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}

// What stays in this machine is exposed to nobody.
func TestLocalListenersAreNotExposed(t *testing.T) {
	urls := []address.URL{{Scheme: address.InProc, Host: "not-exposed"}}
	if runtime.GOOS != "windows" {
		urls = append(urls, address.URL{Scheme: address.IPC, File: t.TempDir() + "/s"})
	}
	l, err := Listen(context.Background(), ListenerConfig{URLs: urls, Lookup: func(string) (Secret, bool) { return Secret{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if open := l.Exposed(); len(open) > 0 {
		t.Errorf("exposed are %v", open)
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
