package tables

// The branch of the engine's actor that keeps an actor for each table.

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Branch is a part of the engine's actor, and runs on its goroutine.
type Branch struct{ tables *Tables }

// Questions to the branch, and the replies.
type (
	// begin is answered with *begun or an error.
	begin struct{ table *Table }
	begun struct{}
	// withdraw ends a table that nobody wants any more.
	withdraw struct{ table *Table }
)

// Branch makes the part of an incarnation of the engine's actor.
func (s *Tables) Branch() *Branch { return &Branch{s} }

// Begin begins what an earlier incarnation had.
func (b *Branch) Begin(ctx actor.Context) {
	for _, p := range b.tables.all {
		b.place(ctx, p)
	}
}

// Receive handles what is for this branch, and reports whether msg was.
func (b *Branch) Receive(ctx actor.Context, msg any) bool {
	switch m := msg.(type) {
	case *begin:
		b.begin(ctx, m.table)
	case *withdraw:
		b.withdraw(ctx, m.table)
	default:
		return false
	}
	return true
}

func (b *Branch) begin(ctx actor.Context, t *Table) {
	if b.tables.env.Refuse(ctx) {
		return
	}
	if err := t.path.Ended(); err != nil { // by a Close, since who asks has looked
		supervisor.Reply(ctx, err)
		return
	}
	p := &node.Placement[*Table]{Handle: t}
	b.tables.all[t] = p
	b.tables.added(t)
	t.path.Users++ // on this goroutine alone
	b.place(ctx, p)
	supervisor.Reply(ctx, &begun{})
}

func (b *Branch) place(ctx actor.Context, p *node.Placement[*Table]) {
	p.PID = b.tables.env.Spawn(ctx, "table", p.Handle.path.Name, newActor(p.Handle),
		supervisor.WithPolicy(topiclog.Policy()), node.ShowPID(&p.Handle.pid))
}

func (b *Branch) withdraw(ctx actor.Context, t *Table) {
	if p := b.tables.all[t]; p != nil {
		ctx.Stop(p.PID)
	}
}

// Tell tells the topic's tables that it has other settings, or has ended.
func (b *Branch) Tell(ctx actor.Context, path *topiclog.Topic) {
	for t, p := range b.tables.all {
		if t.path == path {
			supervisor.Notify(ctx, p.PID, &topiclog.Changed{Path: path})
		}
	}
}

// Terminated hears of a child that has ended, and reports whether it was of this branch.
func (b *Branch) Terminated(who *actor.PID) bool {
	for t, p := range b.tables.all {
		if !who.Equal(p.PID) {
			continue
		}
		if t.Err() == nil {
			b.tables.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		}
		t.end(node.ErrOutside)
		delete(b.tables.all, t)
		b.tables.removed(t)
		t.path.Use(-1)
		return true
	}
	return false
}

// Failed hears of a child that was given up, and reports whether it was of this branch.
func (b *Branch) Failed(m *supervisor.Failed) bool {
	for t, p := range b.tables.all {
		if m.Who.Equal(p.PID) {
			t.end(m.Err)
			return true
		}
	}
	return false
}

// Close tells whoever still holds a table, or waits for one, that it is over.
func (b *Branch) Close() {
	for t := range b.tables.all {
		t.end(b.tables.env.Closed())
	}
}
