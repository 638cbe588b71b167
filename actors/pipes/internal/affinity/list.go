package affinity

// A list whose elements lie in a slice and name each other by their indexes; 0 is none.

// links are the neighbours of an element.
type links struct{ prev, next int32 }

// list is a list of lanes.
type list struct{ first, last int32 }

// push adds an element to the end.
func (q *list) push(in []lane, at int32) {
	in[at].links = links{prev: q.last}
	if q.last == 0 {
		q.first = at
	} else {
		in[q.last].next = at
	}
	q.last = at
}

// remove takes an element out that is in the list.
func (q *list) remove(in []lane, at int32) {
	l := in[at].links
	if l.prev == 0 {
		q.first = l.next
	} else {
		in[l.prev].next = l.next
	}
	if l.next == 0 {
		q.last = l.prev
	} else {
		in[l.next].prev = l.prev
	}
	in[at].links = links{}
}
