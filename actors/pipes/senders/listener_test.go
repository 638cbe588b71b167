package senders_test

// What a listener lives for.

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: nobody may join whose right is not known, because the destination went while it
// joined; what groups lend is asked for but of members of the same runtime.
func TestNobodyJoinsWhatIsGone(t *testing.T) {
	allows := senders.Allows(&links.Config{AllowListed: true})
	id := carrier.Identity{DNSNames: []string{"billing.example"}}
	if allows(frame.Hello{Destination: "orders", Group: "billing"}, id) == nil {
		t.Error("it may join")
	}
	lent := frame.Hello{Destination: keys.Loans("id", "group"), Group: "group"}
	for own, may := range map[string]bool{"": false, "another": false, senders.Own: true} {
		if lent.Own = own; (allows(lent, id) == nil) != may {
			t.Errorf("what is lent, to a member that shows %q: %v", own, allows(lent, id))
		}
	}
	if allows(frame.Hello{Destination: "orders", Group: "billing", Own: senders.Own}, id) == nil {
		t.Error("a member of the same runtime may join a destination that lends nothing")
	}
	if senders.Allows(&links.Config{}) != nil {
		t.Error("everybody is asked for")
	}
}

// Promise: a listener ends with the last registration of its URL, and its
// port is free when Unregister returns.
func TestListenerEndsWithLastRegistration(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	register := func(name string) *senders.Destination {
		d, err := e.Register(ctx, senders.Config{Name: name, Listen: "tcp://" + addr})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	unregister := func(d *senders.Destination) {
		if err := d.Unregister(ctx); err != nil {
			t.Error(err)
		}
	}
	free := func() bool {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
		}
		return err == nil
	}
	for range 3 { // the URL can be used again
		a, b := register("a"), register("b")
		unregister(a)
		if free() {
			t.Error("the port is free though a destination uses it")
		}
		unregister(b)
		if !free() {
			t.Error("the port is taken after the last Unregister")
		}
	}
	// So it is after a restart of the engine's actor, and with a registration that
	// fails.
	d := register("a")
	before := d.PID()
	enginetest.Crash(e, enginetest.Root)
	enginetest.Until(t, "the destination has come up again", func() bool { return d.PID() != before })
	if _, err := e.Register(ctx, senders.Config{Name: "a", Listen: "tcp://" + addr}); !errors.Is(err, messages.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	unregister(d)
	if !free() {
		t.Error("the port is taken after a restart and Unregister")
	}
	for i := range 5 {
		d, err := e.Register(ctx, senders.Config{Name: "o", Listen: fmt.Sprintf("tcp://127.0.0.1:0?advertise=h%d.example", i)})
		if err != nil {
			t.Fatal(err)
		}
		unregister(d)
	}
	enginetest.Until(t, "no listener is left", func() bool { return len(enginetest.ActorsOf(e, "listener")) == 0 })
}

// Promise: a sender advertises what its environment says, in etcd too.
func TestAdvertisesTheEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_POD_IPS", "127.0.0.1,::1")
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	d := enginetest.Register(t, e, senders.Config{Name: "orders", Listen: "tcp://:0?advertise=$PENSTOCK_TEST_POD_IPS:7000"})
	want := []string{"tcp://127.0.0.1:7000", "tcp://[::1]:7000"}
	if has := urlsInEtcd(t, s, c, d); !slices.Equal(has, want) {
		t.Errorf("etcd has %v, want %v", has, want)
	}
}
