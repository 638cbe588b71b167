package pipes_test

// Stock nanomsg peers: what they get, what they give, and whom they cannot harm.

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// schemes are those by which stock peers come, each with a URL to listen at.
var schemes = map[string]string{"tcp": "tcp://127.0.0.1:0", "ws": "ws://127.0.0.1:0/orders", "ipc": ""}

// place is a URL of that scheme to listen at.
func place(t *testing.T, scheme string) string {
	if scheme == "ipc" {
		return "ipc://" + filepath.Join(t.TempDir(), "s") // short: the system takes some 100 bytes
	}
	return schemes[scheme]
}

// tools are the peers of others, and the packages that have them.
var tools = map[string]string{"nngcat": "nng-utils", "nanocat": "nanomsg-utils"}

// tool is a process of one of tools, whose output is being read.
type tool struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once it has

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *tool) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// printed are the lines that the tool has printed.
func (p *tool) printed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Fields(p.out.String())
}

// begin begins one of tools, and kills it at the end.
func begin(t *testing.T, name string, args ...string) *tool {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: apt-get install %s", name, tools[name])
	}
	p := &tool{cmd: exec.CommandContext(t.Context(), name, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it is killed, mostly
	}()
	t.Cleanup(func() { p.kill(t) })
	return p
}

// kill ends the tool, and waits until its port is free.
func (p *tool) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill() // it may have ended
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Errorf("%s did not end", p.cmd.Path)
	}
}

// pulls begins a tool that pulls from url, a line for each message.
func pulls(t *testing.T, name, url string) *tool {
	t.Helper()
	if name == "nngcat" {
		return begin(t, name, "--pull0", "--dial", url, "--quoted")
	}
	return begin(t, name, "--pull", "--connect", url, "--quoted")
}

// plainPeers is how many plain peers a destination has.
func plainPeers(d *actors.Destination) (n int) {
	for _, s := range d.Stats() {
		if s.Group == messages.PlainGroup {
			n += s.Links
		}
	}
	return n
}

// pushes begins a tool that listens at url and sends text again and again.
func pushes(t *testing.T, name, url, text string) *tool {
	t.Helper()
	if name == "nngcat" {
		return begin(t, name, "--push0", "--listen", url, "--data", text, "--interval", "1", "--count", "100")
	}
	return begin(t, name, "--push", "--bind", url, "--data", text, "--interval", "1")
}

// free is a URL of that scheme whose port nobody has.
func free(t *testing.T, scheme string) string {
	t.Helper()
	if scheme == "ipc" {
		return place(t, scheme)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return scheme + "://" + ln.Addr().String() // nanocat listens at no path
}

// each runs a test for each tool and scheme.
func each(t *testing.T, test func(t *testing.T, name, scheme string)) {
	for name := range tools {
		for scheme := range schemes {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				test(t, name, scheme)
			})
		}
	}
}

// Promise: stock PULL peers get the values of messages, and the groups of members all of
// them.
func TestPlainPeersPull(t *testing.T) {
	each(t, func(t *testing.T, name, scheme string) {
		ctx := enginetest.Within(t)
		e := enginetest.NewSpace(t).Begin(t)
		d := enginetest.Register(t, e, senders.Config{Plain: place(t, scheme)})
		m := enginetest.Join(t, e, members.Config{})
		got := make(chan string, 16)
		enginetest.Consume(t, m, func(_ context.Context, d messages.Delivery) error { got <- string(d.Value); return nil })
		p := pulls(t, name, d.PlainURLs()[0])
		enginetest.Until(t, "the peer is linked", func() bool { return plainPeers(d) == 1 })
		big := strings.Repeat("x", 200_000)
		for _, v := range []string{"one", "two", big} {
			if err := d.Send(ctx, messages.Message{Key: []byte("k"), Value: []byte(v), Headers: []messages.Header{{Name: "h", Value: []byte("x")}}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		enginetest.Until(t, "the peer has three", func() bool { all := p.printed(); return len(all) == 3 && strings.HasSuffix(all[2], `x"`) })
		if all := p.printed(); all[0] != `"one"` || all[1] != `"two"` || all[2] != `"`+big+`"` {
			t.Errorf("%s printed %.100q", name, all)
		}
		for _, want := range []string{"one", "two", big} {
			if v := enginetest.Await(t, "a message", got); v != want {
				t.Errorf("the member got %.20q, want %.20q", v, want)
			}
		}
	})
}

// Promise: a member takes what stock PUSH peers send, also when the peer is killed and
// another one listens in its place.
func TestPlainPeersPush(t *testing.T) {
	each(t, func(t *testing.T, name, scheme string) {
		e := enginetest.NewSpace(t).Begin(t)
		url := free(t, scheme)
		first := pushes(t, name, url, "one")
		m := enginetest.Join(t, e, members.Config{PlainURLs: []string{url}})
		got := make(chan string, 1024)
		enginetest.Consume(t, m, func(_ context.Context, d messages.Delivery) error {
			if d.Sender != url || d.Key != nil {
				t.Errorf("a delivery of %s with key %q", d.Sender, d.Key)
			}
			got <- string(d.Value)
			return nil
		})
		if v := enginetest.Await(t, "a message", got); v != "one" {
			t.Errorf("got %q", v)
		}
		first.kill(t)
		second := pushes(t, name, url, "two")
		for patience, v := enginetest.Within(t), ""; v != "two"; {
			select {
			case v = <-got:
			case <-second.ended: // the port was not free yet
				second = pushes(t, name, url, "two")
			case <-patience.Done():
				t.Fatalf("nothing came of the second peer: %v", second.printed())
			}
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
	})
}
