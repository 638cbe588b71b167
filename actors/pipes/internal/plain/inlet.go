package plain

// A member's link to a PUSH peer, which sends and hears nothing.

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/actors/pipes/internal/slot"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// Inlet is what a member's link to a plain peer is made of. It is not written to.
type Inlet struct {
	Node                       *node.Node
	In                         *recvq.Queue
	Destination, Group, Member string
	// URL is dialled.
	URL string
	// MaxMessage is the largest message in bytes.
	MaxMessage int
}

// What an inlet and its member say to each other.
type (
	// Tried tells the member what became of the first dial.
	Tried struct {
		URL string
		Err error
	}
	// Drain asks an inlet to read no more, and to end once what has come is handled.
	Drain struct{}
)

// inlet dials a peer and hands over what it sends.
//
//	dialling ──connected──▶ linked ──connection ends──▶ spent ──all is handed out──▶ (fails, and dials again)
//	    │                     │                           │
//	    │                     └─────────drain─────────────┴──▶ draining ──all is handled──▶ (stopped)
//	    └──drain──▶ (stopped)
//
// A spent one waits before it dials again: who connects again and again would bring
// another window each time. The member restarts it with a growing delay.
type inlet struct {
	*Inlet

	host  supervisor.Host
	state inletState
	slot  *slot.Slot[*nanomsg.Pusher]
	conn  *nanomsg.Pusher
	link  *recvq.Link
	cause error // why the connection ended
	tried bool  // the member has heard of the first dial
}

type inletState string

const (
	dialling inletState = "dialling"
	linked   inletState = "linked"
	spent    inletState = "spent"
	draining inletState = "draining"
)

var inletMoves = supervisor.Moves[inletState]{
	"":       {dialling},
	dialling: {linked},
	linked:   {spent, draining},
	spent:    {draining},
	draining: {},
}

// What an inlet tells itself.
type (
	connected struct {
		conn   *nanomsg.Pusher
		link   *recvq.Link
		credit *credit
	}
	handedDue struct{}
)

// handedEvery is how often it is looked whether what has come is handed out.
const handedEvery = 50 * time.Millisecond

// NewInlet makes the actor of a member's link to a plain peer.
func NewInlet(in *Inlet) actor.Producer {
	return func() actor.Actor { return &inlet{Inlet: in} }
}

func (a *inlet) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case connected:
		a.linked(ctx, m)
	case *Drain:
		a.drain(ctx)
	case handedDue:
		a.handed(ctx)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.stopping()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *inlet) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = inletMoves.To(ctx, a.state, dialling)
	a.slot = slot.Of((*nanomsg.Pusher).Close)
	in, place, tell := a.Inlet, a.slot, a.host.Teller()
	a.host.Run(reading, func(ctx context.Context) error { return in.read(ctx, place, tell) })
}

// reading names the hosted work that ends with the connection.
const reading = "read"

// read dials and hands over what comes until the connection ends. It runs hosted.
func (in *Inlet) read(ctx context.Context, place *slot.Slot[*nanomsg.Pusher], tell func(any)) error {
	conn, err := nanomsg.Dial(ctx, nanomsg.DialConfig{URL: in.URL, MaxMessage: in.MaxMessage})
	if err != nil {
		return err
	}
	if !place.Put(conn) {
		return nil
	}
	link := in.In.OpenPlain(in.URL, uint64(frame.LargestRecord(in.MaxMessage)))
	c := newCredit()
	tell(connected{conn, link, c})
	var d frame.Data
	for bytes := uint64(0); ; bytes += uint64(len(d.Records)) {
		if err := c.await(ctx, d.First, bytes); err != nil {
			return err
		}
		body, err := conn.Recv()
		if err != nil {
			return err
		}
		m := messages.Message{Value: body}
		d = frame.Data{First: d.First + 1, Count: 1, Records: messages.AppendRecord(make([]byte, 0, messages.RecordSize(&m)), &m)}
		if err := link.Arrive(&d, nil); err != nil {
			return err
		}
	}
}

// linked has the link settle: what is said to the peer stays here, and is credit to read.
func (a *inlet) linked(ctx actor.Context, m connected) {
	a.state = inletMoves.To(ctx, a.state, linked)
	a.conn, a.link = m.conn, m.link
	a.Node.Events.Emit(messages.PlainPeerLinked{Destination: a.Destination, Group: a.Group, Member: a.Member, Addr: m.conn.PeerAddr(), URL: a.URL})
	a.host.Run("report", func(ctx context.Context) error { return m.link.Report(ctx, m.credit, func() {}) })
	a.tell(ctx, nil)
}

// tell tells the member what became of the first dial, for whoever joins.
func (a *inlet) tell(ctx actor.Context, err error) {
	if !a.tried {
		a.tried = true
		supervisor.Notify(ctx, ctx.Parent(), &Tried{a.URL, err})
	}
}

// ended: the connection is over, or could not be made. What came of it is there still.
func (a *inlet) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Name != reading {
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
		return
	}
	if a.cause == nil {
		a.cause = m.Err
	}
	switch a.state {
	case dialling:
		a.tell(ctx, m.Err)
		a.fail(ctx)
	case linked:
		a.state = inletMoves.To(ctx, a.state, spent)
		a.host.Every(handedEvery, handedDue{})
		a.handed(ctx)
	}
}

// handed goes on once nobody needs what has come.
func (a *inlet) handed(ctx actor.Context) {
	switch {
	case a.state == spent && a.link.Look().Waiting == 0:
		a.fail(ctx)
	case a.state == draining && (a.link.Quiet() || !a.In.Awaits(a.link)):
		ctx.Stop(ctx.Self())
	}
}

// fail has the peer dialled again.
func (a *inlet) fail(ctx actor.Context) {
	supervisor.Fail(ctx, &node.LinkError{Destination: a.Destination, Group: a.Group, Member: a.Member, Sender: a.URL, Err: a.cause})
}

// drain reads no more. What has come is still handled, where somebody reads.
func (a *inlet) drain(ctx actor.Context) {
	switch a.state {
	case dialling:
		ctx.Stop(ctx.Self())
	case linked, spent:
		a.state = inletMoves.To(ctx, a.state, draining)
		a.conn.Close()
		a.host.Every(handedEvery, handedDue{})
		a.handed(ctx)
	case draining:
		a.handed(ctx)
	}
}

// stopping ends the link. An inlet that is stopped while it waits for its restart comes
// here twice.
func (a *inlet) stopping() {
	place, link := a.slot, a.link
	a.slot, a.link = nil, nil
	if place == nil {
		return
	}
	place.Close()
	a.host.End()
	if link == nil {
		return
	}
	a.In.Shut(link)
	a.Node.Events.Emit(messages.PlainPeerUnlinked{Destination: a.Destination, Group: a.Group, Member: a.Member, Addr: a.conn.PeerAddr(), URL: a.URL, Cause: a.cause})
}
