package actors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// listenersEnd: a listener ends with the last registration of its URL, and its
// port is free when Unregister returns.
func listenersEnd(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
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
	e.node.Send(e.node.Root, node.Crash{Err: errors.New("for this test")})
	until(t, "the destination has come up again", func() bool { return d.PID() != before })
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
	until(t, "no listener is left", func() bool { return len(actorsOf(e, "listener")) == 0 })
}

// idsOnce: an id of this runtime is refused, also while its first holder leaves.
func idsOnce(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
	m := mustJoin(t, e, members.Config{ID: "m"})
	again := func(when string) {
		_, err := e.Join(ctx, members.Config{Destination: "orders", Group: "billing", ID: "m"})
		if !errors.Is(err, messages.ErrExists) || !errors.Is(err, messages.ErrTaken) {
			t.Errorf("%s: %v", when, err)
		}
	}
	again("a second member")
	before := m.PID()
	e.node.Send(e.node.Root, node.Crash{Err: errors.New("for this test")})
	until(t, "the member has come up again", func() bool { return m.PID() != before })
	again("after a restart")
	if err := m.Leave(ctx); err != nil {
		t.Error(err)
	}
	m2 := mustJoin(t, e, members.Config{ID: "m"})
	if err := m2.Leave(ctx); err != nil {
		t.Error(err)
	}
}

// endsBlameWhoIsSlow: a Leave that a handler of the user's holds up says so.
func endsBlameWhoIsSlow(t *testing.T, s endsSpace) {
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	m := mustJoin(t, e, members.Config{ID: "slow"})
	in, goOn := make(chan struct{}), make(chan struct{})
	consumes(t, m, func(context.Context, messages.Delivery) error {
		close(in)
		<-goOn
		return nil
	})
	mustAccept(t, d, 1)
	closedInTime(t, "the delivery", in)
	short, cancel := context.WithTimeout(endsWithin(t), 100*time.Millisecond)
	defer cancel()
	err := m.Leave(short)
	if !errors.Is(err, messages.ErrBusy) || errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leave: %v", err)
	}
	if keys := keysWith(t, s.client(t), s.prefix, "members/slow"); len(keys) > 0 {
		t.Errorf("%v stand", keys)
	}
	close(goOn)
}

// keysThatStay: an end whose keys etcd does not take away says that they stand.
func keysThatStay(t *testing.T, s endsSpace) {
	s, etcd := s.behind(t, "closes by hand")
	defer etcd.open()
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{})
	m := mustJoin(t, e, members.Config{})
	etcd.request([]byte("closes by hand"))
	closedInTime(t, "the gate", etcd.closed)
	ctx := endsWithin(t)
	ends := map[string]<-chan error{
		"leave":      aside(func() error { return m.Leave(ctx) }),
		"unregister": aside(func() error { return d.Unregister(ctx) }),
	}
	for what, end := range ends {
		err := outcomeOf(t, what, end)
		if !errors.Is(err, messages.ErrUnavailable) || !strings.Contains(err.Error(), "may stay in etcd") || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := e.Stats().Events["destination_unregistered"]; n != 1 {
		t.Errorf("the end of the destination was told %d times", n)
	}
	etcd.open()
	// The registry takes them away when it can.
	until(t, "the keys are gone", func() bool {
		return len(keysWith(t, s.client(t), s.prefix, "senders/"))+len(keysWith(t, s.client(t), s.prefix, "members/")) == 0
	})
}

// A caller that ran out of time while our own actor was away is not told of etcd.
func TestARestartIsNotBlamedOnEtcd(t *testing.T) {
	n := &node.Node{}
	n.SetRestarting(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := n.Unanswered(ctx, context.Cause(ctx), &node.KeyWait{}, false, "")
	if !errors.Is(err, messages.ErrRestarted) || !errors.Is(err, context.Canceled) || errors.Is(err, messages.ErrUnavailable) {
		t.Error(err)
	}
}
