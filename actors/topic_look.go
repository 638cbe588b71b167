package actors

// Where the logs of a topic's partitions end: one look for all that want to know.
// After a cut from etcd that is every partition in use, at once.

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// look begins a look, unless one is under way: that began before the news which
// are wanted now.
func (a *topic) look() {
	if len(a.looking) > 0 || len(a.wanted) == 0 {
		return
	}
	a.looking, a.wanted = a.wanted, nil
	path, wanted := a.path, a.looking
	supervisor.Call(&a.host, "look", func(ctx context.Context) lookDone {
		return lookDone{path.look(ctx, wanted)}
	})
}

func (a *topic) lookDone(ctx actor.Context, m lookDone) {
	for _, l := range m.answers {
		ctx.Send(l.of.pid, l)
	}
	a.looking = nil
	a.look()
}

// look answers all that is wanted. What is wrong with one partition is an error
// of that one alone.
func (t *topicPath) look(ctx context.Context, wanted []*lookWanted) []*looked {
	var sights []sight
	err := insist(ctx, func(err error) {
		for _, w := range wanted {
			w.part.delayed(err)
		}
	}, func() (err error) {
		sights, err = t.sights(ctx, wanted)
		return err
	})
	if err != nil && len(wanted) > 1 && ctx.Err() == nil {
		var all []*looked
		for i := range wanted {
			all = append(all, t.look(ctx, wanted[i:i+1])...)
		}
		return all
	}
	all := make([]*looked, len(wanted))
	for i, w := range wanted {
		all[i] = &looked{of: w, err: err}
		if err == nil {
			all[i].sight = sights[i]
		}
	}
	return all
}

func (t *topicPath) sights(ctx context.Context, wanted []*lookWanted) ([]sight, error) {
	var marks []commitlog.Mark
	var partitions []int
	for _, w := range wanted {
		partitions = append(partitions, w.part.p)
		for _, e := range w.from.known {
			marks = append(marks, commitlog.Mark{Partition: w.part.p, Entry: e})
		}
	}
	info, log := t.info(), t.eng.log
	stand, err := log.Stand(ctx, info, marks)
	if err != nil {
		return nil, err
	}
	ends, newest, err := log.Newest(ctx, info, partitions)
	if err != nil {
		return nil, err
	}
	sights := make([]sight, len(wanted))
	for i, w := range wanted {
		n := len(w.from.known)
		sights[i] = sight{end: ends[i], newest: newest[i], common: commonWith(w.from.known, stand[:n])}
		stand = stand[n:]
	}
	return sights, nil
}
