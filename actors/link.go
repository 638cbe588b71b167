package actors

// One sender's link to one member of a group.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

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
	lane  *lane
	host  supervisor.Host
	state linkState
	cause error // why it ended; nil when asked to
}

// linkParts is what a link is made of. It is emptied at the end, because the
// actor's props outlive it in the parent's memory.
type linkParts struct {
	out  *outlet
	pipe *backlog
	conn *socket.Conn
	from string // our sender id
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
	// setbackSeen tells the pipe that a message failed and when it is due.
	setbackSeen struct{ setback }
)

var (
	errDrained  = errors.New("the member left")
	errReplaced = errors.New("the member linked again")
)

func newLink(out *outlet, pipe *backlog, conn *socket.Conn, from string) actor.Producer {
	parts := &linkParts{out, pipe, conn, from}
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
	case *setbackSeen:
		ctx.Send(ctx.Parent(), m)
	case overdueDue:
		l.takeBack()
	case *supervisor.Ended:
		l.ended(ctx, m)
	case *actor.Stopping, *actor.Restarting:
		l.stopping(ctx)
	case *actor.Stopped:
		*l.linkParts = linkParts{}
	}
}

func (l *link) started(ctx actor.Context) {
	l.host.Begin(ctx)
	l.state = linkMoves.To(ctx, l.state, welcoming)
	hello := l.conn.Hello()
	l.lane = newLane(hello.Member, int(min(hello.Concurrency, LargestConcurrency)))
	if hello.Window > 0 {
		l.lane.window = min(uint64(hello.Window), LargestWindow)
	}
	lane, tell := l.lane, l.host.Teller()
	l.host.Run("read", func(context.Context) error { return l.read(lane, tell) })
}

func (l *link) welcomed(ctx actor.Context) {
	l.state = linkMoves.To(ctx, l.state, linkOpen)
	l.out.emit(messages.MemberLinked{
		Destination: l.out.name, Group: l.pipe.group, Member: l.lane.member,
		Sender: l.from, Addr: l.conn.RemoteAddr(),
	})
	if l.out.modeOf(l.pipe) != messages.AtMostOnce {
		l.host.Every(overdueEvery, overdueDue{})
	}
	lane := l.lane
	l.host.Run("write", func(ctx context.Context) error { return l.write(ctx, lane) })
}

// takeBack gives to others what the member has kept for longer than its AckWait.
func (l *link) takeBack() {
	if n := l.out.takeBack(l.pipe, l.lane, time.Now()); n > 0 {
		l.out.emit(messages.Redelivered{
			Destination: l.out.name, Group: l.pipe.group, Count: n,
			Cause: fmt.Errorf("member %s has not settled them within its AckWait: it gets no more until it has", l.lane.member),
		})
	}
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
	l.conn.Close()
	l.host.End()
	if l.lane == nil {
		return
	}
	orderly := l.cause == nil || errors.Is(l.cause, errDrained)
	requeued := l.out.detach(l.pipe, l.lane, !orderly)
	cause := l.cause
	if orderly {
		cause = nil
	}
	if requeued > 0 {
		l.out.emit(messages.Redelivered{Destination: l.out.name, Group: l.pipe.group, Count: requeued, Cause: cause})
	}
	if l.state == linkOpen {
		l.out.emit(messages.MemberUnlinked{
			Destination: l.out.name, Group: l.pipe.group, Member: l.lane.member, Sender: l.from,
			Addr: l.conn.RemoteAddr(), Cause: cause, Requeued: requeued,
		})
	}
	ctx.Send(ctx.Parent(), &linkGone{l.lane.member, ctx.Self()})
}

// read welcomes the member and takes its frames until the connection ends. It
// runs hosted.
func (l *link) read(lane *lane, tell func(any)) error {
	if err := l.conn.Welcome(l.from, uint64(frame.LargestRecord(l.out.cfg.MaxMessageSize))); err != nil {
		return err
	}
	l.out.attach(l.pipe, lane)
	tell(welcomed{})
	var f frame.Frame
	for {
		if err := l.conn.Recv(&f); err != nil {
			if errors.Is(err, frame.ErrProtocol) {
				l.out.emit(messages.ProtocolViolated{
					Destination: l.out.name, Group: l.pipe.group, Member: lane.member, Sender: l.from,
					Addr: l.conn.RemoteAddr(), Err: err,
				})
			}
			return err
		}
		if err := l.take(&f, lane, tell); err != nil {
			if errors.Is(err, frame.ErrProtocol) {
				l.conn.Abort(pb.Code_PROTOCOL_ERROR, err)
				l.out.emit(messages.ProtocolViolated{
					Destination: l.out.name, Group: l.pipe.group, Member: lane.member, Sender: l.from,
					Addr: l.conn.RemoteAddr(), Err: err,
				})
			}
			return err
		}
	}
}

// take performs one frame of the member.
func (l *link) take(f *frame.Frame, lane *lane, tell func(any)) error {
	switch f.Kind {
	case frame.KindAck:
		return l.out.ack(l.pipe, lane, &f.Ack)
	case frame.KindNack:
		back, err := l.out.nack(l.pipe, lane, &f.Nack, time.Now())
		switch {
		case err != nil:
			return err
		case !back.failed && !back.due.IsZero():
			tell(&setbackSeen{back})
			return nil
		case !back.failed:
			return nil
		}
		l.out.emit(messages.MessageNacked{
			Destination: l.out.name, Group: l.pipe.group, Member: lane.member, Seq: f.Nack.Seq,
			Attempt: back.attempt, Err: errors.New(f.Nack.Reason), Delay: time.Until(back.due),
		})
		if back.exhausted && l.out.cfg.DeadLetter == nil {
			l.out.emit(messages.AttemptsExhausted{
				Destination: l.out.name, Group: l.pipe.group, Seq: f.Nack.Seq,
				Attempt: back.attempt, Err: errors.New(f.Nack.Reason), Delay: time.Until(back.due),
			})
		}
		tell(&setbackSeen{back})
		return nil
	case frame.KindDrain:
		lane.drained(l.out.hold(l.pipe, lane))
		return nil
	case frame.KindBye:
		if f.Bye.Code == pb.Code_DRAINED {
			return errDrained
		}
		return errors.New("the member said: " + f.Bye.Reason)
	}
	return errUnexpected(f.Kind)
}

// write sends batches, and what read has to say, until the connection ends. It
// runs hosted.
func (l *link) write(ctx context.Context, lane *lane) error {
	attempts := make([]uint32, 0, 1)
	for {
		b, ok := l.out.next(l.pipe, lane)
		if !ok {
			select {
			case <-lane.bell:
			case last := <-lane.drain:
				if err := l.conn.SendDrain(frame.Drain{Last: last, Reply: true}); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
			continue
		}
		attempts = attempts[:0]
		if b.attempt > 1 {
			for range b.count {
				attempts = append(attempts, uint32(b.attempt))
			}
		}
		if err := l.conn.SendData(b.first, attempts, b.again, b.records); err != nil {
			return err
		}
	}
}
