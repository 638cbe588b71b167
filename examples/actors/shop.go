package main

// The shop: it owns the destination, the member and billing.

import (
	"errors"
	"fmt"
	"log"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/supervisor"
)

// batch is how many orders one Publish has.
const batch = 50

// shop publishes orders, one batch when the batch before is accepted.
//
//	a user's system
//	└── shop
//	    ├── orders    the destination
//	    ├── member    hands what comes to billing
//	    └── billing
type shop struct {
	rt            *penstock.Runtime
	books         *ledger
	orders, every int
	over          chan<- error

	destination, member, billing *actor.PID
	published                    int
	dismissed                    bool // billing was stopped, once
	closing                      bool
}

func (s *shop) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.destination = s.spawn(ctx, "orders", penstock.DestinationProps(s.rt, "orders"))
		s.hire(ctx)
	case *penstock.Registered:
		log.Printf("%s is registered at %s", m.Destination, m.URL)
		s.publish(ctx)
	case *penstock.Joined:
		log.Printf("member %s is in group %s", m.Member, m.Group)
	case *penstock.Published:
		s.accepted(ctx, m)
	case *penstock.Flushed: // every order is charged
		s.closing = true
		s.next(ctx, m.Err, s.destination, &penstock.Unregister{})
	case *penstock.Unregistered:
		s.next(ctx, m.Err, s.member, &penstock.Leave{})
	case *penstock.Left:
		s.end(m.Err)
	case *supervisor.Failed:
		s.failed(m)
	case *actor.Terminated:
		if m.Who.Equal(s.member) && !s.closing {
			s.hire(ctx)
		}
	}
}

// hire begins billing, and the member that gives it work.
func (s *shop) hire(ctx actor.Context) {
	s.billing = s.spawn(ctx, "billing", supervisor.Props(func() actor.Actor { return &billing{books: s.books, every: s.every} }))
	s.member = s.spawn(ctx, "member", penstock.MemberProps(s.rt, "orders", "billing",
		penstock.Receiver{To: s.billing}, penstock.Window(16)))
}

func (s *shop) spawn(ctx actor.Context, name string, props *actor.Props) *actor.PID {
	pid, err := ctx.SpawnNamed(props, name)
	if err != nil {
		supervisor.Fail(ctx, fmt.Errorf("spawn %s: %w", name, err))
	}
	return pid
}

func (s *shop) publish(ctx actor.Context) {
	var msgs []penstock.Message
	for n := s.published; n < min(s.published+batch, s.orders); n++ {
		msgs = append(msgs, penstock.Message{Value: fmt.Appendf(nil, "order %d", n)})
	}
	ctx.Request(s.destination, &penstock.Publish{Messages: msgs})
}

// accepted: the destination has the batch, and asks for the next one.
func (s *shop) accepted(ctx actor.Context, m *penstock.Published) {
	s.published += m.Accepted
	if s.published >= s.orders/2 && !s.dismissed {
		s.dismissed = true
		s.books.dismissal()
		ctx.Stop(s.billing) // whatever it has in its mailbox
	}
	switch {
	case m.Err != nil:
		s.end(m.Err)
	case s.published < s.orders:
		s.publish(ctx)
	default:
		ctx.Request(s.destination, &penstock.Flush{})
	}
}

// failed: a child has ended for good. Without billing its member ends, too, and both
// are hired again.
func (s *shop) failed(m *supervisor.Failed) {
	log.Printf("%s: %v", m.Who.Id, m.Err)
	if !m.Who.Equal(s.member) || !errors.Is(m.Err, penstock.ErrClosed) {
		s.end(m.Err)
	}
}

// next asks for the next step of the end.
func (s *shop) next(ctx actor.Context, err error, of *actor.PID, step any) {
	if err != nil {
		s.end(err)
		return
	}
	ctx.Request(of, step)
}

// end reports how it ended; the first report counts.
func (s *shop) end(err error) {
	select {
	case s.over <- err:
	default:
	}
}
