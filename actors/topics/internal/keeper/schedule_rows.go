package keeper

// The schedules as a keeper knows them, in the order of their next ticks.

import (
	"container/heap"

	"github.com/penstock-io/penstock/actors/topics/internal/schedule"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// row is a schedule.
type row struct {
	commitlog.ScheduleRow
	times *schedule.Times // nil of one that this process cannot read
	at    int             // where it is in the order; -1 for nowhere
	// sent is the value of a step of which it is not known whether it was made; empty for
	// none. The step, and the partition of its record.
	sent string
	step schedule.Step
	part int
}

// rows is the order. Its zero value is empty.
type rows struct {
	byName map[string]*row
	order  order
}

// see takes in a schedule as it was at a revision, unless a newer one is known, with what is
// wrong with its value. It returns why this process cannot do anything for it, once for each
// change of its settings.
func (r *rows) see(is commitlog.ScheduleRow, fault error, revision int64, force bool) error {
	known := r.byName[is.Name]
	if known != nil && (!force && revision <= known.Revision || known.Value == is.Value) {
		if force {
			known.sent = ""
		}
		return nil
	}
	is.Revision = revision
	x := &row{ScheduleRow: is, at: -1}
	same := known != nil && known.Changed.Equal(is.Changed) && known.Cron == is.Cron && known.TimeZone == is.TimeZone && known.From.Equal(is.From)
	switch {
	case fault != nil:
	case same:
		x.times = known.times
	default:
		x.times, fault = schedule.Parse(is.Cron, is.TimeZone, is.From)
	}
	r.remove(is.Name)
	if r.byName == nil {
		r.byName = make(map[string]*row)
	}
	r.byName[is.Name] = x
	if x.times != nil && !x.Paused && !x.Next.IsZero() {
		heap.Push(&r.order, x)
	}
	return fault
}

// has reports whether a schedule is known with that value.
func (r *rows) has(name, value string) bool {
	x := r.byName[name]
	return x != nil && x.Value == value
}

// doubt notes that a step from a value may have been made.
func (r *rows) doubt(name, from, sent string, s schedule.Step, part int) {
	if x := r.byName[name]; r.has(name, from) {
		x.sent, x.step, x.part = sent, s, part
	}
}

func (r *rows) remove(name string) {
	x := r.byName[name]
	if x == nil {
		return
	}
	delete(r.byName, name)
	if x.at >= 0 {
		heap.Remove(&r.order, x.at)
	}
}

// keep forgets all but those that are there.
func (r *rows) keep(there map[string]bool) {
	for name := range r.byName {
		if !there[name] {
			r.remove(name)
		}
	}
}

// first is the one whose tick is next, or nil.
func (r *rows) first() *row {
	if len(r.order) == 0 {
		return nil
	}
	return r.order[0]
}

// order is a heap.
type order []*row

func (o order) Len() int           { return len(o) }
func (o order) Less(a, b int) bool { return o[a].Next.Before(o[b].Next) }
func (o order) Swap(a, b int) {
	o[a], o[b] = o[b], o[a]
	o[a].at, o[b].at = a, b
}

// Push and Pop are for package heap.
func (o *order) Push(x any) {
	r := x.(*row)
	r.at = len(*o)
	*o = append(*o, r)
}

// Pop removes the last.
func (o *order) Pop() any {
	last := (*o)[len(*o)-1]
	last.at = -1
	*o = (*o)[:len(*o)-1]
	return last
}
