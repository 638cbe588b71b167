package groups

// The consumer of one owned partition: it keeps the claim filled.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// consumer asks the partition for batches while the subscription has room for
// them. It never commits: that is its subscription's to do.
//
//	reading ──batch does not decode or come in, log gone back──▶ stalled ──Seek──▶ reading
type consumer struct {
	env   *topiclog.Env
	c     *prefetch.Claim
	part  *topiclog.Partition
	sub   *Subscription
	host  supervisor.Host
	state consumerState
	asked *topiclog.Fetch // under way, or nil
	end   int64           // of the partition, as far as heard
	log   int             // the number of the log that was heard of last
	rest  func()          // ends the timer of a rest
	// seeking are those whose Seek is under way; the last one decides.
	seeking []*actor.PID
}

type consumerState string

const consumerReading, consumerStalled consumerState = "reading", "stalled"

var consumerMoves = supervisor.Moves[consumerState]{
	"":              {consumerReading},
	consumerReading: {consumerStalled, consumerReading},
	consumerStalled: {consumerReading},
}

// stillWaiting is how often a consumer repeats a request that was not answered:
// a reply can be lost with the actor that owed it.
const stillWaiting = 15 * time.Second

// refusedPause is how long a consumer waits that etcd refused.
const refusedPause = time.Second

type (
	rested struct{}
	// askAgain repeats a request without a reply.
	askAgain struct{}
	// seekTo asks a consumer to continue elsewhere; it replies with *sought.
	seekTo struct{ to messages.Start }
	sought struct{}
	// resolved is where a Start is.
	resolved struct {
		asker        *actor.PID
		offset, base int64
		err          error
	}
)

func newConsumer(sub *Subscription, c *prefetch.Claim, part *topiclog.Partition) actor.Producer {
	return func() actor.Actor { return &consumer{env: sub.env, sub: sub, c: c, part: part} }
}

func (a *consumer) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case prefetch.RoomMade:
		a.ask(ctx)
	case askAgain:
		a.repeat()
	case *topiclog.Fetched:
		a.fetched(ctx, m)
	case prefetch.Rests:
		if a.rest != nil {
			a.rest()
		}
		a.rest = a.host.After(m.Delay, rested{})
	case rested:
		a.sub.buffer.Wake(a.c)
	case prefetch.Stalled:
		a.stall(ctx, m.Offset, a.end, m.Err)
	case *seekTo:
		a.seek(ctx, m.to)
	case resolved:
		a.sought(ctx, m)
	case prefetch.Behind:
		supervisor.Notify(ctx, ctx.Parent(), commitWanted{})
	case prefetch.Idle:
		supervisor.Notify(ctx, ctx.Parent(), &idle{a.c})
	case *supervisor.Ended:
		supervisor.Fail(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
		a.stopped(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *consumer) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = consumerMoves.To(ctx, a.state, consumerReading)
	a.host.Every(stillWaiting, askAgain{})
	node, self := a.env.Node, ctx.Self()
	a.sub.buffer.Attach(a.c, func(m prefetch.Notice) { node.Send(self, m) })
	a.part.Join()
	a.ask(ctx)
}

// stopped gives back what was promised for a request, and withdraws it.
func (a *consumer) stopped(ctx actor.Context) {
	for _, asker := range a.seeking {
		supervisor.Notify(ctx, asker, fmt.Errorf("partition %d is not owned here any more: %w", a.c.Partition, messages.ErrFenced))
	}
	a.seeking = nil
	a.forgo()
	if a.state != "" {
		a.part.Leave(a.c)
	}
}

// ask fetches what comes next, or waits for it at the end of the partition.
func (a *consumer) ask(ctx actor.Context) {
	if !a.asks(ctx) {
		a.sub.buffer.Pass() // the room that it may have been told of is another's
	}
}

// asks reports whether a request for batches was sent, or waits for room.
func (a *consumer) asks(ctx actor.Context) bool {
	if a.state != consumerReading {
		return false
	}
	offset, base, open := a.sub.buffer.Next(a.c)
	if !open || a.asked != nil && a.asked.Offset == offset {
		return false
	}
	a.forgo()
	f := &topiclog.Fetch{Reader: a.c, Offset: offset, Base: base, To: ctx.Self(), History: a.log}
	if offset < a.end {
		if f.Room = a.sub.buffer.Reserve(a.c); f.Room == 0 {
			return true // the buffer tells when there is some
		}
	}
	a.asked = f
	a.part.FetchTo(f)
	return f.Room > 0
}

