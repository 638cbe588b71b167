package affinity

// The members that keys belong to, and the lines of lanes in front of them.

// Member is who has keys.
type Member[M comparable] struct {
	is     M
	number uint16
	hash   uint64
	line   list // of lanes that it can take from
	ready  int  // how many these are
	out    int  // lanes of which it has something out
	left   bool
}

// Ready is of how many keys Take has an item for it. A member that is nil has none.
func (m *Member[M]) Ready() int {
	if m == nil {
		return 0
	}
	return m.ready
}

// Join lets a member of that id have keys. There may be 65,535 of them at most.
func (t *Table[M, T]) Join(m M, id string) *Member[M] {
	j := &Member[M]{is: m, hash: Hash([]byte(id))}
	at := 1
	for at < len(t.members) && t.members[at] != nil {
		at++
	}
	if at == len(t.members) {
		t.members = append(t.members, nil)
	}
	j.number, t.members[at] = uint16(at), j
	for i, owner := range t.owners {
		if owner == nil || score(i, j.hash) > score(i, owner.hash) {
			t.owners[i] = j
		}
	}
	t.lineUp()
	return j
}

// Leave gives the keys of a member to others. What is out there is out until Done.
func (t *Table[M, T]) Leave(gone *Member[M]) {
	if gone == nil || gone.left {
		return
	}
	gone.left = true
	for i, owner := range t.owners {
		if owner != gone {
			continue
		}
		t.owners[i] = nil
		for _, other := range t.members {
			if other == nil || other.left {
				continue
			}
			if best := t.owners[i]; best == nil || score(i, other.hash) > score(i, best.hash) {
				t.owners[i] = other
			}
		}
	}
	t.lineUp()
	t.dismiss(gone)
}

// dismiss forgets a member that has left and has nothing out any more.
func (t *Table[M, T]) dismiss(m *Member[M]) {
	if m.left && m.out == 0 {
		t.members[m.number] = nil
	}
}

// Owner is the member that a key belongs to; false while none is in.
func (t *Table[M, T]) Owner(key []byte) (who M, ok bool) {
	if m := t.owners[partOf(Hash(key))]; m != nil {
		return m.is, true
	}
	return who, false
}

// lineUp has each lane that is ready stand in the line of its member.
func (t *Table[M, T]) lineUp() {
	for at := range t.lanes {
		l := &t.lanes[at]
		if l.waiting == 0 || l.held() {
			continue
		}
		if is := t.members[l.line]; is != t.owners[l.part] {
			t.steps(int32(at), is)
			t.stand(int32(at))
		}
	}
}

// stand puts a lane that is ready at the end of the line of its member, unless it stands
// in one. It returns that member when it is new there.
func (t *Table[M, T]) stand(at int32) (who M, can bool) {
	l := &t.lanes[at]
	owner := t.owners[l.part]
	if l.line != 0 || owner == nil {
		return who, false
	}
	l.line = owner.number
	owner.line.push(t.lanes, at)
	owner.ready++
	return owner.is, true
}

// steps takes a lane out of the line of a member, which is nil where it stands in none.
func (t *Table[M, T]) steps(at int32, m *Member[M]) {
	if m == nil {
		return
	}
	m.line.remove(t.lanes, at)
	m.ready--
	t.lanes[at].line = 0
}
