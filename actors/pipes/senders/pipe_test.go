package senders

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/socket"
)

// Promise: a member has one link to a sender. After a crash of the group's
// actor the end of its old link may be heard of after the new one began, and
// is no end of that.
func TestTheEndOfAnOldLinkLeavesTheNewOne(t *testing.T) {
	o := sendq.New("orders", sendq.Config{}, func(messages.Event) {}, func(func()) {})
	b := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock})
	before, now := actor.NewPID("test", "link#1"), actor.NewPID("test", "link#3")
	p := &pipe{
		out: o, queue: b, state: attended,
		links:   map[string]*actor.PID{"w1": now, "w2": actor.NewPID("test", "link#2")},
		offered: make(map[string]*socket.Conn),
	}
	p.gone(nil, &linkGone{"w1", before}) // w2 keeps it attended: no move, so no actor is needed
	if p.links["w1"] != now {
		t.Errorf("the links are %v", p.links)
	}
}