// forgo withdraws a request: what was queued before its offset was dropped, or
// the claim was moved. The partition takes the next request in its place.
func (a *consumer) forgo() {
	if a.asked != nil {
		a.sub.buffer.Fill(a.c, nil, a.asked.Room)
		a.asked = nil
	}
}

func (a *consumer) repeat() {
	if a.asked != nil {
		a.part.FetchTo(a.asked)
	}
}

func (a *consumer) fetched(ctx actor.Context, m *topiclog.Fetched) {
	if m.Of != a.asked {
		return // answered before
	}
	a.asked = nil
	a.end, a.log = m.End, m.History
	a.sub.buffer.Fill(a.c, m.Batches, m.Of.Room)
	switch {
	case errors.Is(m.Err, messages.ErrTopicDeleted):
		return // the subscription ends with the topic
	case errors.Is(m.Err, messages.ErrLogRolledBack), errors.Is(m.Err, messages.ErrCorrupt):
		a.stall(ctx, m.Of.Offset, m.End, m.Err)
		return
	case errors.Is(m.Err, messages.ErrTooLarge): // for this client of etcd
		a.delayed(m.Err)
		a.stall(ctx, m.Of.Offset, m.End, m.Err)
		return
	case m.Err != nil: // a right that was taken away may come back
		a.delayed(m.Err)
		a.host.After(refusedPause, prefetch.RoomMade{})
		return
	case m.Trimmed > m.Of.Offset:
		a.missed(m.Of.Offset, m.Trimmed)
		a.sub.buffer.Seek(a.c, m.Trimmed, m.Trimmed)
	case len(m.Batches) == 0 && m.Of.Room == 0 && m.End <= m.Of.Offset:
		a.end = m.Of.Offset + 1 // there is news, though its end is not known here
	}
	a.ask(ctx)
}

// missed tells that records were deleted which the group has not had.
func (a *consumer) missed(from, to int64) {
	a.env.Events.Emit(messages.RecordsMissed{
		Topic: a.part.Topic.Name, Group: a.sub.cfg.Group, Partition: a.c.Partition, From: from, To: to, Count: to - from,
	})
}

// stall stops reading where nothing readable is; Seek continues elsewhere.
func (a *consumer) stall(ctx actor.Context, offset, end int64, err error) {
	if a.state == consumerStalled {
		return
	}
	a.state = consumerMoves.To(ctx, a.state, consumerStalled)
	a.part.Unreadable(offset, end, err)
}

// seek finds out where to continue.
func (a *consumer) seek(ctx actor.Context, to messages.Start) {
	log, delayed, asker := a.part.Log, a.delayed, ctx.Sender()
	a.seeking = append(a.seeking, asker)
	supervisor.Call(&a.host, "seek", func(ctx context.Context) resolved {
		r := resolved{asker: asker}
		r.err = topiclog.Retry(ctx, delayed, func() (err error) {
			r.offset, r.base, err = log.Resolve(ctx, to)
			return err
		})
		return r
	})
}

func (a *consumer) sought(ctx actor.Context, m resolved) {
	last := a.seeking[len(a.seeking)-1].Equal(m.asker)
	a.seeking = slices.DeleteFunc(a.seeking, func(pid *actor.PID) bool { return pid.Equal(m.asker) })
	if m.err == nil && !last { // a later one goes elsewhere
		supervisor.Notify(ctx, m.asker, &sought{})
		return
	}
	if m.err != nil {
		supervisor.Notify(ctx, m.asker, fmt.Errorf("seek in %q, partition %d: %w", a.part.Topic.Name, a.part.P, m.err))
		return
	}
	a.forgo()
	if a.rest != nil {
		a.rest()
	}
	a.state = consumerMoves.To(ctx, a.state, consumerReading)
	a.end, a.log = m.offset+1, 0
	a.sub.buffer.Seek(a.c, m.offset, m.base)
	supervisor.Notify(ctx, m.asker, &sought{})
	a.ask(ctx)
}

func (a *consumer) delayed(err error) {
	a.env.Events.Emit(messages.ReadDelayed{Topic: a.part.Topic.Name, Partition: a.part.P, Err: err})
}
