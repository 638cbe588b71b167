package affinity

// What waits in lanes: how it comes, is taken, comes back and is given up.

import "hash/maphash"

// Sequenced is what has a place in an order, from 1 on: the zero value has none.
type Sequenced interface{ Sequence() uint64 }

// Table is what waits, of items of type T for members M. Use New.
//
// Lanes and items lie in slices and name each other by their indexes, of which 0 is none:
// a message allocates nothing, and the garbage collector follows nothing from lane to lane.
// What is looked at together lies together: most of the time is that of the memory.
type Table[M comparable, T Sequenced] struct {
	seed  maphash.Seed
	index index
	lanes []lane
	items []T
	spots []spot // of each item
	spare spares
	epoch uint32 // of the lanes: Clear begins another one

	members []*Member[M] // by number; the first is none
	owners  []*Member[M] // by part of the keys

	count int // items that wait
	ages  ages
	tally tally
	warm  int32 // says nothing: it is there for Peek and Expect to read ahead for
}

// mostSpare bounds what is kept to be used again: items, and lanes of which nothing is left.
const mostSpare = 16 << 10

// spares are what may be used again.
type spares struct {
	lanes int32   // the first of them, which names the next
	items []int32 // the last one is used first
}

// spot is where an item stands.
type spot struct {
	behind int32  // the next one of its lane
	place  uint32 // in the ring of ages, or 0
}

// lane is the messages of a key that are not settled.
type lane struct {
	hash        uint64
	newest      uint64 // no sequence that waits is higher, as long as any does
	first, last int32  // that wait
	links              // in the line; or among the spare ones
	waiting     int32
	resting     int32
	by          uint16 // the number of the member that has the one that is out
	line        uint16 // the number of the member in whose line it stands, while it is ready
	part        uint16
}

// held reports whether what waits may not be taken.
func (l *lane) held() bool { return l.by != 0 || l.resting > 0 }

// idle reports whether nothing is left.
func (l *lane) idle() bool { return l.waiting == 0 && !l.held() }

// Lane names the lane of what was taken. The zero Lane is none.
type Lane struct {
	at    int32
	epoch uint32
}

// IsNone reports whether it is the zero Lane.
func (l Lane) IsNone() bool { return l.at == 0 }

// New is a table without members.
func New[M comparable, T Sequenced]() *Table[M, T] {
	t := &Table[M, T]{seed: maphash.MakeSeed(), owners: make([]*Member[M], parts), members: make([]*Member[M], 1)}
	t.reset()
	return t
}

// reset forgets all lanes and items.
func (t *Table[M, T]) reset() {
	t.lanes, t.index, t.spare.lanes, t.tally = make([]lane, 1), index{}, 0, tally{}
	t.resetItems()
	t.epoch++
}

func (t *Table[M, T]) resetItems() {
	t.items, t.spots, t.spare.items = make([]T, 1), make([]spot, 1), nil
	t.ages, t.count = ages{}, 0
}

// find is the lane of a hash, or 0.
func (t *Table[M, T]) find(hash uint64) int32 {
	x := &t.index
	if x.used == 0 {
		return 0
	}
	mask := len(x.slots) - 1
	for i := x.home(uint32(hash)); ; i = (i + 1) & mask {
		p := x.slots[i&mask]
		if p.lane == 0 || p.tag == uint32(hash) && t.lanes[p.lane].hash == hash {
			return p.lane
		}
	}
}

// laneOf is the lane of a key, made when there is none.
func (t *Table[M, T]) laneOf(key []byte) int32 {
	hash := maphash.Bytes(t.seed, key)
	at := t.find(hash)
	if at != 0 {
		return at
	}
	if at = t.spare.lanes; at != 0 {
		t.spare.lanes = t.lanes[at].next
	} else {
		at = int32(len(t.lanes))
		t.lanes = append(t.lanes, lane{})
	}
	t.lanes[at] = lane{hash: hash, part: partOf(Hash(key))}
	t.index.put(hash, at)
	return at
}

