package senders

// The plain listener of a destination: bound before the destination is placed, closed
// when its keys are gone, and served by an actor below the destination's.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/internal/plain"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// listenPlain binds the plain listener that cfg asks for; nil for none.
func (s *Senders) listenPlain(ctx context.Context, cfg *Config) (*nanomsg.Listener, error) {
	if cfg.Plain == "" {
		return nil, nil
	}
	urls, err := nanomsg.ParseAll(cfg.Plain)
	if err != nil {
		return nil, err
	}
	for _, u := range urls {
		if s.links.RequireTLS && u.Network() {
			err = errors.Join(err, fmt.Errorf("listen on %s: %w: this runtime requires TLS, and plain peers have none", u, messages.ErrInvalid))
		}
	}
	if err != nil {
		return nil, err
	}
	l, err := nanomsg.Listen(ctx, nanomsg.ListenerConfig{
		URLs: urls,
		Refused: func(r nanomsg.Refusal) {
			s.node.Events.Emit(messages.ConnectionRefused{Remote: r.Remote, Reason: r.Reason})
		},
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain[l] = struct{}{}
	return l, nil
}

// closePlain closes the listener of a destination that nobody is to find any more.
func (s *Senders) closePlain(l *nanomsg.Listener) {
	if l == nil {
		return
	}
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.plain, l)
}

// PlainURLs is penstock.Destination.PlainURLs.
func (d *Destination) PlainURLs() []string {
	if d.plain == nil {
		return nil
	}
	return d.plain.URLs()
}

// takeAway takes away what others find of the sender: its keys, and then its plain port.
func (d *Destination) takeAway(ctx context.Context) error {
	err := d.removeKeys(ctx)
	d.closePlain()
	return err
}

// plug begins the actor of the plain listener.
func (a *destination) plug(ctx actor.Context) {
	d := a.d
	if d.plain == nil {
		return
	}
	pid, err := ctx.SpawnNamed(supervisor.Props(plain.NewOutlet(&plain.Outlet{
		Node: a.node, Queue: d.out, Listener: d.plain,
		Settings: messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: d.cfg.PlainPolicy, KeepFor: d.cfg.PlainKeepFor},
	})), a.node.Name("plain", strings.Join(d.PlainURLs(), ",")))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	a.outlet = pid
}

// unplugged begins the actor of the plain listener again that somebody has stopped from
// outside, and reports whether it was that.
func (a *destination) unplugged(ctx actor.Context, pid *actor.PID) bool {
	if !pid.Equal(a.outlet) {
		return false
	}
	if a.state != retiring {
		a.plug(ctx)
	}
	return true
}

// plainMoved writes where plain peers find the sender now.
func (a *destination) plainMoved() {
	at := *a.d.at.Load()
	at.plain = a.d.PlainURLs()
	a.move(at)
}

// exposePlain warns of a plain listener that others than this machine can reach.
func (d *Destination) exposePlain() {
	if d.plain == nil {
		return
	}
	if open := d.plain.Exposed(); len(open) > 0 {
		d.node.Events.Emit(messages.PlainExposed{Destination: d.cfg.Name, URLs: open})
	}
}
