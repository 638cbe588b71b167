package keyed

// What is known of a topic, and how it changes.

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// View is the newest record of each key. Use New.
type View struct {
	prefix  []byte
	entries map[string]*Entry // tombstones too, for a while, where there are several partitions
	parts   []*part
	graves  []*Entry // tombstones in entries, the oldest first; some were replaced since
	dues    dues
	base    *View // what is the same there is shared
	cost    int64
	dead    int // tombstones in entries
	keyless uint64
	records uint64
	spread  bool
}

// part is one partition.
type part struct {
	at     int64        // the next offset to be taken in
	last   format.Entry // the batch before
	newest int64        // the latest time of a batch so far
	// slots are where entries are, in the order of offsets. Those that were replaced have
	// none; there are at most as many as entries, and some.
	slots []slot
	empty int
	// grave is the first offset of a tombstone that was forgotten, or -1.
	grave int64
}

type slot struct {
	offset int64
	entry  *Entry
}

// New makes a view of keys that begin with prefix, of which nothing is known yet. ttl is the
// topic's. Entries that base has, unless it is nil, are not kept twice; base must not change
// while the view takes something in.
func New(prefix string, ttl time.Duration, base *View) *View {
	return &View{prefix: []byte(prefix), entries: make(map[string]*Entry), dues: dues{ttl: ttl}, base: base}
}

// Add begins a partition, the next one, at an offset.
func (v *View) Add(at int64) { v.parts = append(v.parts, &part{at: at, grave: -1}) }

// Partitions is how many were added.
func (v *View) Partitions() int { return len(v.parts) }

// Place is the next offset of a partition that the view takes in, and the batch before it,
// which has no Count when there was none.
func (v *View) Place(p int) (at int64, last format.Entry) { return v.parts[p].at, v.parts[p].last }

// Get is the entry of a key, or nil.
func (v *View) Get(key []byte) *Entry {
	if e := v.entries[string(key)]; e != nil && !e.dead {
		return e
	}
	return nil
}

// Len is how many keys there are. What has expired counts until Expire.
func (v *View) Len() int { return len(v.entries) - v.dead }

// Cost is about how many bytes of memory the view takes.
func (v *View) Cost() int64 { return v.cost }

// Keyless is how many records were passed over because they have no key, and Records how
// many were taken in with them.
func (v *View) Keyless() uint64 { return v.keyless }

// Records is how many records were read.
func (v *View) Records() uint64 { return v.records }

// Spread reports whether a key was seen in several partitions. When its newest record is
// deleted, there may be an older one elsewhere.
func (v *View) Spread() bool { return v.spread }

// All are the entries, in no order.
func (v *View) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range v.entries {
			if !e.dead && !yield(e) {
				return
			}
		}
	}
}

// Apply takes in the next batch of a partition, and tells of each key that it changes. What
// comes before the place of the partition is passed over. The error wraps
// messages.ErrCorrupt: what is before the fault was taken in.
func (v *View) Apply(p int, b *format.Batch, tell func(Change)) error {
	t := v.parts[p]
	t.newest = max(t.newest, b.Time)
	at, rest := b.Base, b.Raw
	for len(rest) > 0 {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			return fmt.Errorf("offset %d: %w", at, err)
		}
		if at >= t.at {
			v.take(p, at, b.Time, rest[:n], &r, tell)
			t.at = at + 1
		}
		rest = rest[n:]
		at++
	}
	if at >= t.at {
		t.at, t.last = at, b.Entry()
	}
	return nil
}

func (v *View) take(p int, offset, time int64, raw []byte, r *messages.Payload, tell func(Change)) {
	v.records++
	switch {
	case messages.Erased(r):
		return
	case len(r.Key) == 0:
		v.keyless++
		return
	case !bytes.HasPrefix(r.Key, v.prefix):
		return
	}
	old := v.entries[string(r.Key)]
	if r.UnixNano != 0 {
		time = 0
	}
	e := Entry{raw: raw, offset: offset, time: time, order: v.parts[p].newest, partition: int32(p), dead: isTombstone(r)}
	if old != nil {
		v.spread = v.spread || old.partition != e.partition
		if !e.newer(old) {
			return
		}
	}
	if e.dead && len(v.parts) == 1 { // nothing older can come
		if old != nil {
			v.remove(old, tell)
		}
		return
	}
	kept := v.keep(&e, old, r.Key)
	if old != nil {
		v.forget(old)
	}
	v.insert(kept)
	was := old
	if was != nil && was.dead {
		was = nil
	}
	switch {
	case kept.dead:
		v.bury(kept)
		if was != nil {
			tell(Change{kept.key, was, nil})
		}
	default:
		tell(Change{kept.key, was, kept})
	}
}

// keep is e with bytes of its own, or the one that is there already.
func (v *View) keep(e *Entry, old *Entry, key []byte) *Entry {
	if v.base != nil {
		if known := v.base.entries[string(key)]; known != nil && known.same(e) && known.order == e.order {
			return known
		}
	}
	e.raw = bytes.Clone(e.raw)
	if old != nil {
		e.key = old.key
	} else {
		e.key = string(key)
	}
	return e
}

// insert puts e, the newest of its partition, in place.
func (v *View) insert(e *Entry) {
	v.entries[e.key] = e
	v.cost += e.cost()
	if e.dead {
		v.dead++
	} else {
		v.dues.add(e)
		if len(v.dues.due) > tooMany(len(v.entries)) {
			v.renewDues()
		}
	}
	t := v.parts[e.partition]
	t.slots = append(t.slots, slot{e.offset, e})
}

