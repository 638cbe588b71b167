package members

// A member's link to one sender.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/actors/pipes/internal/slot"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// source dials a sender and takes what it sends, until the sender is gone from
// etcd and its connection has ended.
//
//	dialling ──welcomed──▶ linked ──drain──▶ draining ──settled──▶ (stopped)
//	    │                    │ ▲
//	    │          sender gone │ sender back
//	    │                    ▼ │
//	    │                 orphaned ──connection ends──▶ (stopped)
//	    └──sender gone, or drain──▶ (stopped)
//
//	linked ──sender said that it stops──▶ parted ──sender gone, or drain──▶ (stopped)
//
// A parted source whose sender is listed all the same after a moment dials again.
// Any other end of the connection is a failure: the member restarts the source
// with a growing delay, and it dials again.
type source struct {
	node   *node.Node
	links  *links.Config
	in     *recvq.Queue
	cfg    *Config // not written to
	listed *listing
	// trusted has the connections whose certificates are looked at while they stand.
	trusted *trusted
	sender  *pb.Sender // whom this incarnation dials

	host    supervisor.Host
	state   sourceState
	slot    *slot.Slot[*socket.Conn]
	link    *recvq.Link
	cause   error
	settled bool // the member has heard of the first dial's outcome
	// quietSince is since when a draining link has nothing to settle.
	quietSince time.Time
}

type sourceState string

const (
	dialling       sourceState = "dialling"
	linked         sourceState = "linked"
	orphaned       sourceState = "orphaned"
	sourceDraining sourceState = "draining"
	parted         sourceState = "parted"
)

var sourceMoves = supervisor.Moves[sourceState]{
	"":             {dialling},
	dialling:       {linked},
	linked:         {orphaned, sourceDraining, parted},
	orphaned:       {linked, sourceDraining},
	sourceDraining: {},
	parted:         {},
}

// listing is what etcd shows of a sender now: nil when its key is gone. The
// member writes it, the source reads it, so that news which came while the
// source waited for its restart is not taken in the wrong order.
type listing = atomic.Pointer[pb.Sender]

// What a member tells its sources.
type (
	senderChanged struct{} // look at the listing
	drainSource   struct{}
)

// What a source tells itself and its member.
type (
	sourceLinked struct {
		conn   *socket.Conn
		link   *recvq.Link
		passed error
	}
	sourceTried struct {
		id  string
		err error
	}
	sourceDrained struct{}
	sweep         struct{}
	// partedLong: the sender has stopped, and its key is there.
	partedLong struct{}
)

// partedFor is how long a sender's key may outlive its word that it stops.
const partedFor = 250 * time.Millisecond

func newSource(n *node.Node, m *Member, listed *listing) actor.Producer {
	return func() actor.Actor {
		return &source{node: n, links: m.links, in: m.in, cfg: &m.cfg, listed: listed, trusted: m.trusted}
	}
}

