package affinity

// The lanes of keys, and the members that they belong to.

import (
	"cmp"
	"slices"
)

// Table is what waits, of items of type T for members M. Use New.
type Table[M comparable, T any] struct {
	lanes   map[uint64]*Lane[M, T]
	members map[M]*member[M, T]
	slots   []*member[M, T]

	// All that waits, by sequence.
	oldest, newest *node[M, T]
	count          int
	hint           *node[M, T] // where the last one was put in between

	freeNodes *node[M, T] // to be used again, linked by behind
	spare     int         // how many these are
}

// mostSpare bounds what is kept to be used again: items, and lanes of which nothing is left.
const mostSpare = 16 << 10

// node is an item that waits.
type node[M comparable, T any] struct {
	seq    uint64
	item   T
	lane   *Lane[M, T]
	ahead  *node[M, T] // in its lane
	behind *node[M, T]

	older, newer *node[M, T] // of all
}

// Lane is the messages of a key that are not settled.
type Lane[M comparable, T any] struct {
	hash        uint64
	first, last *node[M, T]
	waiting     int
	out         bool
	by          M // who has the one that is out
	resting     int

	// In the line of its member while it is ready.
	line       *member[M, T]
	next, prev *Lane[M, T]
}

// idle reports whether nothing is left.
func (l *Lane[M, T]) idle() bool { return l.waiting == 0 && !l.out && l.resting == 0 }

// ready reports whether the first message may be taken.
func (l *Lane[M, T]) ready() bool { return l.waiting > 0 && !l.out && l.resting == 0 }

// member is who is in, and the lanes that it can take from.
type member[M comparable, T any] struct {
	is          M
	hash        uint64
	first, last *Lane[M, T]
	ready       int // how many there are
}

// New is a table without members.
func New[M comparable, T any]() *Table[M, T] {
	return &Table[M, T]{lanes: make(map[uint64]*Lane[M, T]), members: make(map[M]*member[M, T]), slots: make([]*member[M, T], slots)}
}

// Join lets a member of that id have keys. It must not be in.
func (t *Table[M, T]) Join(m M, id string) {
	j := &member[M, T]{is: m, hash: Hash([]byte(id))}
	t.members[m] = j
	for i, owner := range t.slots {
		if owner == nil || score(i, j.hash) > score(i, owner.hash) {
			t.slots[i] = j
		}
	}
	t.lineUp()
}

// Leave gives the keys of a member to others. What is out there is out until Done.
func (t *Table[M, T]) Leave(m M) {
	gone := t.members[m]
	if gone == nil {
		return
	}
	delete(t.members, m)
	for i, owner := range t.slots {
		if owner != gone {
			continue
		}
		t.slots[i] = nil
		for _, other := range t.members {
			if best := t.slots[i]; best == nil || score(i, other.hash) > score(i, best.hash) {
				t.slots[i] = other
			}
		}
	}
	t.lineUp()
}

// Has reports whether m is in.
func (t *Table[M, T]) Has(m M) bool { return t.members[m] != nil }

// lineUp has each lane that is ready stand in the line of its member.
func (t *Table[M, T]) lineUp() {
	for _, l := range t.lanes {
		if owner := t.slots[slotOf(l.hash)]; l.line != owner {
			t.stand(l)
		}
	}
}

// stand puts a lane where it belongs: at the end of the line of its member when it is ready
// and did not stand there, and out of every line when it is not. It returns that member
// when the lane is new in its line.
func (t *Table[M, T]) stand(l *Lane[M, T]) (owner *member[M, T]) {
	if l.ready() {
		owner = t.slots[slotOf(l.hash)]
	}
	if l.line == owner {
		return nil
	}
	if m := l.line; m != nil {
		m.ready--
		if l.prev == nil {
			m.first = l.next
		} else {
			l.prev.next = l.next
		}
		if l.next == nil {
			m.last = l.prev
		} else {
			l.next.prev = l.prev
		}
		l.next, l.prev = nil, nil
	}
	if l.line = owner; owner == nil {
		return nil
	}
	owner.ready++
	if l.prev = owner.last; l.prev == nil {
		owner.first = l
	} else {
		l.prev.next = l
	}
	owner.last = l
	return owner
}

