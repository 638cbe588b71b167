package penstocktest

// Where probes stand: in a group of a destination, in a group of a topic, and as the
// receiver of an actor.

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// polled is how many deliveries a probe takes from its member at once.
const polled = 64

// JoinProbe joins a group of a destination with a probe: in place of a service that
// receives, for a test of one that sends. opts are those of Join. Penstock hands the probe
// no more than its Window that is not settled.
//
// What is not settled within AckWait goes to another member, or comes to the probe once more,
// as for any member.
func JoinProbe(t testing.TB, rt *penstock.Runtime, destination, group string, opts ...penstock.JoinOption) *Probe[penstock.Delivery] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	member, err := rt.Join(ctx, destination, group, opts...)
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	p := newProbe[penstock.Delivery](t, fmt.Sprintf("probe in group %q of %q", group, destination))
	p.leave = func(ctx context.Context) error { return unlessClosed(member.Leave(ctx)) }
	p.read(func() {
		for {
			ds, err := member.Poll(p.reading, polled, penstock.ManualAck())
			for _, d := range ds {
				delivered(p, d)
			}
			if err != nil {
				p.ended(err)
				return
			}
		}
	})
	t.Cleanup(func() { p.close(true) })
	return p
}

// SubscribeProbe joins a consumer group of a topic with a probe. opts are those of
// Subscribe. A partition's next record comes when the one before is settled; the other
// partitions of that moment do not wait for it, unless PartitionsAtOnce says so. Finished records are
// committed when the probe ends, and as CommitEvery says.
func SubscribeProbe(t testing.TB, rt *penstock.Runtime, topic, group string, opts ...penstock.SubscribeOption) *Probe[*penstock.RecordDelivery] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	handle, err := rt.Topic(ctx, topic)
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	opts = append([]penstock.SubscribeOption{penstock.PartitionsAtOnce(max(1, handle.Info().Config.Partitions))}, opts...)
	sub, err := handle.Subscribe(ctx, group, opts...)
	if err != nil {
		t.Fatal("penstocktest: ", errors.Join(err, handle.Close(ctx)))
	}
	p := newProbe[*penstock.RecordDelivery](t, fmt.Sprintf("probe in group %q of topic %q", group, topic))
	p.leave = func(ctx context.Context) error {
		return errors.Join(unlessClosed(sub.Unsubscribe(ctx)), unlessClosed(handle.Close(ctx)))
	}
	p.read(func() {
		p.ended(sub.Consume(p.reading, func(ctx context.Context, r penstock.Record) error { return handled(ctx, p, r) }))
	})
	t.Cleanup(func() { p.close(true) })
	return p
}

// ProbeActor spawns a probe as an actor of sys, whose PID is to be given to
// penstock.Receiver, as To of MemberProps, with or without a Batch. Make it after the
// runtime, so that it ends before: it stops with the test, which ends the member, too.
func ProbeActor(t testing.TB, sys *actor.ActorSystem) *Probe[penstock.Delivery] {
	t.Helper()
	return spawnProbe(t, sys, func(p *Probe[penstock.Delivery], msg any) {
		switch m := msg.(type) {
		case *penstock.Delivery:
			delivered(p, *m)
		case *penstock.Deliveries:
			for _, d := range m.Deliveries {
				delivered(p, d)
			}
		}
	})
}

// RecordProbeActor is ProbeActor for a receiver of SubscriptionProps. It takes no batches.
func RecordProbeActor(t testing.TB, sys *actor.ActorSystem) *Probe[*penstock.RecordDelivery] {
	t.Helper()
	return spawnProbe(t, sys, func(p *Probe[*penstock.RecordDelivery], msg any) {
		switch m := msg.(type) {
		case *penstock.RecordDelivery:
			p.read(func() { passOn(m, handled(m.Context(), p, m.Record)) })
		case *penstock.Records:
			p.ended(errors.New("a probe takes records one by one: give its Receiver no Batch"))
		}
	})
}

// spawnProbe spawns a probe that takes what receive records.
func spawnProbe[D Probed](t testing.TB, sys *actor.ActorSystem, receive func(*Probe[D], any)) *Probe[D] {
	t.Helper()
	p := newProbe[D](t, "probe")
	p.pid = sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, stopped := ctx.Message().(*actor.Stopped); stopped {
			p.ended(errors.New("somebody stopped its actor"))
		} else if p.reading.Err() == nil {
			receive(p, ctx.Message())
		}
	}))
	p.what = fmt.Sprintf("probe %s", p.pid.Id)
	p.leave = func(ctx context.Context) error { return supervisor.Stop(ctx, sys, p.pid) }
	t.Cleanup(func() { p.close(true) })
	return p
}

// delivered records a delivery, with a settler that sees how it is settled.
func delivered(p *Probe[penstock.Delivery], d penstock.Delivery) {
	p.record(func(settled func()) penstock.Delivery {
		d.Settler = &seen{d.Settler, settled}
		return d
	})
}

// handled records a record, and returns how it was settled, as a handler does. When ctx or
// the probe ends first, it was not.
func handled(ctx context.Context, p *Probe[*penstock.RecordDelivery], r penstock.Record) error {
	d, verdict := messages.NewRecordDelivery(ctx, r)
	var settled func()
	p.record(func(mark func()) *penstock.RecordDelivery {
		settled = mark
		return d
	})
	select {
	case err := <-verdict:
		settled()
		return err
	case <-ctx.Done():
	case <-p.reading.Done():
	}
	select {
	case err := <-verdict:
		settled()
		return err
	default:
	}
	if p.reading.Err() == nil {
		settled() // its partition is lost
	}
	return messages.Untried(context.Canceled)
}

// passOn settles d as a handler's error says.
func passOn(d *penstock.RecordDelivery, err error) {
	switch {
	case err == nil:
		d.Ack()
	case messages.IsRelease(err):
		d.Release()
	default:
		d.Nack(err)
	}
}

// ended says why nothing more comes, unless the probe itself ends.
func (p *Probe[D]) ended(err error) {
	switch {
	case p.reading.Err() != nil:
	case err == nil:
		p.end(penstock.ErrClosed)
	default:
		p.end(err)
	}
}

// seen is a settler that lets a probe know of what it is asked.
type seen struct {
	inner   penstock.Settler
	settled func()
}

func (s *seen) Ack(seq uint64) {
	s.settled()
	s.inner.Ack(seq)
}

func (s *seen) GiveBack(seq uint64, how penstock.GiveBack) {
	s.settled()
	s.inner.GiveBack(seq, how)
}

func (s *seen) InProgress(seq uint64) { s.inner.InProgress(seq) }

// Reply is for requests. What is refused with an error is not settled.
func (s *seen) Reply(seq, request uint64, m *messages.Message, refused error) error {
	to, ok := s.inner.(messages.Replier)
	if !ok {
		s.Ack(seq)
		return nil
	}
	err := to.Reply(seq, request, m, refused)
	if err == nil {
		s.settled()
	}
	return err
}

// unlessClosed is err, unless it says that what is to be ended has ended.
func unlessClosed(err error) error {
	if errors.Is(err, penstock.ErrClosed) {
		return nil
	}
	return err
}
