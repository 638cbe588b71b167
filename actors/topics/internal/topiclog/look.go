package topiclog

// Where the logs of a topic's partitions end: one look for all that want to know.
// After a cut from etcd that is every partition in use, at once.

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// look begins a look, unless one is under way: that began before the news which
// are wanted now.
func (a *topic) look() {
	if len(a.looking) > 0 || len(a.wanted) == 0 {
		return
	}
	a.looking, a.wanted = a.wanted, nil
	slices.SortFunc(a.looking, func(x, y *lookWanted) int { return x.part.P - y.part.P }) // a request reads a range of starts
	path, wanted := a.path, a.looking
	supervisor.Call(&a.host, "look", func(ctx context.Context) lookDone {
		return lookDone{path.look(ctx, wanted)}
	})
}

func (a *topic) lookDone(ctx actor.Context, m lookDone) {
	for _, l := range m.replies {
		supervisor.Notify(ctx, l.of.pid, l)
	}
	a.looking = nil
	a.look()
}

// look returns all that is wanted. What is wrong with one partition is an error
// of that one alone.
func (t *Topic) look(ctx context.Context, wanted []*lookWanted) []*looked {
	var sights []tail.Finding
	err := Retry(ctx, func(err error) {
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
			all[i].Finding = sights[i]
		}
	}
	return all
}

func (t *Topic) sights(ctx context.Context, wanted []*lookWanted) ([]tail.Finding, error) {
	// Most often all is as it was, and the newest batches tell.
	newest, err := t.stand(ctx, wanted, snapshot.Newest)
	if err != nil {
		return nil, err
	}
	var doubted []*lookWanted
	for i, w := range wanted {
		if slices.Contains(newest[i], false) {
			doubted = append(doubted, w)
		}
	}
	all, err := t.stand(ctx, doubted, func(s snapshot) []format.Entry { return s.Known })
	if err != nil {
		return nil, err
	}
	common := make(map[*lookWanted]int64, len(doubted))
	for i, w := range doubted {
		common[w] = tail.CommonWith(w.from.Known, all[i])
	}
	partitions := make([]int, len(wanted))
	for i, w := range wanted {
		partitions[i] = w.part.P
	}
	ends, last, err := t.Env.Log.Newest(ctx, t.Info(), partitions)
	if err != nil {
		return nil, err
	}
	sights := make([]tail.Finding, len(wanted))
	for i, w := range wanted {
		sights[i] = tail.Finding{End: ends[i], Newest: last[i], Common: tail.WholeLog}
		if at, ok := common[w]; ok {
			sights[i].Common = at
		}
	}
	return sights, nil
}

// stand tells for each that wants it which of some known batches stand.
func (t *Topic) stand(ctx context.Context, wanted []*lookWanted, which func(snapshot) []format.Entry) ([][]bool, error) {
	var marks []commitlog.Mark
	for _, w := range wanted {
		for _, e := range which(w.from) {
			marks = append(marks, commitlog.Mark{Partition: w.part.P, Entry: e})
		}
	}
	stand, err := t.Env.Log.Stand(ctx, t.Info(), marks)
	if err != nil {
		return nil, err
	}
	each := make([][]bool, len(wanted))
	for i, w := range wanted {
		n := len(which(w.from))
		each[i], stand = stand[:n], stand[n:]
	}
	return each, nil
}