// tidy forgets a lane of which there is nothing left where there are many.
func (t *Table[M, T]) tidy(at int32) {
	l := &t.lanes[at]
	if !l.idle() {
		return
	}
	switch t.tally.keys--; {
	case t.tally.keys == 0 && len(t.lanes) > 2*mostSpare:
		t.lanes, t.index, t.spare.lanes = make([]lane, 1), index{}, 0
	case t.index.used > mostSpare:
		t.index.remove(l.hash, at)
		*l = lane{links: links{next: t.spare.lanes}}
		t.spare.lanes = at
	}
}

// Put adds an item of a key, wherever its sequence belongs. It returns the member that can
// take something now and could not before.
func (t *Table[M, T]) Put(key []byte, x T) (who M, can bool) {
	at, seq := t.store(x), x.Sequence()
	t.comes(at, seq)
	t.count++
	in := t.laneOf(key)
	l := &t.lanes[in]
	if l.idle() {
		t.tally.keys++
	}
	switch {
	case l.last == 0:
		l.first, l.last, l.newest = at, at, seq
	case l.newest < seq:
		t.spots[l.last].behind = at
		l.last, l.newest = at, seq
	default:
		t.insert(l, at, seq)
	}
	l.waiting++
	if l.held() {
		t.tally.waits(l.waiting, 1)
		return who, false
	}
	if l.line != 0 {
		return who, false
	}
	return t.stand(in)
}

// store is where an item lies from now on.
func (t *Table[M, T]) store(x T) (at int32) {
	if n := len(t.spare.items); n > 0 {
		at = t.spare.items[n-1]
		t.spare.items = t.spare.items[:n-1]
		t.items[at], t.spots[at].behind = x, 0
		return at
	}
	t.items, t.spots = append(t.items, x), append(t.spots, spot{})
	return int32(len(t.items) - 1)
}

// insert puts an item into a lane behind those that are older.
func (t *Table[M, T]) insert(l *lane, at int32, seq uint64) {
	before, next := int32(0), l.first
	for next != 0 && t.items[next].Sequence() < seq {
		before, next = next, t.spots[next].behind
	}
	t.spots[at].behind = next
	if before == 0 {
		l.first = at
	} else {
		t.spots[before].behind = at
	}
	if next == 0 {
		l.last = at
	}
}

// Next is the item that Take would take, as long as the table is not changed; nil when there
// is none.
func (t *Table[M, T]) Next(m *Member[M]) *T {
	if m == nil || m.line.first == 0 {
		return nil
	}
	return &t.items[t.lanes[m.line.first].first]
}

// Peek fills into with the items that Take would take one after the other, as far as there
// are any, and returns how many it found. Most of the time of a Take is that of the memory
// where an item lies: a look at many at once waits for all of them together.
func (t *Table[M, T]) Peek(m *Member[M], into []T) (n int) {
	if m == nil {
		return 0
	}
	for in := m.line.first; in != 0 && n < len(into); n++ {
		l := &t.lanes[in]
		t.warm ^= t.spots[l.first].behind
		into[n], in = t.items[l.first], l.next
	}
	return n
}

// Take takes the item that Next returned, which was not nil. It is out until Done.
func (t *Table[M, T]) Take(m *Member[M]) Lane {
	in := m.line.first
	l := &t.lanes[in]
	t.steps(in, m)
	t.unlink(l, 0, l.first)
	l.by = m.number
	m.out++
	t.tally.holds(l)
	return Lane{in, t.epoch}
}

// Expect says that Done of that lane comes soon, so that the memory is there by then.
func (t *Table[M, T]) Expect(of Lane) {
	if int(of.at) < len(t.lanes) {
		t.warm ^= t.lanes[of.at].waiting
	}
}

// Done notes that what Take took of a lane is not out any more. It returns who can take
// something now. After Clear it changes nothing.
func (t *Table[M, T]) Done(of Lane) (who M, can bool) {
	if of.epoch != t.epoch || of.at == 0 {
		return who, false
	}
	l := &t.lanes[of.at]
	m := t.members[l.by]
	if m == nil {
		return who, false
	}
	m.out--
	t.dismiss(m)
	t.tally.frees(l)
	l.by = 0
	return t.freed(of.at)
}

