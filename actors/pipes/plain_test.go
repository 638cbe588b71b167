package pipes_test

// Stock nanomsg peers: what they get, what they give, and whom they cannot harm.

import (
	"bytes"
	"context"
	"os/exec"
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

// plainly has a destination listen for stock peers.
func plainly(cfg senders.Config) senders.Config {
	cfg.Plain = "tcp://127.0.0.1:0"
	return cfg
}

// tools are the peers of others, and the packages that have them.
var tools = map[string]string{"nngcat": "nng-utils", "nanocat": "nanomsg-utils"}

// tool is a process of one of tools, whose output is being read.
type tool struct {
	cmd *exec.Cmd

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
	p := &tool{cmd: exec.CommandContext(t.Context(), name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := enginetest.Aside(p.cmd.Wait)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s did not end", name)
		}
	})
	return p
}

// pulls begins a tool that pulls from url, a line for each message.
func pulls(t *testing.T, name, url string) *tool {
	t.Helper()
	if name == "nngcat" {
		return begin(t, name, "--pull0", "--dial", url, "--quoted")
	}
	return begin(t, name, "--pull", "--connect", url, "--quoted")
}

// peers are how many plain peers a destination has linked.
func peers(d *actors.Destination) (n int) {
	for _, s := range d.Stats() {
		if s.Group == messages.PlainGroup {
			n += s.Links
		}
	}
	return n
}

// Promise: stock PULL peers get the values of messages, and the groups of members all of
// them.
func TestPlainPeersPull(t *testing.T) {
	for name := range tools {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := enginetest.Within(t)
			e := enginetest.NewSpace(t).Begin(t)
			d := enginetest.Register(t, e, plainly(senders.Config{}))
			m := enginetest.Join(t, e, members.Config{})
			got := make(chan string, 16)
			enginetest.Consume(t, m, func(_ context.Context, d messages.Delivery) error { got <- string(d.Value); return nil })
			p := pulls(t, name, d.PlainURLs()[0])
			enginetest.Until(t, "the peer is linked", func() bool { return peers(d) == 1 })
			for _, v := range []string{"one", "two", "three"} {
				if err := d.Send(ctx, messages.Message{Key: []byte("k"), Value: []byte(v), Headers: []messages.Header{{Name: "h", Value: []byte("x")}}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			enginetest.Until(t, "the peer has three", func() bool { return len(p.printed()) == 3 })
			if all := strings.Join(p.printed(), " "); all != `"one" "two" "three"` {
				t.Errorf("%s printed %s", name, all)
			}
			for _, want := range []string{"one", "two", "three"} {
				if v := enginetest.Await(t, want, got); v != want {
					t.Errorf("the member got %q, want %q", v, want)
				}
			}
		})
	}
}
