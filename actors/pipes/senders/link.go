package senders

// One sender's link to one member of a group.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/asks"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// link carries batches to one member and takes its acks.
//
//	welcoming ──welcomed──▶ open ──loop ended, or stopped──▶ (stopped: the rest is queued again)
//
// It is never restarted: a link without its connection is nothing, and the
// member dials again.
type link struct {
	*linkParts
	place *sendq.Link
	host  supervisor.Host
	state linkState
	cause error // why it ended; nil when asked to
	// fading: its token was replaced, so that the member is asked to link again.
	fading bool
}

// linkParts is what a link is made of. It is emptied at the end, because the
// actor's props outlive it in the parent's memory.
type linkParts struct {
	out  *sendq.Queue
	pipe *sendq.Backlog
	conn *socket.Conn
	from string // our sender id
	own  bool   // the member is of this runtime, and borrows from it whoever else may
}

type linkState string

const welcoming, linkOpen linkState = "welcoming", "open"

var linkMoves = supervisor.Moves[linkState]{
	"":        {welcoming},
	welcoming: {linkOpen},
}

type (
	welcomed struct{}
	// overdueDue: it is time to look for what is out for too long.
	overdueDue struct{}
	// nackSeen tells the pipe that a message was handed back and when it is due.
	nackSeen struct{ sendq.Outcome }
)

var (
	errDrained  = errors.New("the member left")
	errReplaced = errors.New("the member linked again")
	errKeptLong = errors.New("the member has not settled within its AckWait, and the group keeps an order: the link ends, so that the messages can go to another member")
)

func newLink(out *sendq.Queue, pipe *sendq.Backlog, conn *socket.Conn, from string, own bool) actor.Producer {
	parts := &linkParts{out, pipe, conn, from, own}
	return func() actor.Actor { return &link{linkParts: parts} }
}

func (l *link) Receive(ctx actor.Context) {
	msg, mine := l.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		l.started(ctx)
	case welcomed:
		l.welcomed(ctx)
	case *rightsChanged:
		l.judge(ctx, m)
	case *tokenOver:
		l.expel(ctx, m)
	case fadeDue:
		l.fade()
	case *nackSeen:
		supervisor.Notify(ctx, ctx.Parent(), m)
	case overdueDue:
		if l.takeBack() {
			supervisor.Notify(ctx, ctx.Parent(), retryDue{})
		}
		if l.cause != nil {
			ctx.Stop(ctx.Self())
		}
	case *supervisor.Ended:
		l.ended(ctx, m)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		l.stopping(ctx)
	case *actor.Stopped:
		*l.linkParts = linkParts{}
	default:
		supervisor.Unhandled(ctx)
	}
}

func (l *link) started(ctx actor.Context) {
	l.host.Begin(ctx)
	l.state = linkMoves.To(ctx, l.state, welcoming)
	hello := l.conn.Hello()
	window := uint64(messages.LargestWindow)
	if hello.Window > 0 {
		window = min(uint64(hello.Window), messages.LargestWindow)
	}
	l.place = sendq.NewLink(hello.Member, int(min(hello.Concurrency, messages.LargestConcurrency)), window)
	l.place.Zone = hello.Zone
	place, tell := l.place, l.host.Teller()
	l.host.Run("read", func(context.Context) error { return l.read(place, tell) })
}

func (l *link) welcomed(ctx actor.Context) {
	l.state = linkMoves.To(ctx, l.state, linkOpen)
	l.out.Emit(messages.MemberLinked{
		Destination: l.out.Name(), Group: l.pipe.Group, Member: l.place.Member,
		Sender: l.from, Addr: l.conn.RemoteAddr(),
	})
	place, out := l.place, l.out
	if out.Settings(l.pipe).Mode != messages.AtMostOnce {
		l.host.EveryWhen(sendq.OverdueEvery, overdueDue{}, func() bool { return !out.Idle(place, time.Now()) })
	}
	l.host.Run("write", func(ctx context.Context) error { return l.write(ctx, place) })
}

