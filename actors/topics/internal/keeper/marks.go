package keeper

// Which partitions have records that are delivered later, as their marks in etcd say. A
// runtime that uses topics watches the marks: one prefix, and nothing in it while nobody
// delays anything.

import (
	"sync"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

// place is a partition.
type place struct {
	topic string // its id
	p     int
}

// delayMark is the mark of a partition.
type delayMark struct {
	// due is when the first of the records is due that were put since the marks were taken
	// last, in nanoseconds since 1970; or else of those that were put last.
	due      int64
	revision int64
}

// delayMarks are the marks as the watch shows them. It is safe for concurrent use.
type delayMarks struct {
	mu sync.Mutex
	marksSeen
	// fresh are the marks that changed since they were taken last. One that changes again
	// says of the first of all that was put meanwhile.
	fresh map[place]bool
}

// marksSeen is a view of the marks.
type marksSeen struct {
	all map[place]delayMark
	// lists counts how often all were listed: etcd may be another one since.
	lists int
	// refused is why they cannot be watched.
	refused error
}

// see takes in what the watch tells, and reports whether there is any mark.
func (m *delayMarks) see(space keys.Space, e discovery.WatchEvent) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case discovery.Snapshot:
		m.all, m.refused = make(map[place]delayMark, len(e.KVs)), nil
		m.lists++
		clear(m.fresh)
		m.put(space, e.KVs)
	case discovery.Delta:
		for _, kv := range e.Deletes {
			if k, ok := space.Parse(kv.Key); ok {
				delete(m.all, place{k.Topic, k.Partition})
				delete(m.fresh, place{k.Topic, k.Partition})
			}
		}
		m.put(space, e.Puts)
	case discovery.Refused:
		m.all, m.refused = nil, e.Err
	}
	return len(m.all) > 0
}

// put takes in marks. One that makes no sense is one of something that is due.
func (m *delayMarks) put(space keys.Space, kvs []discovery.KV) {
	if m.all == nil {
		m.all = make(map[place]delayMark)
	}
	if m.fresh == nil {
		m.fresh = make(map[place]bool)
	}
	for _, kv := range kvs {
		if k, ok := space.Parse(kv.Key); ok && k.Kind == keys.KindDelay {
			due, _ := keys.ParseOffset(string(kv.Value))
			at := place{k.Topic, k.Partition}
			if m.fresh[at] {
				due = min(due, m.all[at].due)
			}
			m.all[at], m.fresh[at] = delayMark{due, kv.ModRevision}, true
		}
	}
}

// take is a copy of what is seen.
func (m *delayMarks) take() marksSeen {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.fresh)
	seen := m.marksSeen
	seen.all = make(map[place]delayMark, len(m.all))
	for at, mark := range m.all {
		seen.all[at] = mark
	}
	return seen
}

// Follow watches which partitions have records that are delivered later, until stop is
// called. wanted is called when there are some: a keeper is needed; refused when etcd does
// not allow it, and nothing is watched any more. They must not block.
func (k *Keeper) Follow(wanted, refused func()) (stop func()) {
	return k.node.Watches.Watch(k.node.Keys.AllDelays(), func(e discovery.WatchEvent) {
		if _, no := e.(discovery.Refused); no {
			refused()
		}
		if k.marks.see(k.node.Keys, e) && !k.Begun() {
			wanted()
		}
		k.Ring(delaysJob)
	})
}
