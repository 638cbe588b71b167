package props

// Receivers that begin again without an event: proto.actor tells of the child that fails,
// and not of those that its strategy restarts with it.

import (
	"reflect"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/penstock-io/penstock/supervisor"
)

// When a receiver is looked at after one of its siblings was told to restart. It may be
// told a little later, and first waits for the end of its children.
const (
	lookSoon = 100 * time.Millisecond
	lookLate = 2 * time.Second
)

// sight is what is known of a receiver's incarnation. Only one that is known by a pointer
// is told from the next; a function keeps what it has.
type sight struct {
	to     *actor.PID
	seen   actor.Actor // nil before the first look
	begun  bool        // looks are due
	events *eventstream.Subscription
}

// Messages about the receiver, which its member or subscription gets.
type (
	receiverFailed struct{}
	siblingFailed  struct{}
	receiverEnds   struct{} // it has failed, or one above it has, and will not begin again
	// sightDue asks for a look at it.
	sightDue struct{ last bool }
	// glance goes to the receiver, and comes back as glanced.
	glance  struct{}
	glanced struct{ at actor.Actor }
)

// GetAutoResponse is called by proto.actor once the receiver has seen the message.
func (*glance) GetAutoResponse(ctx actor.Context) any { return &glanced{ctx.Actor()} }

// NotInfluenceReceiveTimeout keeps the receiver's timeout as it is.
func (*glance) NotInfluenceReceiveTimeout() {}

// begin watches the receiver and has the actor told receiverFailed when it has begun
// again, or continues without what it failed over; receiverEnds when it will not.
func (s *sight) begin(ctx actor.Context, h *supervisor.Host, to *actor.PID) {
	ctx.Watch(to)
	s.to = to
	tell := h.Teller()
	_, below := parentOf(to)
	s.events = ctx.ActorSystem().EventStream.Subscribe(func(event any) {
		switch e := event.(type) {
		case *supervisor.Restarted:
			if e.Who.Equal(to) {
				tell(receiverFailed{})
			}
		case *supervisor.Stopped:
			if e.Who.Equal(to) {
				tell(receiverEnds{})
			}
		case *supervisor.Escalated:
			if e.Who.Equal(to) {
				tell(receiverEnds{})
			}
		case *actor.SupervisorEvent:
			restarts := e.Directive == actor.RestartDirective
			switch {
			case e.Child.Equal(to):
				if restarts || e.Directive == actor.ResumeDirective {
					tell(receiverFailed{})
				} else {
					tell(receiverEnds{})
				}
			case above(e.Child, to) && e.Directive != actor.ResumeDirective:
				tell(receiverEnds{}) // its failure, or that of another below, may have come up to there
			case below && restarts && siblings(e.Child, to):
				tell(siblingFailed{})
			}
		}
	})
	if below {
		ctx.Request(to, &glance{})
	}
}

// end hears nothing more of failures.
func (s *sight) end(ctx actor.Context) {
	if s.events != nil {
		ctx.ActorSystem().EventStream.Unsubscribe(s.events)
		s.events = nil
	}
}

// forget has the receiver forget who watches it. It is called when the actor stops.
func (s *sight) forget(ctx actor.Context) {
	if s.to != nil {
		ctx.Unwatch(s.to)
	}
}

// suspect looks at the receiver soon, and once more.
func (s *sight) suspect(h *supervisor.Host) {
	if !s.begun {
		s.begun = true
		h.After(lookSoon, sightDue{})
	}
}

func (s *sight) due(ctx actor.Context, h *supervisor.Host, m sightDue) {
	ctx.Request(s.to, &glance{})
	if s.begun = !m.last; s.begun {
		h.After(lookLate, sightDue{last: true})
	}
}

// sees reports whether the receiver is another one than it was.
func (s *sight) sees(m *glanced) (another bool) {
	if reflect.ValueOf(m.at).Kind() != reflect.Pointer {
		return false
	}
	another = s.seen != nil && s.seen != m.at
	s.seen = m.at
	return another
}

// parentOf is the id of an actor's parent; false at the top.
func parentOf(pid *actor.PID) (id string, ok bool) {
	at := strings.LastIndexByte(pid.Id, '/')
	return pid.Id[:max(0, at)], at > 0
}

// above reports whether an actor is the parent of another one, or of its parent, and so on.
func above(a, of *actor.PID) bool {
	return a.Address == of.Address && strings.HasPrefix(of.Id, a.Id+"/")
}

// siblings reports whether two actors have the same parent.
func siblings(a, b *actor.PID) bool {
	of, ok := parentOf(a)
	other, also := parentOf(b)
	return ok && also && of == other && a.Address == b.Address
}
