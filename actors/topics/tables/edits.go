package tables

// Batches that were rewritten behind a table, because records of them were erased.

import (
	"context"
	"errors"
	"slices"

	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// place is a batch.
type place struct {
	partition int
	base      int64
}

// edit is a batch of which records were erased since it was put, and it is not known
// whether these are in a view.
type edit struct {
	entry   format.Entry
	read    bool          // its reading is under way
	checked []*keyed.View // that are without what was erased
}

// mostEditReads is how many rewritten batches are read at once.
const mostEditReads = 4

type (
	// editRead is what is left of a batch.
	editRead struct {
		at    place
		entry format.Entry
		batch *format.Batch
		err   error
	}
	// rescanned are the batches that were rewritten while the index was not followed.
	rescanned struct {
		found []topiclog.Edited
		err   error
	}
)

func (a *table) edited(m *topiclog.Edited) {
	a.edits[place{m.Partition, m.Entry.Base}] = &edit{entry: m.Entry}
	a.pickEdits()
}

// pickEdits reads the batches that views were made of, and forgets those that concern none.
// A batch that a view has yet to read is kept: what is on its way may be from before.
func (a *table) pickEdits() {
	reads := 0
	for _, e := range a.edits {
		if e.read {
			reads++
		}
	}
	for at, e := range a.edits {
		if e.read {
			continue
		}
		switch ahead, concerned := a.concerns(at, e); {
		case concerned && reads < mostEditReads:
			reads++
			e.read = true
			a.readEdit(at, e.entry)
		case !concerned && !ahead:
			delete(a.edits, at)
		}
	}
}

// concerns reports whether a view has yet to read a batch, and whether one was made of it and
// not checked.
func (a *table) concerns(at place, e *edit) (ahead, concerned bool) {
	for _, p := range []*pass{a.live, a.again} {
		switch {
		case p == nil || slices.Contains(e.checked, p.view):
		case a.isAhead(p, at, e.entry.End()):
			ahead = true
		default:
			concerned = concerned || p.view.Has(at.partition, at.base, e.entry.End())
		}
	}
	return ahead || a.state == tableOpening, concerned
}

// isAhead reports whether a view has yet to read a batch.
func (a *table) isAhead(p *pass, at place, end int64) bool {
	if at.partition >= p.view.Partitions() {
		return true
	}
	next, _ := p.view.Place(at.partition)
	return next < end
}

func (a *table) readEdit(at place, entry format.Entry) {
	log := a.env.Log.Partition(a.t.path.Info(), at.partition)
	supervisor.Call(&a.host, "read a rewritten batch", func(ctx context.Context) editRead {
		m := editRead{at: at, entry: entry}
		m.err = topiclog.Retry(ctx, a.delayed, func() error {
			batches, err := log.Fetch(ctx, []format.Entry{entry})
			if err == nil {
				m.batch = batches[0]
			}
			return err
		})
		return m
	})
}

// editRead takes out what was erased. Of such a key there may be an older record.
func (a *table) editRead(m editRead) {
	e := a.edits[m.at]
	switch {
	case e == nil:
		return
	case e.entry.Edit != m.entry.Edit: // rewritten once more, and noted then
	case m.err != nil: // trimmed or replaced, which is heard of in another way; or refused
		delete(a.edits, m.at)
		a.want("what was deleted of a batch could not be read")
	default:
		e.read = false
		for _, p := range []*pass{a.live, a.again} {
			if p != nil && !a.isAhead(p, m.at, m.entry.End()) {
				e.checked = append(e.checked, p.view)
			}
		}
		a.each(func(v *keyed.View, tell func(keyed.Change)) {
			if slices.Contains(e.checked, v) && v.Erase(m.at.partition, m.batch, tell) > 0 {
				a.want("the newest records of keys were deleted")
			}
		})
	}
	a.pickEdits()
}

// rescan finds the batches that were rewritten since a revision, as far as views were made of
// them.
func (a *table) rescan(since int64) {
	if a.again != nil {
		a.want("the watch was cut while it was read")
	}
	if a.live == nil {
		return
	}
	log, info := a.env.Log, a.t.path.Info()
	at := reached(a.live.view)
	supervisor.Call(&a.host, "look for rewritten batches", func(ctx context.Context) (m rescanned) {
		for p := range at {
			m.err = errors.Join(m.err, topiclog.Retry(ctx, a.delayed, func() error {
				found, err := rewritten(ctx, log.Partition(info, p), at[p].Offset, since)
				for _, e := range found {
					m.found = append(m.found, topiclog.Edited{Partition: p, Entry: e})
				}
				return err
			}))
		}
		return m
	})
}

// rescanPage is how many entries of the index are read at once.
const rescanPage = 1000

// rewritten are the entries up to an offset that were written after a revision, and of
// which records were erased.
func rewritten(ctx context.Context, log *commitlog.Partition, to, since int64) (found []format.Entry, err error) {
	at, _, err := log.Bounds(ctx)
	for err == nil && at < to {
		var page []format.Entry
		page, err = log.Entries(ctx, at, rescanPage)
		for _, e := range page {
			if e.Edit != 0 && e.ModRevision > since {
				found = append(found, e)
			}
			at = e.End()
		}
		var gone *commitlog.TrimmedError
		switch {
		case errors.As(err, &gone) && gone.Start > at:
			at, err = gone.Start, nil
		case err == nil && len(page) == 0:
			return found, nil
		}
	}
	return found, err
}

func (a *table) rescanned(m rescanned) {
	for i := range m.found {
		a.edited(&m.found[i])
	}
	if m.err != nil && !errors.Is(m.err, messages.ErrTopicDeleted) {
		a.want("it could not be seen what was deleted meanwhile")
	}
}
