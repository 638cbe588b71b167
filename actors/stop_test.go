package actors_test

// A runtime that is stopped ends once, in bounded time, answers whoever waits for
// it, and says what was lost.

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// Promise: Stop is safe to call again, at once and afterwards. Who comes second
// waits for the end of the first, no longer than its own context, and the
// engine is over for every caller that got nil.
func TestStopTwice(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	enginetest.Send(t, d, 1) // holds Stop up until somebody reads
	over, cancel := context.WithCancel(t.Context())
	cancel()
	stop := func() error {
		if err := e.Stop(context.Background()); err != nil {
			return err
		}
		for range e.Events(context.Background()) {
			return errors.New("the engine lives on")
		}
		return nil
	}
	first := enginetest.Aside(stop)
	enginetest.Until(t, "the first Stop has begun", e.Stopping)
	if err := e.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a Stop without time beside another: %v", err)
	}
	second := enginetest.Aside(stop)
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
	for what, outcome := range map[string]<-chan error{"the first Stop": first, "the second Stop": second} {
		if err := enginetest.Outcome(t, what, outcome); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := e.Stop(context.Background()); err != nil {
		t.Errorf("a Stop afterwards: %v", err)
	}
	if err := e.Stop(over); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a Stop afterwards, without time: %v", err)
	}
}

// Promise: Stop whose context is over ends everything all the same, and
// *AbandonedError and the event Abandoned say how much was given up.
func TestStopWithoutTime(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	enginetest.Join(t, e, members.Config{})
	enginetest.Send(t, d, 3)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err := e.Stop(over)
	var abandoned *messages.AbandonedError
	if !errors.As(err, &abandoned) || abandoned.Messages != 3 {
		t.Errorf("stop: %v, not 3 messages abandoned", err)
	}
	if n := e.Stats().Events["abandoned"]; n != 1 {
		t.Errorf("there were %d events of it", n)
	}
	if left := s.With(t, s.Client(t), "/"+d.ID()); len(left) > 0 {
		t.Errorf("these keys are left: %v", left)
	}
}

// Promise: an engine whose actor has ended by itself can be stopped, and Stop then
// has nothing to wait for.
func TestStopAfterTheActorEnded(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	enginetest.Register(t, e, senders.Config{})
	enginetest.Join(t, e, members.Config{})
	enginetest.StopActor(e, enginetest.ActorsOf(e, enginetest.Root)[0])
	enginetest.Until(t, "the engine's actor ends", func() bool { return len(enginetest.ActorsOf(e, enginetest.Root)) == 0 })
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// stuck is a logger that returns when it is released.
type stuck struct{ begun, release chan struct{} }

func (stuck) Enabled(context.Context, slog.Level) bool { return true }
func (s stuck) WithAttrs([]slog.Attr) slog.Handler     { return s }
func (s stuck) WithGroup(string) slog.Handler          { return s }
func (s stuck) Handle(context.Context, slog.Record) error {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	<-s.release
	return nil
}

// Promise: an engine whose actor does not reply in time is ended all the same, and
// Stop says once that it did not.
func TestStopOfAnActorThatDoesNotReply(t *testing.T) {
	logger := stuck{begun: make(chan struct{}, 1), release: make(chan struct{})}
	e := enginetest.NewSpace(t).Start(t, func(c *actors.Config) { c.Logger = slog.New(logger) })
	enginetest.Register(t, e, senders.Config{})
	enginetest.Crash(e, "session") // what is logged
	enginetest.Await(t, "the logger's line", logger.begun)
	root := enginetest.Crash(e, enginetest.Root)[0] // which waits for the logger now
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err := e.Stop(over)
	close(logger.release)
	if err == nil {
		t.Fatal("stop: nothing is said")
	}
	if n := strings.Count(err.Error(), "ask "+root.ID+":"); n != 1 {
		t.Errorf("stop says it %d times: %v", n, err)
	}
}

// Promise: Register and Join of an engine that was stopped return ErrClosed.
func TestCallsAfterStop(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Register(enginetest.Within(t), senders.Config{Name: "orders"}); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if _, err := e.Join(enginetest.Within(t), members.Config{Destination: "orders", Group: "billing"}); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("join: %v", err)
	}
}

// Promise: a Join that is under way when its engine stops returns
// ErrClosed, however long its context.
func TestJoinWhileEngineStops(t *testing.T) {
	s := enginetest.NewSpace(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	enginetest.Register(t, s.Begin(t), senders.Config{Listen: "tcp://127.0.0.1:0?advertise=" + silent.Addr().String()})
	e := s.Begin(t)
	joined := enginetest.Aside(func() error {
		_, err := e.Join(context.Background(), members.Config{Destination: "orders", Group: "billing"})
		return err
	})
	dialled, err := silent.Accept() // and is never answered
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	if err := e.Stop(enginetest.Within(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := enginetest.Outcome(t, "join", joined); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("join: %v", err)
	}
}

// Promise: so is a Register.
func TestRegisterWhileEngineStops(t *testing.T) {
	s, etcd := enginetest.NewSpace(t).Behind(t, "late")
	defer etcd.Open()
	e := s.Begin(t)
	registered := enginetest.Aside(func() error {
		_, err := e.Register(context.Background(), senders.Config{Name: "orders", ID: "late"})
		return err
	})
	enginetest.Await(t, "the keys are on their way", etcd.Closed())
	stopped := enginetest.Aside(func() error { return e.Stop(context.Background()) })
	enginetest.Until(t, "the sender retires", func() bool {
		dests := enginetest.ActorsOf(e, "destination")
		return len(dests) == 0 || dests[0].State == "retiring"
	})
	etcd.Open()
	if err := enginetest.Outcome(t, "register", registered); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if err := enginetest.Outcome(t, "stop", stopped); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// Promise: an end whose keys etcd does not take away says that they stand.
func TestEndSaysThatKeysStay(t *testing.T) {
	s, etcd := enginetest.NewSpace(t).Behind(t, "no request has this")
	defer etcd.Open()
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{})
	m := enginetest.Join(t, e, members.Config{})
	etcd.Shut()
	enginetest.Await(t, "the gate", etcd.Closed())
	ctx := enginetest.Within(t)
	ends := map[string]<-chan error{
		"leave":      enginetest.Aside(func() error { return m.Leave(ctx) }),
		"unregister": enginetest.Aside(func() error { return d.Unregister(ctx) }),
	}
	for what, end := range ends {
		err := enginetest.Outcome(t, what, end)
		if !errors.Is(err, messages.ErrUnavailable) || !strings.Contains(err.Error(), "may stay in etcd") || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := e.Stats().Events["destination_unregistered"]; n != 1 {
		t.Errorf("the end of the destination was told %d times", n)
	}
	etcd.Open()
	// The registry takes them away when it can.
	enginetest.Until(t, "the keys are gone", func() bool {
		return len(s.With(t, s.Client(t), "senders/"))+len(s.With(t, s.Client(t), "members/")) == 0
	})
}