// freed has a lane stand in line that may be held no more.
func (t *Table[M, T]) freed(at int32) (who M, can bool) {
	l := &t.lanes[at]
	switch {
	case l.held():
		t.tally.holds(l)
	case l.waiting > 0:
		return t.stand(at)
	default:
		t.tidy(at)
	}
	return who, false
}

// Rest has a key wait for a message that is neither here nor out, until Rested was called as
// often.
func (t *Table[M, T]) Rest(key []byte) {
	at := t.laneOf(key)
	l := &t.lanes[at]
	if l.idle() {
		t.tally.keys++
	}
	if !l.held() {
		t.steps(at, t.members[l.line])
		t.tally.holds(l)
	}
	l.resting++
}

// Rested ends Rest. It returns who can take something now.
func (t *Table[M, T]) Rested(key []byte) (who M, can bool) {
	at := t.find(maphash.Bytes(t.seed, key))
	l := &t.lanes[at]
	if at == 0 || l.resting == 0 {
		return who, false
	}
	t.tally.frees(l)
	l.resting--
	return t.freed(at)
}

// Len is how many items wait.
func (t *Table[M, T]) Len() int { return t.count }

// Oldest is the lowest sequence that waits; false when nothing does.
func (t *Table[M, T]) Oldest() (seq uint64, ok bool) {
	at := t.eldest()
	return t.items[at].Sequence(), at != 0
}

// Drop takes the oldest item out, of the key that keyOf says it has. There must be one.
func (t *Table[M, T]) Drop(keyOf func(T) []byte) T {
	at := t.eldest()
	x, _ := t.Extract(keyOf(t.items[at]), t.items[at].Sequence())
	return x
}

// Extract takes the item of a key and sequence out, if it waits. It looks at all that waits
// of that key before it.
func (t *Table[M, T]) Extract(key []byte, seq uint64) (x T, ok bool) {
	in := t.find(maphash.Bytes(t.seed, key))
	if in == 0 {
		return x, false
	}
	before := int32(0)
	for at := t.lanes[in].first; at != 0; before, at = at, t.spots[at].behind {
		if t.items[at].Sequence() == seq {
			return t.remove(in, before, at), true
		}
	}
	return x, false
}

// Sift takes out the items that which picks, up to most. It looks at all that waits.
func (t *Table[M, T]) Sift(most int, which func(T) bool) (out []T) {
	for in := range int32(len(t.lanes)) {
		before, at := int32(0), t.lanes[in].first
		for at != 0 && len(out) < most {
			next := t.spots[at].behind
			if which(t.items[at]) {
				out = append(out, t.remove(in, before, at))
			} else {
				before = at
			}
			at = next
		}
		if len(t.lanes) == 1 {
			break // nothing was left, and many lanes were forgotten
		}
	}
	return out
}

// remove takes an item out of its lane that waits. The next one takes its place.
func (t *Table[M, T]) remove(in, before, at int32) T {
	l := &t.lanes[in]
	x := t.items[at]
	t.unlink(l, before, at)
	switch {
	case l.held():
		t.tally.waits(l.waiting, -1)
	case l.waiting == 0:
		t.steps(in, t.members[l.line])
		t.tidy(in)
	}
	return x
}

// unlink takes an item out, which is behind the one before it in its lane.
func (t *Table[M, T]) unlink(l *lane, before, at int32) {
	t.goes(at)
	next := t.spots[at].behind
	if before == 0 {
		l.first = next
	} else {
		t.spots[before].behind = next
	}
	if l.last == at {
		l.last = before
	}
	l.waiting--
	var none T
	t.items[at] = none
	t.spare.items = append(t.spare.items, at)
	if t.count--; t.count == 0 && len(t.items) > mostSpare {
		t.resetItems()
	}
}

// Clear takes everything out, in the order of sequences, and forgets what is out and what
// rests. Members stay.
func (t *Table[M, T]) Clear() (out []T) {
	for at := t.eldest(); at != 0; at = t.eldest() {
		var none T
		out = append(out, t.items[at])
		t.goes(at)
		t.items[at] = none
	}
	t.reset()
	for _, m := range t.members {
		if m != nil {
			m.line, m.ready, m.out = list{}, 0, 0
			t.dismiss(m)
		}
	}
	return out
}