// takeBack gives to others what the member has kept for longer than its AckWait. Some of
// it may be at the limit of deaths, which is the pipe's work: true.
func (l *link) takeBack() bool {
	n := l.out.TakeBack(l.pipe, l.place, time.Now())
	if n > 0 && l.out.Settings(l.pipe).Mode.Ordered() {
		l.cause = errKeptLong
		return false
	}
	if n > 0 {
		l.out.Emit(messages.Redelivered{
			Destination: l.out.Name(), Group: l.pipe.Group, Count: n,
			Cause: fmt.Errorf("member %s has not settled them within its AckWait: it gets no more until it has", l.place.Member),
		})
	}
	return n > 0
}

func (l *link) ended(ctx actor.Context, m *supervisor.Ended) {
	if l.cause == nil {
		l.cause = m.Err
	}
	ctx.Stop(ctx.Self())
}

// stopping closes the connection first, which ends both loops, and only then
// queues again what was out: no write may still be reading the bytes.
func (l *link) stopping(ctx actor.Context) {
	if l.cause == nil && l.state == linkOpen {
		l.conn.Leave(pb.Code_SHUTTING_DOWN, "the sender stops")
	}
	refused := errors.Is(l.cause, errNoRight) || errors.Is(l.cause, errTokenOver) || errors.Is(l.cause, socket.ErrNotAllowed)
	if refused {
		l.conn.Refuse(pb.Code_BAD_PROOF, noRight)
	}
	l.conn.Close()
	l.host.End()
	if l.place == nil {
		return
	}
	orderly := l.cause == nil || errors.Is(l.cause, errDrained)
	harmless := orderly || refused // nobody has died
	requeued := l.out.Detach(l.pipe, l.place, !harmless, time.Now())
	cause := l.cause
	switch {
	case l.fading && errors.Is(cause, errDrained):
		cause = errTokenReplaced
	case orderly:
		cause = nil
	}
	if requeued > 0 {
		l.out.Emit(messages.Redelivered{Destination: l.out.Name(), Group: l.pipe.Group, Count: requeued, Cause: cause})
	}
	if l.state == linkOpen {
		l.out.Emit(messages.MemberUnlinked{
			Destination: l.out.Name(), Group: l.pipe.Group, Member: l.place.Member, Sender: l.from,
			Addr: l.conn.RemoteAddr(), Cause: cause, Requeued: requeued,
		})
	}
	supervisor.Notify(ctx, ctx.Parent(), &linkGone{l.place.Member, ctx.Self()})
}

// read welcomes the member and takes its frames until the connection ends. It
// runs hosted.
func (l *link) read(place *sendq.Link, tell func(any)) error {
	if err := l.conn.Welcome(l.from, uint64(frame.LargestRecord(l.out.Config().MaxMessageSize))); err != nil {
		return err
	}
	l.out.Attach(l.pipe, place)
	tell(welcomed{})
	var f frame.Frame
	for {
		err := l.conn.Recv(&f)
		if err == nil {
			err = l.take(&f, place, tell)
		}
		if err != nil {
			l.violated(place, err)
			return err
		}
	}
}

// violated tells a member that it breaks the protocol, if that is what err says, and
// reports it. It is called from read.
func (l *link) violated(place *sendq.Link, err error) {
	if !frame.Breaks(err) {
		return
	}
	l.conn.Abort(pb.Code_PROTOCOL_ERROR, err)
	l.out.Emit(messages.ProtocolViolated{
		Destination: l.out.Name(), Group: l.pipe.Group, Member: place.Member, Sender: l.from,
		Addr: l.conn.RemoteAddr(), Err: err,
	})
}

