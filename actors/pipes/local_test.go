//go:build unix

package pipes_test

// Links that stay in this machine: who takes which, and what happens when it is gone.

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// socketFile is a free path that is short enough for a unix socket.
func socketFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir + "/s"
}

// linked waits for the next link of a member.
func linked(t *testing.T, events <-chan messages.Event) messages.SenderLinked {
	t.Helper()
	for {
		if e, ok := enginetest.Await(t, "SenderLinked", events).(messages.SenderLinked); ok {
			return e
		}
	}
}

// linkedAt is where that leads.
func linkedAt(t *testing.T, events <-chan messages.Event) string {
	t.Helper()
	return linked(t, events).Addr
}

func at(listen string) func(*actors.Config) { return func(c *actors.Config) { c.Listen = listen } }

// Promise: a member takes inproc in the same process, else ipc, else tcp, and falls on to
// the next one at once when a path leads nowhere here.
func TestNearestLink(t *testing.T) {
	t.Parallel()
	s := enginetest.NewSpace(t)
	file, name := socketFile(t), fmt.Sprintf("nearest-%d", time.Now().UnixNano())
	sender, e := s.Begin(t), s.Begin(t)
	events := eventsOf(t, e)
	for i, c := range []struct{ listen, want string }{
		{"tcp://127.0.0.1:0 ipc://" + file + " inproc://" + name, name},
		{"tcp://127.0.0.1:0 ipc://" + file, file},
		{"tcp://127.0.0.1:0", "127.0.0.1:"},
		{"tcp://127.0.0.1:0 ipc://" + file + "?advertise=/not/mounted/here", "127.0.0.1:"},
	} {
		dest := fmt.Sprintf("orders-%d", i)
		d := enginetest.Register(t, sender, senders.Config{Name: dest, Listen: c.listen})
		began := time.Now()
		m := enginetest.Join(t, e, members.Config{Destination: dest})
		flows(t, d, m)
		if got := linkedAt(t, events); !strings.HasPrefix(got, c.want) {
			t.Errorf("of %s the member is linked at %s", c.listen, got)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("the link took %v", took)
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
		if err := d.Unregister(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(file[:len(file)-2]); len(left) > 0 {
		t.Errorf("the listeners left %v", left)
	}
}

// Promise: a sender that decides by certificates who may join is dialled over TLS, also by
// its neighbours; others take what is near, and that is good enough for who requires TLS.
func TestNearestLinkOfWhoAsks(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	if _, err := c.Put(enginetest.Within(t), s.Keys.Allowed("asks", enginetest.Group, "x"), "billing.example"); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("asks-%d", time.Now().UnixNano())
	e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted, require))
	events := eventsOf(t, e)
	for dest, set := range map[string]func(*actors.Config){
		"asks":  func(c *actors.Config) { c.AllowListedMembers = true },
		"plain": func(*actors.Config) {},
	} {
		sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example"), encrypted+" inproc://"+name+dest, require, set))
		d := enginetest.Register(t, sender, senders.Config{Name: dest})
		m := enginetest.Join(t, e, members.Config{Destination: dest})
		flows(t, d, m)
		if got := linkedAt(t, events); strings.HasPrefix(got, "127.0.0.1:") != (dest == "asks") {
			t.Errorf("%s: linked at %s", dest, got)
		}
	}
}

// Promise: links within a process come back when its runtime is stopped and another one
// takes the name; whoever links later finds a socket that somebody has deleted again.
func TestLocalLinksComeBack(t *testing.T) {
	t.Parallel()
	s := enginetest.NewSpace(t)
	file := socketFile(t)
	for _, listen := range []string{"inproc://back-" + fmt.Sprint(time.Now().UnixNano()), "ipc://" + file} {
		e := s.Begin(t)
		events := eventsOf(t, e)
		got := make(chan struct{}, 64)
		take := func(context.Context, messages.Delivery) error { got <- struct{}{}; return nil }
		sends := func(d *actors.Destination) {
			enginetest.Send(t, d, 10)
			for range 10 {
				enginetest.Await(t, "a message", got)
			}
		}
		first := s.Begin(t, at(listen))
		d := enginetest.Register(t, first, senders.Config{})
		m := enginetest.Join(t, e, members.Config{})
		enginetest.Consume(t, m, take)
		sends(d)
		linkedAt(t, events)
		if err := first.Stop(enginetest.Within(t)); err != nil {
			t.Fatal(err)
		}
		second := enginetest.Register(t, s.Begin(t, at(listen)), senders.Config{})
		sends(second)
		if got := linkedAt(t, events); !strings.HasSuffix(listen, got) {
			t.Errorf("it is linked at %s", got)
		}
		if strings.HasPrefix(listen, "ipc") {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			sends(second) // the link lives on
			if err := m.Leave(enginetest.Within(t)); err != nil {
				t.Error(err)
			}
			m = enginetest.Join(t, s.Begin(t), members.Config{})
			enginetest.Consume(t, m, take)
			sends(second)
		}
		if err := second.Unregister(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
	}
}

// Promise: a socket in whose place somebody puts another file is told by an event, and members
// take the sender's next URL. Who listens for this machine only is not said to be exposed.
func TestReplacedSocketIsTold(t *testing.T) {
	t.Parallel()
	s := enginetest.NewSpace(t)
	file := socketFile(t)
	sender := s.Begin(t)
	told := eventsOf(t, sender)
	enginetest.Register(t, sender, senders.Config{Name: "near", Listen: fmt.Sprintf("inproc://near-%d", time.Now().UnixNano())})
	d := enginetest.Register(t, sender, senders.Config{Listen: "ipc://" + file + " tcp://127.0.0.1:0"})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for {
		switch e := enginetest.Await(t, "ListenerTroubled", told).(type) {
		case messages.LinksExposed:
			t.Errorf("%v is said to be exposed", e.URLs)
			continue
		case messages.ListenerTroubled:
			if e.URL != "ipc://"+file || !strings.Contains(e.Err.Error(), "in the place of the socket") {
				t.Errorf("%s: %v", e.URL, e.Err)
			}
		default:
			continue
		}
		break
	}
	e := s.Begin(t)
	events := eventsOf(t, e)
	flows(t, d, enginetest.Join(t, e, members.Config{}))
	got := linked(t, events)
	if !strings.HasPrefix(got.Addr, "127.0.0.1:") || got.Passed == nil || !strings.Contains(got.Passed.Error(), file) {
		t.Errorf("it is linked at %s, and passed over %v", got.Addr, got.Passed)
	}
}
