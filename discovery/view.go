package discovery

// The copy of a prefix that a Watch keeps, and how lists and events change it.
// Nothing here talks to anybody: a list or a batch of events goes in, what the
// listener must hear comes out.

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// WatchEvent is one of Snapshot, Delta, Delayed.
type WatchEvent interface{ watchEvent() }

// Snapshot is everything under the prefix at a revision. It comes first, and
// again only with Reset. It replaces what was known.
type Snapshot struct {
	Revision int64
	KVs      []KV // sorted by key
	// Reset says that this is another etcd than before: it was wiped,
	// restored from a backup, or replaced. Revisions from before mean nothing
	// any more. A Delta with the keys that went came just before.
	Reset bool
}

// Delta is what changed. Apply Deletes first, then Puts: a key that is in both
// was deleted and created again, which its CreateRevision tells.
//
// A Delta is all changes of one revision, that is of one transaction or one
// expired lease, except the first after a gap, which has everything since.
type Delta struct {
	Revision int64
	Puts     []KV
	Deletes  []KV // as they were before
}

// Delayed says that etcd did not do what was asked and that Run tries again. It is
// an event of Watch and Follow.
type Delayed struct {
	// Err is why; its text names what was asked of whom.
	Err error
	// Wait is how long Run waits before the next attempt.
	Wait time.Duration
}

func (Snapshot) watchEvent() {}
func (Delta) watchEvent()    {}
func (Delayed) watchEvent()  {}

// view is the copy. Its zero value has seen nothing.
type view struct {
	cluster  uint64
	revision int64 // 0: nothing seen yet
	opened   int64 // revision at which a watch was opened before the list; 0: the list came first
	kvs      map[string]KV
}

// rolledBack is the error of a header of another history than what was seen.
func (v *view) rolledBack(cluster uint64, revision int64) error {
	switch {
	case v.revision == 0:
		return nil
	case cluster != v.cluster:
		return fmt.Errorf("etcd was replaced: cluster %x, was %x", cluster, v.cluster)
	case revision < v.revision:
		return fmt.Errorf("etcd was rolled back: revision %d, was %d", revision, v.revision)
	}
	return nil
}

// relist replaces the copy by a list and returns how the listener gets from
// the old one to the new.
func (v *view) relist(l listing) []WatchEvent {
	first, reset := v.revision == 0, v.rolledBack(l.cluster, l.revision) != nil
	now := make(map[string]KV, len(l.kvs))
	for _, kv := range l.kvs {
		now[kv.Key] = kv
	}
	was := v.kvs
	v.cluster, v.revision, v.opened, v.kvs = l.cluster, l.revision, 0, now

	if first {
		return []WatchEvent{Snapshot{Revision: l.revision, KVs: l.kvs}}
	}
	d := diff(was, now)
	d.Revision = l.revision
	var out []WatchEvent
	if reset {
		d.Puts = nil // they come with the snapshot
	}
	if len(d.Puts)+len(d.Deletes) > 0 {
		out = append(out, d)
	}
	if reset {
		out = append(out, Snapshot{Revision: l.revision, KVs: l.kvs, Reset: true})
	}
	return out
}

// diff is what leads from one copy to another, in the order of keys.
func diff(was, now map[string]KV) Delta {
	var d Delta
	for key, old := range was {
		if kv, there := now[key]; !there || kv.CreateRevision != old.CreateRevision {
			d.Deletes = append(d.Deletes, old)
		}
	}
	for key, kv := range now {
		if old, there := was[key]; !there || !same(old, kv) {
			d.Puts = append(d.Puts, kv)
		}
	}
	slices.SortFunc(d.Puts, compareKeys)
	slices.SortFunc(d.Deletes, compareKeys)
	return d
}

// same compares everything: equal revisions of two histories mean nothing.
func same(a, b KV) bool {
	return a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision && a.Lease == b.Lease && bytes.Equal(a.Value, b.Value)
}

// heard takes what a watch delivered: a header and events, none for a report
// of progress. Events up to the revision already seen are dropped: a watch that
// was opened before the list tells what the list has, and even what was before the
// revision of its confirmation, because etcd reads that after the watch has begun. The
// error tells that etcd's history is another one; nothing changed then.
func (v *view) heard(cluster uint64, revision int64, events []*clientv3.Event) ([]WatchEvent, error) {
	if cluster == v.cluster && v.opened != 0 && revision < v.revision && (len(events) > 0 || v.opened <= revision) {
		return nil, nil
	}
	if err := v.rolledBack(cluster, revision); err != nil {
		return nil, err
	}
	v.opened = 0
	var out []WatchEvent
	var d Delta
	flush := func() {
		if len(d.Puts)+len(d.Deletes) > 0 {
			out = append(out, d)
		}
		d = Delta{}
	}
	for _, ev := range events {
		if ev.Kv.ModRevision <= v.revision {
			continue
		}
		if ev.Kv.ModRevision != d.Revision {
			flush()
			d.Revision = ev.Kv.ModRevision
		}
		key := string(ev.Kv.Key)
		old, known := v.kvs[key]
		if ev.Type == clientv3.EventTypeDelete {
			// Without what was, there is nothing to take away.
			if known {
				d.Deletes = append(d.Deletes, old)
				delete(v.kvs, key)
			}
			continue
		}
		kv := KVOf(ev.Kv)
		d.Puts = append(d.Puts, kv)
		v.kvs[key] = kv
	}
	flush()
	if n := len(events); n > 0 {
		// To a watch that is far behind etcd tells a thousand revisions at a time, under
		// a header that is ahead of them: those after the last event are still to come.
		revision = events[n-1].Kv.ModRevision
	}
	v.revision = max(v.revision, revision)
	return out, nil
}
