package topiclog

// Who follows a topic beside the readers of its partitions: told of what a reader at
// the end does not hear of.

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// What listeners hear.
type (
	// IndexOpened: from now on, and from that revision on, every rewritten batch is told
	// of. Those of between this and an earlier IndexOpened may have been missed.
	IndexOpened struct{ discovery.Opened }
	// Edited: records of a batch that is in the log were erased.
	Edited struct {
		Partition int
		Entry     format.Entry
	}
	// listenerCame: an actor is to hear these.
	listenerCame struct{ pid *actor.PID }
)

// Listen has an actor sent an IndexOpened, as soon as the index is followed, and an Edited
// for each batch that is rewritten in a partition that is in use here.
func (t *Topic) Listen(pid *actor.PID) {
	t.mu.Lock()
	t.listeners = append(t.listeners, pid)
	t.mu.Unlock()
	t.Env.Send(t.PID.Load(), &listenerCame{pid})
}

// Unlisten ends Listen.
func (t *Topic) Unlisten(pid *actor.PID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners = slices.DeleteFunc(t.listeners, func(l *actor.PID) bool { return l.Equal(pid) })
}

// listening are those to be told.
func (t *Topic) listening() []*actor.PID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.listeners)
}

// listenerCame tells it where the index is followed from, if it is.
func (a *topic) listenerCame(ctx actor.Context, pid *actor.PID) {
	a.followIndex()
	if a.opened.Revision != 0 {
		supervisor.Notify(ctx, pid, &IndexOpened{a.opened})
	}
}

// indexOpened has everybody look for what came unheard.
func (a *topic) indexOpened(ctx actor.Context, m discovery.Opened) {
	a.opened = m
	for _, pid := range a.path.listening() {
		supervisor.Notify(ctx, pid, &IndexOpened{m})
	}
	a.tell(ctx, &lookAgain{})
}

// tellEdits tells the listeners of batches that were rewritten.
func (a *topic) tellEdits(ctx actor.Context, news map[int][]format.Entry) {
	for p, entries := range news {
		for _, e := range entries {
			if e.Edit == 0 {
				continue
			}
			for _, pid := range a.path.listening() {
				supervisor.Notify(ctx, pid, &Edited{p, e})
			}
		}
	}
}