// take performs one frame of the member.
func (l *link) take(f *frame.Frame, place *sendq.Link, tell func(any)) error {
	switch f.Kind {
	case frame.KindAck:
		return l.out.Ack(l.pipe, place, &f.Ack)
	case frame.KindNack:
		back, err := l.out.Nack(l.pipe, place, &f.Nack, time.Now())
		if err != nil {
			return err
		}
		l.tell(f, place, &back)
		if back.Exhausted || back.Rejected || !back.Due.IsZero() {
			tell(&nackSeen{back})
		}
		return nil
	case frame.KindPing:
		l.out.Heard(place, f.Ping, time.Now())
		return nil
	case frame.KindReply:
		return l.replied(&f.Reply, place)
	case frame.KindDrain:
		if f.Drain.Reply {
			return fmt.Errorf("a reply to a drain that was not asked for: %w", frame.ErrProtocol)
		}
		place.Drained(l.out.Hold(l.pipe, place))
		return nil
	case frame.KindBye:
		if f.Bye.Code == pb.Code_DRAINED {
			return errDrained
		}
		return errors.New("the member said: " + f.Bye.Reason)
	}
	return frame.Unexpected(f.Kind)
}

// tell has the user told what a nack led to.
func (l *link) tell(f *frame.Frame, place *sendq.Link, back *sendq.Outcome) {
	why, parks := errors.New(f.Nack.Reason), !l.out.Config().DeadLetters
	if back.Failed {
		l.out.Emit(messages.MessageNacked{
			Destination: l.out.Name(), Group: l.pipe.Group, Member: place.Member, Seq: f.Nack.Seq,
			Attempt: back.Attempt, Err: why, Delay: time.Until(back.Due),
		})
	}
	if back.Rejected {
		l.out.Emit(messages.MessageRejected{
			Destination: l.out.Name(), Group: l.pipe.Group, Member: place.Member, Seq: f.Nack.Seq, Err: why, Parked: parks,
		})
	}
	if back.Exhausted && parks {
		l.out.Emit(messages.AttemptsExhausted{
			Destination: l.out.Name(), Group: l.pipe.Group, Seq: f.Nack.Seq,
			Attempt: back.Attempt, Deaths: back.Deaths, Err: why, Delay: time.Until(back.Due),
		})
	}
}

// replied gives a requester the reply.
func (l *link) replied(r *frame.Reply, place *sendq.Link) error {
	o := asks.Outcome{Reply: messages.Reply{Group: l.pipe.Group, Member: place.Member}}
	if r.Failed {
		o.Err = &messages.RemoteError{Group: l.pipe.Group, Member: place.Member, Text: r.Error}
	} else if n, err := messages.ConsumeRecord(r.Record, &o.Payload); err != nil || n != len(r.Record) {
		return fmt.Errorf("a reply that is no record: %w: %w", frame.ErrProtocol, messages.ErrCorrupt)
	}
	if !l.out.Asks.Settle(r.Request, l.pipe.Group, o) {
		l.out.LateReply(l.pipe)
	}
	return nil
}

// write sends batches, and what read has to say, until the connection ends. It
// runs hosted.
func (l *link) write(ctx context.Context, place *sendq.Link) error {
	attempts := make([]uint32, 0, 1)
	told := uint64(0) // of Batch.Nacks
	for {
		b, ok := l.out.Next(l.pipe, place)
		if ok && b.Nacks != told {
			told = b.Nacks
			if err := l.conn.SendPing(frame.Ping{Nacks: told}); err != nil {
				return err
			}
		}
		if heard := place.Echo(); heard > 0 {
			if err := l.conn.SendPing(frame.Ping{Heard: heard}); err != nil {
				return err
			}
		}
		if !ok {
			select {
			case <-place.Bell():
			case last := <-place.Drains():
				if err := l.conn.SendDrain(frame.Drain{Last: last, Reply: true}); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
			continue
		}
		attempts = attempts[:0]
		if b.Attempt > 1 {
			for range b.Count {
				attempts = append(attempts, uint32(b.Attempt))
			}
		}
		if err := l.conn.SendData(b.First, attempts, b.Redelivered, uint32(b.Deaths), b.Records); err != nil {
			return err
		}
	}
}

// linkPolicy: a link without its connection is nothing to restart.
func linkPolicy() supervisor.Policy { return supervisor.Policy{Default: supervisor.Terminate} }