// forget gives up what insert did, but for the place in the map.
func (v *View) forget(e *Entry) {
	v.cost -= e.cost()
	if e.dead {
		v.dead--
	}
	t := v.parts[e.partition]
	if i := t.find(e.offset); i < len(t.slots) && t.slots[i].entry == e {
		t.slots[i].entry = nil
		t.empty++
	}
	t.tidy()
}

// remove takes e out, and tells if it was there for others.
func (v *View) remove(e *Entry, tell func(Change)) {
	v.forget(e)
	delete(v.entries, e.key)
	if !e.dead {
		tell(Change{e.key, e, nil})
	}
}

// find is the first slot at or after an offset.
func (t *part) find(offset int64) int {
	lo, hi := 0, len(t.slots)
	for lo < hi {
		if mid := (lo + hi) / 2; t.slots[mid].offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// tidy drops slots without an entry when there are too many.
func (t *part) tidy() {
	if t.empty < 64 || t.empty*2 < len(t.slots) {
		return
	}
	left := make([]slot, 0, len(t.slots)-t.empty+16)
	for _, s := range t.slots {
		if s.entry != nil {
			left = append(left, s)
		}
	}
	t.slots, t.empty = left, 0
}

// within are the entries of a partition from one offset to before another.
func (v *View) within(p int, from, to int64) (found []*Entry) {
	t := v.parts[p]
	for i := t.find(from); i < len(t.slots) && t.slots[i].offset < to; i++ {
		if e := t.slots[i].entry; e != nil {
			found = append(found, e)
		}
	}
	return found
}

// Trim takes out what lies before the start of a partition, and returns of how many keys that
// was the newest record, or a tombstone. Where a key is in several partitions, there may be an
// older record of it in another one.
func (v *View) Trim(p int, start int64, tell func(Change)) (gone int) {
	t := v.parts[p]
	for _, e := range v.within(p, 0, start) {
		gone++
		v.remove(e, tell)
	}
	if t.grave >= 0 && t.grave < start {
		gone++
		t.grave = -1
	}
	if t.at < start {
		t.at, t.last = start, format.Entry{}
	}
	return gone
}

// Has reports whether the newest record of some key is between two offsets of a partition.
func (v *View) Has(p int, from, to int64) bool { return len(v.within(p, from, to)) > 0 }

// Erase takes out what was erased of a batch that was taken in before; b is what is left of
// it. It returns how many keys went: of each there may be an older record.
func (v *View) Erase(p int, b *format.Batch, tell func(Change)) (gone int) {
	erased := make(map[int64]bool)
	at, rest := b.Base, b.Raw
	for len(rest) > 0 {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			break // whoever reads it finds out
		}
		erased[at] = messages.Erased(&r)
		rest = rest[n:]
		at++
	}
	for _, e := range v.within(p, b.Base, b.End()) {
		if !erased[e.offset] {
			continue
		}
		if !e.dead {
			gone++
		}
		v.remove(e, tell)
	}
	return gone
}

// Expire takes out what has expired by now, in nanoseconds since 1970 UTC.
func (v *View) Expire(now int64, tell func(Change)) {
	for {
		d, ok := v.dues.next(now)
		if !ok {
			return
		}
		if e := v.entries[d.key]; e != nil && !e.dead && e.partition == d.partition && e.offset == d.offset {
			v.remove(e, tell)
		}
	}
}

// SetTTL changes the topic's time to live.
func (v *View) SetTTL(ttl time.Duration) {
	if v.dues.ttl == ttl {
		return
	}
	v.dues.ttl = ttl
	v.renewDues()
}

// renewDues leaves out what was replaced since.
func (v *View) renewDues() {
	v.dues = dues{ttl: v.dues.ttl}
	for e := range v.All() {
		v.dues.add(e)
	}
}

// tooMany is when a list of some of n entries, with those that were replaced since, is made
// again.
func tooMany(n int) int { return 2*n + 1024 }

// Bury forgets the tombstones of batches put before a time, in nanoseconds since 1970 UTC.
// A record that is older than a tombstone, from another partition, is taken in again when
// it comes after that.
func (v *View) Bury(before int64) {
	n := 0
	for ; n < len(v.graves) && v.graves[n].order < before; n++ {
		e := v.graves[n]
		if v.entries[e.key] != e {
			continue
		}
		v.forget(e)
		delete(v.entries, e.key)
		if t := v.parts[e.partition]; t.grave < 0 || t.grave > e.offset {
			t.grave = e.offset
		}
	}
	v.graves = append(v.graves[:0:0], v.graves[n:]...)
}

// bury notes a tombstone.
func (v *View) bury(e *Entry) {
	if len(v.graves) >= tooMany(v.dead) {
		v.graves = slices.DeleteFunc(v.graves, func(e *Entry) bool { return v.entries[e.key] != e })
	}
	v.graves = append(v.graves, e)
}

// Release lets go of the base.
func (v *View) Release() { v.base = nil }

// Diff tells what changes for others when after takes the place of before, which may be nil.
func Diff(before, after *View, tell func(Change)) {
	if before != nil {
		for e := range before.All() {
			if now := after.entries[e.key]; now == nil || now.dead {
				tell(Change{e.key, e, nil})
			}
		}
	}
	for e := range after.All() {
		var was *Entry
		if before != nil {
			if was = before.entries[e.key]; was != nil && was.dead {
				was = nil
			}
		}
		if was == nil || !was.same(e) {
			tell(Change{e.key, was, e})
		}
	}
}