// settle is stand after something has changed: it forgets a lane of which there is nothing
// left where there are many, and returns the member that can take from it now and could not before.
func (t *Table[M, T]) settle(l *Lane[M, T]) (who M, can bool) {
	if owner := t.stand(l); owner != nil {
		return owner.is, true
	}
	if l.idle() && len(t.lanes) > mostSpare && t.lanes[l.hash] == l {
		delete(t.lanes, l.hash)
	}
	return who, false
}

func (t *Table[M, T]) lane(hash uint64) *Lane[M, T] {
	l := t.lanes[hash]
	if l == nil {
		l = &Lane[M, T]{hash: hash}
		t.lanes[hash] = l
	}
	return l
}

// Put adds an item of a key, wherever its sequence belongs. It returns the member that can
// take something now and could not before.
func (t *Table[M, T]) Put(hash, seq uint64, item T) (who M, can bool) {
	l := t.lane(hash)
	n := t.freeNodes
	if n == nil {
		n = &node[M, T]{}
	} else {
		t.freeNodes, n.behind = n.behind, nil
		t.spare--
	}
	n.seq, n.item, n.lane = seq, item, l
	t.file(n)
	switch {
	case l.last == nil:
		l.first, l.last = n, n
	case l.last.seq < seq:
		l.last.behind, n.ahead = n, l.last
		l.last = n
	default: // it goes before at
		at := l.first
		for at.seq < seq {
			at = at.behind
		}
		n.behind, n.ahead = at, at.ahead
		at.ahead = n
		if n.ahead == nil {
			l.first = n
		} else {
			n.ahead.behind = n
		}
	}
	l.waiting++
	return t.settle(l)
}

// file puts n among all that waits. What goes back comes in runs, so each is looked for
// from where the last one was put.
func (t *Table[M, T]) file(n *node[M, T]) {
	t.count++
	if t.newest == nil || t.newest.seq < n.seq {
		n.older = t.newest
		if t.newest == nil {
			t.oldest = n
		} else {
			t.newest.newer = n
		}
		t.newest = n
		return
	}
	at := t.hint // n goes before the first one behind at that is newer than n
	if at == nil {
		at = t.oldest
	}
	for at.older != nil && at.seq > n.seq {
		at = at.older
	}
	for at.seq < n.seq {
		at = at.newer
	}
	n.newer, n.older = at, at.older
	if at.older == nil {
		t.oldest = n
	} else {
		at.older.newer = n
	}
	at.older = n
	t.hint = n
}

// Next is the item that Take would return.
func (t *Table[M, T]) Next(m M) (item T, ok bool) {
	if of := t.members[m]; of != nil && of.first != nil {
		return of.first.first.item, true
	}
	return item, false
}

// Ready is how many keys Take has an item of, for a member.
func (t *Table[M, T]) Ready(m M) int {
	if of := t.members[m]; of != nil {
		return of.ready
	}
	return 0
}

// Take takes the next item for a member. It is out until Done of its lane.
func (t *Table[M, T]) Take(m M) (item T, of *Lane[M, T], ok bool) {
	who := t.members[m]
	if who == nil || who.first == nil {
		return item, nil, false
	}
	l := who.first
	item = t.unlink(l.first)
	l.out, l.by = true, m
	t.stand(l)
	return item, l, true
}

// Done notes that what Take took of a lane is not out any more. It returns who can take
// something now. After Clear it changes nothing.
func (t *Table[M, T]) Done(l *Lane[M, T]) (who M, can bool) {
	var none M
	l.out, l.by = false, none
	return t.settle(l)
}

// Rest has a key wait for a message that is neither here nor out, until Rested was called as
// often.
func (t *Table[M, T]) Rest(hash uint64) {
	l := t.lane(hash)
	l.resting++
	t.stand(l)
}

// Rested ends Rest. It returns who can take something now.
func (t *Table[M, T]) Rested(hash uint64) (who M, can bool) {
	l := t.lanes[hash]
	if l == nil || l.resting == 0 {
		return who, false
	}
	l.resting--
	return t.settle(l)
}

// Len is how many items wait.
func (t *Table[M, T]) Len() int { return t.count }

// Oldest is the lowest sequence that waits; false when nothing does.
func (t *Table[M, T]) Oldest() (seq uint64, ok bool) {
	if t.oldest == nil {
		return 0, false
	}
	return t.oldest.seq, true
}

