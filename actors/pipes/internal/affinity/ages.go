package affinity

// All that waits, by sequence.

import "container/heap"

// ages has the items that wait, as indexes into those of the table, so that the oldest one is
// found. What is put in the order of sequences stands in a ring, what is put back behind newer
// ones is in a heap. What is taken stays there for a while, and counts as stale: to look for it
// there would cost more than all else.
type ages struct {
	ring   []int32
	head   int    // no item in front of it waits
	base   uint32 // the place of ring[0]: places are counted on and on, from 1
	live   int    // how many items in the ring wait
	newest uint64 // the highest sequence of them, or of what stood there
	back   backs
}

// slack is how many stale ones are left alone.
const slack = 1024

// back is an item that was put back.
type back struct {
	seq uint64
	at  int32
}

// backs is a heap.
type backs []back

func (b backs) Len() int           { return len(b) }
func (b backs) Less(i, j int) bool { return b[i].seq < b[j].seq }
func (b backs) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }

// Push is for the heap.
func (b *backs) Push(x any) { *b = append(*b, x.(back)) }

// Pop is for the heap.
func (b *backs) Pop() any {
	old := *b
	last := old[len(old)-1]
	*b = old[:len(old)-1]
	return last
}

// comes notes that an item of that sequence waits.
func (t *Table[M, T]) comes(at int32, seq uint64) {
	a := &t.ages
	switch {
	case a.live == 0:
		a.ring, a.head, a.base = a.ring[:0], 0, 1
	case seq < a.newest:
		if len(a.back) > 2*(t.count-a.live)+slack {
			t.forgetStale()
		}
		heap.Push(&a.back, back{seq, at})
		t.spots[at].place = 0
		return
	case len(a.ring) == cap(a.ring):
		t.makeRoom()
	}
	t.spots[at].place = a.base + uint32(len(a.ring))
	a.ring = append(a.ring, at)
	a.live++
	a.newest = seq
}

// goes notes that an item waits no more.
func (t *Table[M, T]) goes(at int32) {
	if s := &t.spots[at]; s.place != 0 {
		s.place = 0
		t.ages.live--
	}
}

// waits reports whether what stands in the ring is not stale.
func (t *Table[M, T]) waits(i int) bool {
	a := &t.ages
	return t.spots[a.ring[i]].place == a.base+uint32(i)
}

// skip has the first in the ring be one that waits. There must be one.
func (t *Table[M, T]) skip() {
	for !t.waits(t.ages.head) {
		t.ages.head++
	}
}

// makeRoom moves what stands in the ring to its front, without what is stale where that is
// much. Something must wait there.
func (t *Table[M, T]) makeRoom() {
	a := &t.ages
	t.skip()
	switch all := a.ring[a.head:]; {
	case len(all) > 2*a.live+slack, a.base > 1<<31:
		n := 0
		for i, at := range all {
			if t.spots[at].place == a.base+uint32(a.head+i) {
				t.spots[at].place = 1 + uint32(n)
				a.ring[n] = at
				n++
			}
		}
		a.ring, a.base = a.ring[:n], 1
	case 2*a.head >= len(a.ring):
		a.base += uint32(a.head)
		a.ring = a.ring[:copy(a.ring, all)]
	default:
		return
	}
	a.head = 0
}

// eldest is the item of the lowest sequence that waits; 0 when nothing does.
func (t *Table[M, T]) eldest() int32 {
	a := &t.ages
	for len(a.back) > 0 && t.isStale(a.back[0]) {
		heap.Pop(&a.back)
	}
	if a.live > 0 {
		t.skip()
	}
	switch {
	case a.live == 0 && len(a.back) == 0:
		return 0
	case a.live == 0 || len(a.back) > 0 && a.back[0].seq < t.items[a.ring[a.head]].Sequence():
		return a.back[0].at
	}
	return a.ring[a.head]
}

// isStale reports whether what was put back was taken since.
func (t *Table[M, T]) isStale(b back) bool { return t.items[b.at].Sequence() != b.seq }

func (t *Table[M, T]) forgetStale() {
	a := &t.ages
	kept := a.back[:0]
	for _, b := range a.back {
		if !t.isStale(b) {
			kept = append(kept, b)
		}
	}
	a.back = kept
	heap.Init(&a.back)
}
