package affinity

// What waits behind what is out or rests, for whoever looks. It is counted as it changes, so
// that a look costs nothing.

import (
	"cmp"
	"slices"
)

// tally counts keys and messages. What is held is what waits in a lane that is.
type tally struct {
	keys, blocked, messages int
}

// holds notes that a lane is held from now on, frees that it is not for now.
func (c *tally) holds(l *lane) { c.count(l, 1) }
func (c *tally) frees(l *lane) { c.count(l, -1) }

func (c *tally) count(l *lane, by int) {
	if l.waiting > 0 {
		c.blocked += by
		c.messages += by * int(l.waiting)
	}
}

// waits notes that one more, or one less, waits in a lane that is held, so many now.
func (c *tally) waits(now int32, by int) {
	c.messages += by
	if by > 0 && now == 1 || by < 0 && now == 0 {
		c.blocked += by
	}
}

// Counts are how many keys there are of which something waits, is out or rests, of how many
// of them messages wait behind one that is out or rests, and how many these messages are.
func (t *Table[M, T]) Counts() (keys, blocked, messages int) {
	return t.tally.keys, t.tally.blocked, t.tally.messages
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

// Look returns up to most of the keys that are blocked, those with most messages first. It
// looks at each key, unless it has seen all that are blocked before.
func (t *Table[M, T]) Look(most int) (some []Blocked[M, T]) {
	for i, left := 0, t.tally.blocked; left > 0 && most > 0; i++ {
		l := &t.lanes[i]
		if l.waiting == 0 || !l.held() {
			continue
		}
		if left--; len(some) == most && int(l.waiting) <= some[most-1].Waiting {
			continue
		}
		b := Blocked[M, T]{First: t.items[l.first], Waiting: int(l.waiting), Out: l.by != 0}
		if b.Out {
			b.By = t.members[l.by].is
		}
		at, _ := slices.BinarySearchFunc(some, b, func(a, b Blocked[M, T]) int { return cmp.Compare(b.Waiting, a.Waiting) })
		some = slices.Insert(some, at, b)
		some = some[:min(len(some), most)]
	}
	return some
}
