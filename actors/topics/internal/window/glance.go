package window

// How a window is read: backwards from the end of the log, down to what it knows.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Glance is a reading back, to learn what lies between a window and the end of the
// log, or all of the window. It is a commitlog.Sight.
type Glance struct {
	w     *Window
	now   time.Time
	end   format.LogEnd
	met   bool   // what the window knows lies before
	newer [][]ID // by batch, the newest first
	fault error
}

// Glance begins a reading: it is to be shown the log, and to Learn then.
func (w *Window) Glance(now time.Time) *Glance { return &Glance{w: w, now: now} }

// Begin is Sight's.
func (g *Glance) Begin(end format.LogEnd) {
	g.end, g.newer, g.fault = end, nil, nil
	g.met = g.w.state == read && end.Is(g.w.end)
}

// Wants is Sight's.
func (g *Glance) Wants(e format.Entry) bool {
	g.met = g.met || g.w.state == read && e.LogEnd().Is(g.w.end)
	return !g.met && !beyond(e, g.end, g.w.records)
}

// beyond reports whether a batch is too far from the end of its log, by records or by
// bytes.
func beyond(e format.Entry, end format.LogEnd, records int64) bool {
	return e.End() <= end.Offset-records ||
		end.Bytes > 0 && e.LogBytes > 0 && end.Bytes-e.LogBytes > messages.MaxDedupeBytes
}

// Sees is Sight's.
func (g *Glance) Sees(b *format.Batch) bool {
	if b.Time < g.now.Add(-g.w.span-slack).UnixNano() {
		return false
	}
	ids, err := IDs(b.Raw, nil)
	if err != nil {
		g.fault = err
		return false
	}
	if len(ids) > 0 {
		g.newer = append(g.newer, placedFrom(b.Base, b.Time, ids))
	}
	return true
}

// Learn takes over what was seen. The error, which wraps messages.ErrCorrupt, is of a
// batch that does not decode; then nothing is.
func (g *Glance) Learn() error {
	if g.fault != nil {
		return g.fault
	}
	w := g.w
	if !g.met {
		w.Forget()
	}
	w.state, w.end, w.sure = read, g.end, g.now
	for i := len(g.newer) - 1; i >= 0; i-- {
		w.add(g.newer[i], g.now.UnixNano())
	}
	return nil
}
