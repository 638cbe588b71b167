package senders

// What the actors of a sender report of themselves: to whoever looks at the tree, and to
// whoever asks for the health.

import (
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

var (
	_ supervisor.Inspector = (*destination)(nil)
	_ supervisor.Inspector = (*pipe)(nil)
	_ supervisor.Inspector = (*link)(nil)
	_ supervisor.Inspector = (*listener)(nil)
)

// Inspect reports the groups that it has a pipe for, the members that etcd shows of
// them, and what is accepted and not settled, over all groups.
func (a *destination) Inspect(in *supervisor.Inspection) {
	in.Int("groups", len(a.pipes))
	in.Int64("members", a.d.role.Wants.Load())
	in.Int("pending", a.d.out.Pending())
	if len(a.offers) > 0 {
		in.Int("offered_links", len(a.offers))
	}
}

// Inspect reports what the group has to send, and when a failed message is due.
func (p *pipe) Inspect(in *supervisor.Inspection) {
	l := p.out.Look(p.queue)
	in.Int("links", l.Links)
	in.Int("queued", l.Queued)
	in.Int("in_flight", l.InFlight)
	in.Int("bytes", l.Bytes)
	in.Text("on_full", string(l.Policy))
	if l.Failed > 0 {
		in.Int("failed", l.Failed)
		in.Time("due", l.Due)
	}
	if l.Exhausted > 0 {
		in.Int("exhausted", l.Exhausted)
	}
	inspectOrder(in, p.out.InOrder(p.queue))
}

// inspectOrder reports, of a group that keeps an order, who gets everything, and which keys
// wait for whom.
func inspectOrder(in *supervisor.Inspection, o messages.PipeOrder) {
	if o.Active != "" {
		in.Text("active", o.Active)
	}
	if o.Keys > 0 {
		in.Int("keys", o.Keys)
		in.Int("blocked_keys", o.BlockedKeys)
	}
	if o.Blocked > 0 {
		in.Int("blocked", o.Blocked)
	}
	if len(o.Blockers) == 0 {
		return
	}
	var some []string
	for _, k := range o.Blockers {
		some = append(some, k.String())
	}
	in.Text("waiting", strings.Join(some, "; "))
}

// Inspect reports what is out on the link, and how much more the member takes.
func (l *link) Inspect(in *supervisor.Inspection) {
	in.Text("addr", l.conn.RemoteAddr())
	if l.place == nil {
		return
	}
	look := l.out.LookAt(l.place)
	in.Int("in_flight", look.InFlight)
	in.Int("credit", look.Credit)
	in.Int64("sent", int64(look.Sent))
	if look.Hung {
		in.Text("member", "keeps messages for longer than AckWait")
	}
}

// Inspect reports where members reach it.
func (l *listener) Inspect(in *supervisor.Inspection) {
	in.Text("urls", strings.Join(l.socket.URLs(), ","))
}

// becomes moves to a state, and notes it for whoever asks for the health.
func (a *destination) becomes(ctx actor.Context, next destState) {
	a.state = destMoves.To(ctx, a.state, next)
	switch next {
	case registering:
		a.d.role.Is(messages.RoleStarting)
	case serving:
		a.d.role.Is(messages.RoleEstablished)
	case ousted, retiring:
		a.d.role.Ends(a.d.out.Cause())
	}
}

// count notes how many members there are to link.
func (a *destination) count() {
	members := 0
	for _, g := range a.groups {
		members += len(g.members)
	}
	a.d.role.Wants.Store(int64(members))
}
