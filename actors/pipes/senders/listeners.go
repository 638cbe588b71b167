package senders

// The listeners of the senders' branch: bound for the first destination that
// asks for their URL, closed after the last.

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

type (
	// bound is the end of a listener's binding.
	bound struct {
		asked    string
		listener *socket.Listener
		err      error
	}
	// freeing is a listener that is closed because nobody uses it any more.
	freeing struct {
		waiting []*node.Placement[*Destination] // want its URL again
		leavers []*actor.PID                    // wait for the port to be free
	}
	// freed says that a listener is closed.
	freed struct{ asked string }
)

// where is how members find a sender, and by what they know it; and where plain peers do.
type where struct{ urls, identities, plain []string }

// whereAt is where members find d at that listener.
func (d *Destination) whereAt(l *socket.Listener) where {
	return where{l.URLs(), l.Identities(), d.PlainURLs()}
}

func (w where) equal(v where) bool {
	return slices.Equal(w.urls, v.urls) && slices.Equal(w.identities, v.identities) && slices.Equal(w.plain, v.plain)
}

// bind finds the destination's listener, and makes it for the first one that
// asks for its URL.
func (b *Branch) bind(ctx actor.Context, p *node.Placement[*Destination]) {
	asked := p.Handle.cfg.Listen
	if f := b.freeing[asked]; f != nil {
		f.waiting = append(f.waiting, p)
		return
	}
	if l := b.senders.bound()[asked]; l != nil {
		b.place(ctx, p, p.Handle.whereAt(l))
		return
	}
	waiting := b.binding[asked]
	b.binding[asked] = append(waiting, p)
	if len(waiting) > 0 {
		return
	}
	s := b.senders
	supervisor.Call(b.host, "listen", func(ctx context.Context) bound {
		l, err := s.bindListener(ctx, asked)
		if err == nil {
			// Here, so that it is known though nobody may hear of it any more.
			s.keep(asked, l)
		}
		return bound{asked, l, err}
	})
}

func (b *Branch) whenBound(ctx actor.Context, m bound) {
	waiting := b.binding[m.asked]
	delete(b.binding, m.asked)
	if m.err == nil {
		b.accepts[m.asked] = b.senders.node.Spawn(ctx, "listener", "", b.senders.newListener(m.listener))
		defer b.free(ctx, m.asked) // who asked may have gone meanwhile
	}
	for _, p := range waiting {
		switch {
		case b.senders.dests[p.Handle.cfg.Name] != p: // withdrawn
		case m.err != nil:
			delete(b.senders.dests, p.Handle.cfg.Name)
			p.Handle.out.Close(m.err)
			supervisor.Notify(ctx, p.Asker, m.err)
		default:
			b.place(ctx, p, p.Handle.whereAt(m.listener))
		}
	}
}

// free closes the listener of a URL that no destination uses any more. It is
// false when there is nothing to wait for.
func (b *Branch) free(ctx actor.Context, asked string, leavers ...*actor.PID) bool {
	if f := b.freeing[asked]; f != nil {
		f.leavers = append(f.leavers, leavers...)
		return true
	}
	l := b.senders.bound()[asked]
	if l == nil || len(b.binding[asked]) > 0 {
		return false
	}
	for _, p := range b.senders.dests {
		if p.Handle.cfg.Listen == asked {
			return false
		}
	}
	b.freeing[asked] = &freeing{leavers: leavers}
	if pid := b.accepts[asked]; pid != nil {
		delete(b.accepts, asked)
		ctx.Stop(pid)
	}
	s := b.senders
	supervisor.Call(b.host, "close listener", func(context.Context) freed {
		_ = l.Close() // what fails leaves nothing to do
		s.keep(asked, nil)
		return freed{asked}
	})
	return true
}

func (b *Branch) freed(ctx actor.Context, asked string) {
	f := b.freeing[asked]
	delete(b.freeing, asked)
	node.Release(ctx, f.leavers...)
	for _, p := range f.waiting {
		if b.senders.dests[p.Handle.cfg.Name] == p {
			b.bind(ctx, p)
		}
	}
}

// moved tells the senders of a listener that members find it elsewhere now.
func (b *Branch) moved(ctx actor.Context, l *socket.Listener) {
	for _, p := range b.senders.dests {
		if p.PID != nil && b.senders.bound()[p.Handle.cfg.Listen] == l {
			supervisor.Notify(ctx, p.PID, &readdressed{p.Handle.whereAt(l)})
		}
	}
}
