package plain

// One peer's link: a stock PULL socket, which takes messages and says nothing.

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// peer writes messages to one peer.
//
//	open ──the peer is gone, or stopped──▶ (stopped: what was not written whole is queued again)
//
// It is never restarted: a peer without its connection is nothing, and dials again.
type peer struct {
	*peerParts
	host  supervisor.Host
	place *sendq.Link
	cause error // why it ended; nil when asked to
}

// peerParts is what a peer is made of. It is emptied at the end, because the actor's
// props outlive it in the parent's memory.
type peerParts struct {
	out  *sendq.Queue
	pipe *sendq.Backlog
	conn *nanomsg.Puller
}

func newPeer(out *sendq.Queue, pipe *sendq.Backlog, conn *nanomsg.Puller) actor.Producer {
	parts := &peerParts{out, pipe, conn}
	return func() actor.Actor { return &peer{peerParts: parts} }
}

func (p *peer) Receive(ctx actor.Context) {
	msg, mine := p.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		p.started(ctx)
	case *supervisor.Ended:
		if p.cause == nil {
			p.cause = m.Err
		}
		ctx.Stop(ctx.Self())
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		p.stopping()
	case *actor.Stopped:
		*p.peerParts = peerParts{}
	default:
		supervisor.Unhandled(ctx)
	}
}

func (p *peer) started(ctx actor.Context) {
	p.host.Begin(ctx)
	p.out.Emit(messages.PlainPeerLinked{Destination: p.out.Name(), Group: p.pipe.Group, Addr: p.conn.RemoteAddr(), URL: p.conn.URL()})
	window := uint64(p.conn.Batch())
	p.place = sendq.NewLink(p.conn.RemoteAddr(), 1, window)
	conn, place, out, pipe := p.conn, p.place, p.out, p.pipe
	p.host.Run("watch", func(context.Context) error { return conn.Watch() })
	p.host.Run("write", func(ctx context.Context) error {
		w := writer{out: out, pipe: pipe, place: place, conn: conn, tally: tally{window: window}}
		return w.run(ctx)
	})
}

// stopping closes the connection first, which ends both loops, and only then queues again
// what was out: no write may still be reading the bytes.
func (p *peer) stopping() {
	if p.conn == nil {
		return
	}
	p.conn.Close()
	p.host.End()
	if p.place == nil {
		return
	}
	requeued := p.out.Detach(p.pipe, p.place, false, time.Now())
	p.place = nil
	p.out.Emit(messages.PlainPeerUnlinked{
		Destination: p.out.Name(), Group: p.pipe.Group, Addr: p.conn.RemoteAddr(), URL: p.conn.URL(), Cause: p.cause, Requeued: requeued,
	})
}

// puller is a peer's connection, as far as it is written: *nanomsg.Puller is one.
type puller interface {
	Send(bodies [][]byte) (taken int, err error)
	Finish() error
}

// writer writes what the queue gives it, and says to the queue what a member would.
type writer struct {
	out   *sendq.Queue
	pipe  *sendq.Backlog
	place *sendq.Link
	conn  puller
	tally tally
}

// run writes until the connection ends. It runs hosted.
func (w *writer) run(ctx context.Context) error {
	w.out.Attach(w.pipe, w.place)
	if err := w.ack(w.tally.opens()); err != nil {
		return err
	}
	var bodies [][]byte
	for {
		b, ok := w.out.Next(w.pipe, w.place)
		if !ok {
			select {
			case <-w.place.Bell():
			case <-ctx.Done():
				return nil
			}
			continue
		}
		var err error
		if bodies, err = values(bodies[:0], b.Records); err != nil {
			return err
		}
		taken, err := w.conn.Send(bodies)
		switch {
		case err == nil:
			err = w.ack(w.tally.wrote(&b))
		case errors.Is(err, nanomsg.ErrStalled):
			err = w.wait(&b, taken)
		case taken > 0:
			_ = w.ack(w.tally.took(&b, taken)) // the cause is what matters
		}
		clear(bodies)
		if err != nil {
			return err
		}
	}
}

// wait has others get what a stalled peer has not begun with, until it reads again.
func (w *writer) wait(b *sendq.Batch, taken int) error {
	if err := w.ack(w.tally.stalls(b, taken)); err != nil {
		return err
	}
	begun := b.First + uint64(taken)
	for seq := begun + 1; seq < b.First+uint64(b.Count); seq++ {
		if _, err := w.out.Nack(w.pipe, w.place, &frame.Nack{Seq: seq, Kind: frame.NackReturned}, time.Now()); err != nil {
			return err
		}
	}
	if err := w.conn.Finish(); err != nil {
		return err
	}
	return w.ack(w.tally.wrote(b))
}

func (w *writer) ack(a frame.Ack) error { return w.out.Ack(w.pipe, w.place, &a) }

// values appends the values of records to bodies. They lie where the records do.
func values(bodies [][]byte, records []byte) ([][]byte, error) {
	var p messages.Payload
	for len(records) > 0 {
		n, err := messages.ConsumeRecord(records, &p)
		if err != nil {
			return bodies, err
		}
		bodies = append(bodies, p.Value)
		records = records[n:]
	}
	return bodies, nil
}
