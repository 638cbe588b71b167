package affinity

// All that waits, by sequence.

import "container/heap"

// ages has the items that wait, as indexes into those of the table, so that the oldest one is
// found. What is put in the order of sequences stands in a ring, and leaves a gap there when
// it is taken. What is put back behind newer ones is in a heap; when that is taken it stays
// there for a while, and counts as stale.
type ages struct {
	ring   []int32 // 0 is a gap
	head   int     // the first that is none, unless live is 0
	base   uint32  // the place of ring[0]: places are counted on and on
	live   int     // how many stand in the ring
	newest uint64  // the highest sequence of them, or of what stood there
	back   backs
}

// slack is how many gaps are left alone, and how many stale ones.
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
		a.base += uint32(len(a.ring)) // never a place that an item has
		a.ring, a.head = a.ring[:0], 0
	case seq < a.newest:
		if len(a.back) > 2*(t.count-a.live)+slack {
			t.forgetStale()
		}
		heap.Push(&a.back, back{seq, at})
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
	a := &t.ages
	i := int(t.spots[at].place - a.base)
	if i >= len(a.ring) || a.ring[i] != at {
		return // it is in the heap
	}
	a.ring[i] = 0
	if a.live--; a.live > 0 {
		for a.ring[a.head] == 0 {
			a.head++
		}
	}
}

// makeRoom moves what stands in the ring to its front, and closes the gaps where there are
// many.
func (t *Table[M, T]) makeRoom() {
	a := &t.ages
	switch all := a.ring[a.head:]; {
	case len(all) > 2*a.live+slack:
		a.base += uint32(len(a.ring))
		n := 0
		for _, at := range all {
			if at != 0 {
				t.spots[at].place = a.base + uint32(n)
				a.ring[n] = at
				n++
			}
		}
		a.ring = a.ring[:n]
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
