package tables

// Reading the partitions for a view.

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
)

// pass is one reading of the topic, into a view.
type pass struct {
	why      string
	began    time.Time
	view     *keyed.View
	readings []*reading // by partition
	left     int        // of these, are not at their goals
}

// reading is one partition of a pass.
type reading struct {
	of      *pass
	part    *topiclog.Partition
	asked   *topiclog.Fetch // under way, or nil
	waits   bool            // in the queue
	end     int64           // of the partition, as far as heard
	history int             // the log that was heard of last
	goal    int64           // where the partition ended when the pass began
	there   bool            // that was read
	began   int64           // where the reading did
}

// overtakes reports whether a pass has read all there was when it began.
func (p *pass) overtakes() bool { return p.left == 0 && len(p.readings) > 0 }

// reached reports whether it has, and no less than live, if that is not nil.
func (p *pass) reached(live *pass) bool {
	if !p.overtakes() {
		return false
	}
	for i := range p.readings {
		if live == nil || i >= live.view.Partitions() {
			break
		}
		at, _ := p.view.Place(i)
		if has, _ := live.view.Place(i); at < has {
			return false
		}
	}
	return true
}

// progress is how many offsets were read, and how many are left.
func (p *pass) progress() (read, left int64) {
	for i, r := range p.readings {
		at, _ := p.view.Place(i)
		read += at - r.began
		left += max(0, r.goal-at)
	}
	return read, left
}

// read begins to read a partition, the next one of a pass, from where its view is. It
// reports whether the topic is there.
func (a *table) read(ctx actor.Context, p *pass, number int, goal int64) bool {
	part, err := a.t.path.Partition(number)
	if err != nil {
		a.over(ctx, err)
		return false
	}
	at, _ := p.view.Place(number)
	r := &reading{of: p, part: part, goal: goal, end: goal, began: at}
	p.readings = append(p.readings, r)
	if r.there = at >= goal; !r.there {
		p.left++
	}
	part.Join()
	a.ask(ctx, r)
	return true
}

// fed reports whether a pass is in use.
func (a *table) fed(p *pass) bool { return p == a.live || p == a.again }

// ask fetches what comes next, or waits for it at the end of the partition.
func (a *table) ask(ctx actor.Context, r *reading) {
	if r.asked != nil || r.waits || !a.fed(r.of) {
		return
	}
	if r.of == a.live && a.again != nil && a.again.overtakes() {
		return // that would never be as far in all partitions, if this one continued
	}
	at, _ := r.of.view.Place(r.part.P)
	f := &topiclog.Fetch{Reader: r, Offset: at, Base: at, To: ctx.Self(), History: r.history}
	if at < r.end {
		if a.reads >= mostReads {
			r.waits = true
			a.queue = append(a.queue, r)
			return
		}
		a.reads++
		f.Room = tail.FetchBytes
	}
	r.asked = f
	r.part.FetchTo(f)
}

// resume has the live pass read that was held up by another one.
func (a *table) resume(ctx actor.Context) {
	if a.live != nil {
		for _, r := range a.live.readings {
			a.ask(ctx, r)
		}
	}
}

// answered ends a request.
func (a *table) answered(r *reading) {
	if r.asked != nil && r.asked.Room > 0 {
		a.reads--
	}
	r.asked = nil
}

// admit lets those read that wait for room.
func (a *table) admit(ctx actor.Context) {
	for len(a.queue) > 0 && a.reads < mostReads {
		r := a.queue[0]
		a.queue = a.queue[1:]
		r.waits = false
		a.ask(ctx, r)
	}
}

func (a *table) repeat() {
	for _, p := range []*pass{a.live, a.again} {
		if p == nil {
			continue
		}
		for _, r := range p.readings {
			if r.asked != nil {
				r.part.FetchTo(r.asked)
			}
		}
	}
}

// drop ends a pass.
func (a *table) drop(p **pass) {
	if *p == nil {
		return
	}
	for _, r := range (*p).readings {
		a.answered(r)
		r.part.Leave(r)
	}
	*p = nil
}

func (a *table) fetched(ctx actor.Context, m *topiclog.Fetched) {
	r, ok := m.Of.Reader.(*reading)
	if !ok || m.Of != r.asked || !a.fed(r.of) {
		return // answered before
	}
	a.answered(r)
	defer a.admit(ctx)
	r.end, r.history = m.End, m.History
	switch {
	case errors.Is(m.Err, messages.ErrTopicDeleted), errors.Is(m.Err, messages.ErrClosed):
		a.over(ctx, m.Err)
		return
	case errors.Is(m.Err, messages.ErrLogRolledBack):
		r.part.Unreadable(m.Of.Offset, m.End, m.Err)
		a.overthrow(ctx, "etcd was set back")
		return
	case errors.Is(m.Err, messages.ErrCorrupt), errors.Is(m.Err, messages.ErrTooLarge):
		r.part.Unreadable(m.Of.Offset, m.End, m.Err)
		a.over(ctx, m.Err)
		return
	case m.Err != nil && a.t.view == nil:
		a.over(ctx, m.Err)
		return
	case m.Err != nil: // a right that was taken away may come back
		a.delayed(m.Err)
		a.host.After(refusedPause, readAgain{r})
		return
	case m.Trimmed > m.Of.Offset:
		a.skip(r, m.Trimmed)
	case len(m.Batches) == 0 && m.Of.Room == 0 && m.End <= m.Of.Offset:
		r.end = m.Of.Offset + 1 // there is news, though its end is not known here
	}
	if !a.apply(ctx, r, m) {
		return
	}
	a.ask(ctx, r)
	a.through(ctx)
}

// skip passes over what was trimmed.
func (a *table) skip(r *reading, start int64) {
	a.each(func(v *keyed.View, tell func(keyed.Change)) {
		if v == r.of.view {
			v.Trim(r.part.P, start, tell)
		}
	})
}

// apply takes in what was read, and reports whether there is room for more.
func (a *table) apply(ctx actor.Context, r *reading, m *topiclog.Fetched) bool {
	view := r.of.view
	for _, b := range m.Batches {
		var err error
		if r.of == a.again {
			err = view.Apply(r.part.P, b, func(keyed.Change) {})
		} else {
			err = a.t.apply(r.part.P, b)
		}
		if err != nil {
			r.part.Unreadable(b.Base, m.End, err)
			a.over(ctx, err)
			return false
		}
	}
	if at, _ := view.Place(r.part.P); !r.there && at >= r.goal {
		r.there = true
		r.of.left--
	}
	return !a.tooLarge(ctx, view)
}