func (s *source) Receive(ctx actor.Context) {
	msg, mine := s.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		s.started(ctx)
	case sourceLinked:
		s.linked(ctx, m)
	case *senderChanged:
		s.changed(ctx)
	case *drainSource:
		s.drain(ctx)
	case sourceDrained:
		ctx.Stop(ctx.Self())
	case sweep:
		s.sweep(ctx)
	case partedLong:
		s.fail(ctx, errSenderLeft)
	case *supervisor.Ended:
		s.ended(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		s.stopping(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (s *source) started(ctx actor.Context) {
	s.host.Begin(ctx)
	s.state = sourceMoves.To(ctx, s.state, dialling)
	if s.sender = s.listed.Load(); s.sender == nil {
		ctx.Stop(ctx.Self())
		return
	}
	s.slot = slot.Of(func(c *socket.Conn) { _ = c.Close() })
	place, tell := s.slot, s.host.Teller()
	s.host.Run("link", func(ctx context.Context) error { return s.run(ctx, place, tell) })
}

// run dials and reads until the connection ends. It runs hosted.
func (s *source) run(ctx context.Context, place *slot.Slot[*socket.Conn], tell func(any)) error {
	var memory frames.Buffers
	conn, passed, err := dial(ctx, s.node, s.links, s.cfg, s.sender, &memory)
	if err != nil {
		return err
	}
	if !place.Put(conn) {
		return nil
	}
	defer s.trusted.add(conn)()
	link := s.in.Open(s.sender.Id, min(max(conn.Peer().MaxMessage, 1), frame.Largest))
	defer s.in.Shut(link)
	tell(sourceLinked{conn, link, passed})
	var f frame.Frame
	for {
		err := conn.Recv(&f)
		if err == nil {
			err = take(&f, link, &memory)
		}
		if err != nil {
			s.violated(conn, err)
			return err
		}
	}
}

// take performs one frame of the sender.
func take(f *frame.Frame, link *recvq.Link, memory *frames.Buffers) error {
	switch f.Kind {
	case frame.KindData:
		return link.Arrive(&f.Data, memory.Take())
	case frame.KindPing:
		link.Pinged(f.Ping)
		return nil
	case frame.KindDrain:
		return link.DrainUpTo(f.Drain)
	case frame.KindBye:
		if f.Bye.Code == pb.Code_SHUTTING_DOWN {
			return errSenderLeft
		}
		return fmt.Errorf("the sender said: %s", f.Bye.Reason)
	}
	return frame.Unexpected(f.Kind)
}

// violated tells a sender that it breaks the protocol, if that is what err says, and
// reports it. It is called from run.
func (s *source) violated(conn *socket.Conn, err error) {
	if frame.Breaks(err) {
		conn.Abort(pb.Code_PROTOCOL_ERROR, err)
		s.node.Events.Emit(messages.ProtocolViolated{
			Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID,
			Sender: conn.Peer().ID, Addr: conn.RemoteAddr(), Err: err,
		})
	}
}

func (s *source) linked(ctx actor.Context, m sourceLinked) {
	s.link = m.link
	s.node.Events.Emit(messages.SenderLinked{
		Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID,
		Sender: s.sender.Id, Addr: m.conn.RemoteAddr(), Passed: m.passed,
	})
	tell := s.host.Teller()
	s.host.Run("report", func(ctx context.Context) error { return m.link.Report(ctx, m.conn, func() { tell(sourceDrained{}) }) })
	s.host.EveryWhen(s.cfg.sweepEvery(), sweep{}, func() bool { return !m.link.Idle(time.Now()) })
	s.state = sourceMoves.To(ctx, s.state, linked)
	s.tried(ctx, nil)
}

// tried tells the member what became of the first dial, for whoever joins.
func (s *source) tried(ctx actor.Context, err error) {
	if !s.settled {
		s.settled = true
		supervisor.Notify(ctx, ctx.Parent(), &sourceTried{s.sender.Id, err})
	}
}

// changed: the sender's key vanished, or is back. That stops dialling, never a
// live link; a new address is dialled when the link has ended.
func (s *source) changed(ctx actor.Context) {
	gone := s.listed.Load() == nil
	switch {
	case (s.state == dialling || s.state == parted) && gone:
		ctx.Stop(ctx.Self())
	case s.state == linked && gone:
		s.state = sourceMoves.To(ctx, s.state, orphaned)
	case s.state == orphaned && !gone:
		s.state = sourceMoves.To(ctx, s.state, linked)
	}
}

// drain asks the sender to send no more; what has come is still handled. A link
// that nobody needs ends at once.
func (s *source) drain(ctx actor.Context) {
	switch {
	case s.state == dialling, s.state == parted, !s.in.Awaits(s.link):
		ctx.Stop(ctx.Self())
	case s.state != sourceDraining:
		s.state = sourceMoves.To(ctx, s.state, sourceDraining)
		s.link.AskDrain() // this state is entered once
	}
}

// errSenderLeft is an orderly end. The sender's key goes too, or it comes back.
var errSenderLeft = errors.New("the sender stopped")

// drainPatience is how long a link whose deliveries are all settled waits for the
// sender's word that there are no more.
const drainPatience = 5 * time.Second

// sweep gives up deliveries that outlived AckWait, and with a reader that is
// stuck also what waits behind them.
func (s *source) sweep(ctx actor.Context) {
	if s.link == nil {
		return
	}
	now := time.Now()
	late := s.link.Overdue(now)
	stalled := s.link.Stalled(now)
	if s.cfg.Mode == messages.AtMostOnce {
		// Nothing can go back. A member that leaves waits for no stuck reader.
		if s.state == sourceDraining && (stalled || len(late) > 0) {
			s.in.Force(len(late))
			ctx.Stop(ctx.Self())
			return
		}
		late = nil
	}
	for i, seq := range late {
		if handled, fresh := s.in.Overruns(s.link, seq); handled {
			s.overran(ctx, seq, fresh)
			continue
		}
		if s.link.Expire(seq, i < s.cfg.Concurrency) { // only so many can be in a handler
			s.node.Events.Emit(messages.AckWaitExpired{
				Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID,
				Seq: seq, Wait: s.cfg.AckWait,
			})
			s.in.CancelHandler(s.link, seq)
		}
	}
	if stalled {
		s.in.Stall(s.link)
	}
	if s.state == sourceDraining {
		s.waitOn(ctx, now)
	}
}

// overran cancels the handler that has a message for longer than AckWait in a group that
// keeps an order. A member that leaves does not wait for it: the sender does, for as long
// as the handler may run unseen.
func (s *source) overran(ctx actor.Context, seq uint64, fresh bool) {
	if fresh {
		s.node.Events.Emit(messages.AckWaitExpired{
			Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID,
			Seq: seq, Wait: s.cfg.AckWait,
		})
		s.in.CancelHandler(s.link, seq)
	}
	if s.state == sourceDraining {
		ctx.Stop(ctx.Self())
	}
}

// waitOn ends a draining link that has nothing to wait for any more: nobody will
// read, or the sender does not respond.
func (s *source) waitOn(ctx actor.Context, now time.Time) {
	switch {
	case !s.in.Awaits(s.link):
		ctx.Stop(ctx.Self())
	case !s.link.Quiet():
		s.quietSince = time.Time{}
	case s.quietSince.IsZero():
		s.quietSince = now
	case now.Sub(s.quietSince) >= drainPatience:
		ctx.Stop(ctx.Self())
	}
}

func (s *source) ended(ctx actor.Context, err error) {
	if s.state == parted {
		return // the rest of the link's work
	}
	if s.cause == nil {
		s.cause = err
	}
	s.tried(ctx, err)
	var refused *socket.RefusedError
	switch {
	case s.state == orphaned, s.state == sourceDraining, err == nil:
		ctx.Stop(ctx.Self())
	case errors.Is(err, errSenderLeft):
		s.state = sourceMoves.To(ctx, s.state, parted)
		s.host.After(partedFor, partedLong{})
	case errors.As(err, &refused) && refused.Code == pb.Code_MODE_MISMATCH:
		supervisor.Fail(ctx, fmt.Errorf("%s: %w", refused.Reason, messages.ErrGroupMode))
	default:
		s.fail(ctx, err)
	}
}

// fail has the sender dialled again.
func (s *source) fail(ctx actor.Context, err error) {
	if bug := (*supervisor.PanicError)(nil); !errors.As(err, &bug) {
		err = &node.LinkError{Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID, Sender: s.sender.Id, Err: err}
	}
	supervisor.Fail(ctx, err)
}

// stopping ends the link. A source that is stopped while it waits for its
// restart comes here twice.
func (s *source) stopping(ctx actor.Context) {
	place, link := s.slot, s.link
	s.slot, s.link = nil, nil
	if place == nil {
		return
	}
	conn := place.Get()
	discarded := 0
	if link != nil {
		if s.cause == nil {
			link.TakeLeave()
		}
		discarded = s.in.Shut(link)
	}
	place.Close()
	s.host.End()
	cause := s.cause
	if errors.Is(cause, errSenderLeft) {
		cause = nil
	}
	if link != nil {
		s.node.Events.Emit(messages.SenderUnlinked{
			Destination: s.cfg.Destination, Group: s.cfg.Group, Member: s.cfg.ID,
			Sender: s.sender.Id, Addr: conn.RemoteAddr(), Cause: cause, Discarded: discarded,
		})
	}
}
