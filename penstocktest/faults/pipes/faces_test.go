package pipes_test

// The two faces of pipes: handles, and actors of the user's own system. What is
// promised of one is promised of the other, and the tests of both_faces_test.go run over
// each.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// face is a way to use pipes.
type face interface {
	register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) (sender, error)
	join(t *testing.T, rt *penstock.Runtime, dest, group string, body body, opts ...penstock.JoinOption) (receiver, error)
}

// sender is a registered destination, through either face.
type sender interface {
	// send publishes the messages, and returns how many were accepted.
	send(ctx context.Context, msgs ...penstock.Message) (accepted int, err error)
	// settle publishes the messages, waits until every group has settled what was
	// accepted, and returns how many all have acked and the causes of the others.
	settle(ctx context.Context, msgs ...penstock.Message) (acked int, err error)
	// request makes a request to a group; none is the only one.
	request(ctx context.Context, m penstock.Message, group string) (penstock.Reply, error)
	flush(ctx context.Context) error
	unregister(ctx context.Context) error
	// giveUp ends the sender without waiting for all acks.
	giveUp(ctx context.Context) error
}

// receiver is a member of a group, through either face.
type receiver interface {
	leave(ctx context.Context) error
	pause(ctx context.Context) error
	resume(ctx context.Context) error
}

// body decides what becomes of a delivery.
type body func(d penstock.Delivery) verdict

type verdict int

const (
	ack     verdict = iota
	nack            // with errNack
	later           // nacked after laterBy, with errNack
	release         // nobody tried
	reject          // with errNack
	hold            // until the test ends
	quit            // the receiver ends with the delivery in hand
)

var errNack = errors.New("not today")

// laterBy is beyond what quick allows.
const laterBy = 700 * time.Millisecond

// settle does what the verdict says, unless it is hold or quit.
func (v verdict) settle(d penstock.Delivery) {
	switch v {
	case ack:
		d.Ack()
	case nack:
		d.Nack(errNack)
	case later:
		d.NackAfter(laterBy, errNack)
	case release:
		d.Release()
	case reject:
		d.Reject(errNack)
	}
}

// faces are all of them.
var faces = map[string]face{
	"handles":           handles{},
	"actors":            ofActors{},
	"actors in batches": ofActors{batch: 8},
	"workers":           ofActors{workers: true},
}

// handles is the face of plain Go.
type handles struct{}

type handleSender struct{ *penstock.Destination }

func (handles) register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) (sender, error) {
	d, err := rt.Register(harness.Context(t), name, opts...)
	return handleSender{d}, err
}

func (s handleSender) send(ctx context.Context, msgs ...penstock.Message) (accepted int, err error) {
	for _, m := range msgs {
		if err := s.Send(ctx, m); err != nil {
			return accepted, err
		}
		accepted++
	}
	return accepted, nil
}

func (s handleSender) request(ctx context.Context, m penstock.Message, group string) (penstock.Reply, error) {
	if group == "" {
		return s.Request(ctx, m)
	}
	return s.Request(ctx, m, penstock.FromGroup(group))
}

func (s handleSender) settle(ctx context.Context, msgs ...penstock.Message) (acked int, err error) {
	told := make(chan error, len(msgs))
	accepted := 0
	for _, m := range msgs {
		if err = s.SendAsync(ctx, m, func(err error) { told <- err }); err != nil {
			break
		}
		accepted++
	}
	for range accepted {
		select {
		case cause := <-told:
			if cause == nil {
				acked++
			}
			err = errors.Join(err, cause)
		case <-ctx.Done():
			return acked, ctx.Err()
		}
	}
	return acked, err
}

func (s handleSender) flush(ctx context.Context) error      { return s.Flush(ctx) }
func (s handleSender) unregister(ctx context.Context) error { return s.Unregister(ctx) }

func (s handleSender) giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := s.Unregister(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("unregister without time: %w", err)
	}
	return nil
}

type handleReceiver struct{ *penstock.Member }

func (r handleReceiver) leave(ctx context.Context) error { return r.Leave(ctx) }

func (r handleReceiver) pause(context.Context) error {
	r.Pause()
	return nil
}

func (r handleReceiver) resume(context.Context) error {
	r.Resume()
	return nil
}

