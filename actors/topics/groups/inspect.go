package groups

// What the actors of a subscription report of themselves to whoever looks at the tree.

import "github.com/penstock-io/penstock/supervisor"

var (
	_ supervisor.Inspector = (*subscription)(nil)
	_ supervisor.Inspector = (*consumer)(nil)
)

// Inspect reports the partitions it owns, the group as etcd shows it, what is read
// ahead, and what is under way.
func (a *subscription) Inspect(in *supervisor.Inspection) {
	_, owned, bytes := a.sub.buffer.Stats()
	in.Int("owned", owned)
	in.Int64("generation", a.view.Generation())
	in.Int("members", a.view.Members())
	in.Int("fetched_bytes", bytes)
	if a.sub.shared != nil {
		in.Int("lent", a.sub.lent())
	}
	for _, n := range []struct {
		name  string
		count int
	}{
		{"claiming", a.claiming}, {"releasing", len(a.releasing)}, {"damaged", len(a.out)},
		{"commits_waiting", len(a.commits.under) + len(a.commits.next)},
	} {
		if n.count > 0 {
			in.Int(n.name, n.count)
		}
	}
}

// Inspect reports the first offset that is not finished, what etcd has of it, and the
// lag: how far the later of the two is from the end of the partition, as it last heard
// of that.
func (a *consumer) Inspect(in *supervisor.Inspection) {
	l := a.sub.buffer.Look(a.c)
	in.Int64("finished", l.Finished)
	if l.Committed >= 0 {
		in.Int64("committed", l.Committed)
	}
	if a.end > 0 {
		in.Int64("lag", max(0, a.end-max(l.Finished, l.Committed)))
	}
	in.Int("fetched_bytes", l.Bytes)
	if l.Failures > 0 { // of the record at finished
		in.Int("failures", l.Failures)
	}
	if l.Paused {
		in.Text("paused", "by the user")
	}
}