// Drop takes the oldest item out. There must be one.
func (t *Table[M, T]) Drop() T {
	return t.remove(t.oldest)
}

// Extract takes the item of a key and sequence out, if it waits. It looks at all that waits
// of that key.
func (t *Table[M, T]) Extract(hash, seq uint64) (item T, ok bool) {
	l := t.lanes[hash]
	if l == nil {
		return item, false
	}
	for n := l.first; n != nil; n = n.behind {
		if n.seq == seq {
			return t.remove(n), true
		}
	}
	return item, false
}

// Sift takes out the items that which picks, up to most.
func (t *Table[M, T]) Sift(most int, which func(T) bool) (out []T) {
	for n := t.oldest; n != nil && len(out) < most; {
		at := n
		n = n.newer
		if which(at.item) {
			out = append(out, t.remove(at))
		}
	}
	return out
}

// remove takes an item out that waits. The next one of its lane takes its place.
func (t *Table[M, T]) remove(n *node[M, T]) T {
	l := n.lane
	item := t.unlink(n)
	t.settle(l)
	return item
}

// unlink takes n out of its lane and of all that waits, and returns its item.
func (t *Table[M, T]) unlink(n *node[M, T]) T {
	l := n.lane
	if n.ahead == nil {
		l.first = n.behind
	} else {
		n.ahead.behind = n.behind
	}
	if n.behind == nil {
		l.last = n.ahead
	} else {
		n.behind.ahead = n.ahead
	}
	l.waiting--
	if n.older == nil {
		t.oldest = n.newer
	} else {
		n.older.newer = n.newer
	}
	if n.newer == nil {
		t.newest = n.older
	} else {
		n.newer.older = n.older
	}
	if t.hint == n {
		t.hint = n.newer
	}
	t.count--
	item := n.item
	*n = node[M, T]{}
	if t.spare < mostSpare {
		n.behind, t.freeNodes = t.freeNodes, n
		t.spare++
	}
	return item
}

// Clear takes everything out and forgets what is out and what rests. Members stay.
func (t *Table[M, T]) Clear() (out []T) {
	for n := t.oldest; n != nil; n = n.newer {
		out = append(out, n.item)
	}
	for _, m := range t.members {
		m.first, m.last, m.ready = nil, nil, 0
	}
	for _, l := range t.lanes {
		l.first, l.last, l.waiting = nil, nil, 0 // Done of it may come still
	}
	t.lanes = make(map[uint64]*Lane[M, T])
	t.oldest, t.newest, t.hint, t.count = nil, nil, nil, 0
	return out
}

// Blocked is a key of which messages wait, though members could take more.
type Blocked[M comparable, T any] struct {
	// First is the one that waits for longest, Waiting how many there are.
	First   T
	Waiting int
	// Out says that a message of the key is out, and By who has it. Otherwise one waits for
	// its next try.
	Out bool
	By  M
}

// Look counts the keys of which something waits, is out or rests, those of which messages
// wait behind one that is out or rests, and how many these messages are. It returns up to
// most of these keys, those with most messages first. It looks at each key.
func (t *Table[M, T]) Look(most int) (keys, blocked, messages int, some []Blocked[M, T]) {
	for _, l := range t.lanes {
		if l.idle() {
			continue
		}
		keys++
		if l.waiting == 0 || !l.out && l.resting == 0 {
			continue
		}
		blocked++
		messages += l.waiting
		if most > 0 && (len(some) < most || l.waiting > some[most-1].Waiting) {
			b := Blocked[M, T]{First: l.first.item, Waiting: l.waiting, Out: l.out, By: l.by}
			at, _ := slices.BinarySearchFunc(some, b, func(a, b Blocked[M, T]) int { return cmp.Compare(b.Waiting, a.Waiting) })
			some = slices.Insert(some, at, b)
			some = some[:min(len(some), most)]
		}
	}
	return keys, blocked, messages, some
}

// Owner is the member that a key belongs to; false while none is in.
func (t *Table[M, T]) Owner(key []byte) (who M, ok bool) {
	if m := t.slots[slotOf(Hash(key))]; m != nil {
		return m.is, true
	}
	return who, false
}