func (handles) join(t *testing.T, rt *penstock.Runtime, dest, group string, body body, opts ...penstock.JoinOption) (receiver, error) {
	m, err := rt.Join(harness.Context(t), dest, group, opts...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d, err := range m.Messages(ctx) {
			if err != nil {
				return
			}
			switch v := body(d); v {
			case hold:
				<-ctx.Done()
				return
			case quit:
				return
			default:
				v.settle(d)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return handleReceiver{m}, nil
}

// ofActors is the face of actors, whose receivers take batches or not, or are workers of
// the member.
type ofActors struct {
	batch   int
	workers bool
}

// actorOf is a child that is asked.
type actorOf struct {
	system *actor.ActorSystem
	pid    *actor.PID
}

func (ofActors) register(t *testing.T, rt *penstock.Runtime, name string, opts ...penstock.RegisterOption) (sender, error) {
	child, err := adopt[*penstock.Registered](t, rt, penstock.DestinationProps(rt, name, opts...))
	return child, err
}

func (a actorOf) send(ctx context.Context, msgs ...penstock.Message) (accepted int, err error) {
	done, err := supervisor.Ask[*penstock.Published](ctx, a.system, a.pid, &penstock.Publish{Messages: msgs})
	if err != nil {
		return 0, err
	}
	return done.Accepted, done.Err
}

func (a actorOf) request(ctx context.Context, m penstock.Message, group string) (penstock.Reply, error) {
	soon := time.Minute
	if at, ok := ctx.Deadline(); ok {
		soon = time.Until(at)
	}
	got, err := supervisor.Ask[*penstock.Replied](context.WithoutCancel(ctx), a.system, a.pid, &penstock.Request{Message: m, Timeout: soon, Group: group})
	if err != nil {
		return penstock.Reply{}, err
	}
	return got.Reply, got.Err
}

// settle asks as an actor of its own, which gets two replies.
func (a actorOf) settle(ctx context.Context, msgs ...penstock.Message) (acked int, err error) {
	told := make(chan *penstock.Settled, 1)
	var refused error // before told
	asker := a.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			ctx.Request(a.pid, &penstock.Publish{Messages: msgs, AwaitAcks: true})
		case *penstock.Published:
			refused = m.Err
		case *penstock.Settled:
			told <- m
		}
	}))
	defer func() { err = errors.Join(err, supervisor.Stop(ctx, a.system, asker)) }()
	select {
	case m := <-told:
		return m.Acked, errors.Join(refused, m.Err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (a actorOf) publish(ctx context.Context, m penstock.Message) error {
	_, err := a.send(ctx, m)
	return err
}

func (a actorOf) flush(ctx context.Context) error {
	done, err := supervisor.Ask[*penstock.Flushed](ctx, a.system, a.pid, &penstock.Flush{})
	if err != nil {
		return err
	}
	return done.Err
}

func (a actorOf) unregister(ctx context.Context) error {
	done, err := supervisor.Ask[*penstock.Unregistered](ctx, a.system, a.pid, &penstock.Unregister{})
	if err != nil {
		return err
	}
	return done.Err
}

// giveUp stops the actor, behind which the engine ends the sender.
func (a actorOf) giveUp(ctx context.Context) error { return supervisor.Stop(ctx, a.system, a.pid) }

func (a actorOf) leave(ctx context.Context) error {
	done, err := supervisor.Ask[*penstock.Left](ctx, a.system, a.pid, &penstock.Leave{})
	if err != nil {
		return err
	}
	return done.Err
}

func (a actorOf) pause(ctx context.Context) error {
	_, err := supervisor.Ask[*penstock.Paused](ctx, a.system, a.pid, &penstock.Pause{})
	return err
}

func (a actorOf) resume(ctx context.Context) error {
	_, err := supervisor.Ask[*penstock.Resumed](ctx, a.system, a.pid, &penstock.Resume{})
	return err
}

func (f ofActors) join(t *testing.T, rt *penstock.Runtime, dest, group string, body body, opts ...penstock.JoinOption) (receiver, error) {
	take := func(ctx actor.Context, d *penstock.Delivery) (more bool) {
		switch v := body(*d); v {
		case quit:
			ctx.Stop(ctx.Self())
			return false
		default:
			v.settle(*d)
		}
		return true
	}
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *penstock.Delivery:
			take(ctx, m)
		case *penstock.Deliveries:
			for i := range m.Deliveries {
				if !take(ctx, &m.Deliveries[i]) {
					return
				}
			}
		}
	})
	to := penstock.Receiver{Handler: props}
	if !f.workers {
		system := rt.Engine().System()
		to = penstock.Receiver{To: system.Root.Spawn(props), Batch: f.batch}
		t.Cleanup(func() { harness.StopActor(t, system, to.To) })
	}
	return adopt[*penstock.Joined](t, rt, penstock.MemberProps(rt, dest, group, to, opts...))
}

// adopt spawns a child, and waits until it is up or has failed.
func adopt[R any](t *testing.T, rt *penstock.Runtime, props *actor.Props) (actorOf, error) {
	t.Helper()
	pid, err := harness.Adopt[R](t, rt, props)
	return actorOf{rt.Engine().System(), pid}, err
}
