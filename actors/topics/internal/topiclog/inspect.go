package topiclog

// What the actors of a topic report of themselves to whoever looks at the tree.

import (
	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/supervisor"
)

var (
	_ supervisor.Inspector = (*topic)(nil)
	_ supervisor.Inspector = (*partition)(nil)
)

// Inspect reports the partitions in use, who uses the topic, and what waits to be
// appended.
func (a *topic) Inspect(in *supervisor.Inspection) {
	s := a.path.Stats()
	in.Int("partitions", a.path.Partitions())
	in.Int("in_use", len(a.children))
	in.Int64("queued_bytes", s.QueuedBytes)
	in.Text("index", string(a.follow))
	if n := len(a.wanted) + len(a.looking); n > 0 {
		in.Int("looks", n)
	}
}

// Inspect reports what waits to be appended and when something was, where the log
// ends as far as it is known, and how many read and wait for records.
func (a *partition) Inspect(in *supervisor.Inspection) {
	s := a.path.acc.Counters()
	in.Int64("queued_bytes", s.Queued)
	in.Time("last_append", s.Appended)
	if s.Failed > 0 {
		in.Int64("failed", int64(s.Failed))
	}
	r := &a.path.reading
	if end := r.End(); end != tail.UnknownEnd {
		in.Int64("end", end)
	}
	in.Int64("readers", a.path.readers.Load())
	in.Int("fetches", len(r.Waiting()))
}
