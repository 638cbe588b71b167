package affinity

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// message is one of a key.
type message struct {
	key string
	seq uint64
}

// Sequence is its place in the order.
func (m message) Sequence() uint64 { return m.seq }

// number is an item that is nothing but its sequence.
type number uint64

// Sequence is its place in the order.
func (n number) Sequence() uint64 { return uint64(n) }

func keyOf(x message) []byte { return []byte(x.key) }

// where is where the model has a message.
type where int

const (
	waits where = iota
	out
	rests
)

// world is a table, and what it should know.
type world struct {
	*Table[string, message]
	seq     uint64
	where   map[message]where
	by      map[message]Lane // of those that are out
	members []string
	seats   map[string]*Member[string]
	handled map[string]uint64 // of a key: the highest sequence that was settled
}

func newWorld() *world {
	return &world{
		Table: New[string, message](), where: make(map[message]where), by: make(map[message]Lane),
		seats: make(map[string]*Member[string]), handled: make(map[string]uint64),
	}
}

func (w *world) in(p where) (all []message) {
	for x, at := range w.where {
		if at == p {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b message) int { return int(a.seq) - int(b.seq) })
	return all
}

func (w *world) owner(key string) string {
	m, _ := w.Owner([]byte(key))
	return m
}

// settle notes that an item is finished: nothing of its key before it is unfinished.
func (w *world) settle(t *rapid.T, x message) {
	for y := range w.where {
		if y.key == x.key && y.seq < x.seq {
			t.Fatalf("%v was settled before %v", x, y)
		}
	}
	delete(w.where, x)
	delete(w.by, x)
	w.handled[x.key] = x.seq
}

// Promise: of a key one item at a time is out, the one with the lowest sequence; it is
// taken by the member that the key belongs to, and nothing is held up by other keys. So it
// stays while items come, are settled, go back, rest and are dropped, and members come and
// go.
func TestTableKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		keys := rapid.IntRange(1, 6).Draw(t, "keys")
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				w.seq++
				x := message{fmt.Sprint("key", rapid.IntRange(0, keys-1).Draw(t, "key")), w.seq}
				w.where[x] = waits
				w.Put([]byte(x.key), x)
			},
			"join": func(t *rapid.T) {
				name := fmt.Sprint("m", len(w.members))
				if len(w.members) > 4 || w.seats[name] != nil {
					return
				}
				before := make(map[string]string)
				for i := range keys {
					before[fmt.Sprint("key", i)] = w.owner(fmt.Sprint("key", i))
				}
				w.seats[name] = w.Join(name, name)
				w.members = append(w.members, name)
				for key, was := range before {
					if now := w.owner(key); now != was && now != name {
						t.Fatalf("%s went from %q to %q when %q joined", key, was, now, name)
					}
				}
			},
			"leave": func(t *rapid.T) {
				if len(w.members) == 0 {
					return
				}
				name := w.members[len(w.members)-1]
				before := make(map[string]string)
				for i := range keys {
					before[fmt.Sprint("key", i)] = w.owner(fmt.Sprint("key", i))
				}
				w.Leave(w.seats[name])
				delete(w.seats, name)
				w.members = w.members[:len(w.members)-1]
				for key, was := range before {
					if now := w.owner(key); was != name && now != was {
						t.Fatalf("%s went from %q to %q when %q left", key, was, now, name)
					}
				}
			},
			"take": func(t *rapid.T) {
				if len(w.members) == 0 {
					return
				}
				m := rapid.SampledFrom(w.members).Draw(t, "member")
				next := w.Next(w.seats[m])
				if next == nil {
					return
				}
				x := *next
				var more [3]message
				n := w.Peek(w.seats[m], more[:])
				if n != min(len(more), w.seats[m].Ready()) || more[0] != x {
					t.Fatalf("%d items can be seen, from %v on; %d are ready, from %v on", n, more[0], w.seats[m].Ready(), x)
				}
				lane := w.Take(w.seats[m])
				if next := w.Next(w.seats[m]); n > 1 && *next != more[1] {
					t.Fatalf("%v comes after %v, not %v", *next, x, more[1])
				}
				if w.where[x] != waits || w.owner(x.key) != m {
					t.Fatalf("%s took %v, which belongs to %s", m, x, w.owner(x.key))
				}
				for y, at := range w.where {
					if y.key == x.key && (at != waits || y.seq < x.seq) {
						t.Fatalf("%v was taken while %v is in %d", x, y, at)
					}
				}
				w.where[x], w.by[x] = out, lane
			},
			"done": func(t *rapid.T) {
				if all := w.in(out); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					lane := w.by[x]
					w.settle(t, x)
					w.Done(lane)
				}
			},
			"back": func(t *rapid.T) {
				if all := w.in(out); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					w.Done(w.by[x])
					w.Put([]byte(x.key), x)
					w.where[x] = waits
				}
			},
			"rest": func(t *rapid.T) {
				if all := w.in(out); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					w.Done(w.by[x])
					w.Rest([]byte(x.key))
					w.where[x] = rests
				}
			},
			"rested": func(t *rapid.T) {
				if all := w.in(rests); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					w.Rested([]byte(x.key))
					if rapid.Bool().Draw(t, "given up") {
						w.settle(t, x)
						return
					}
					w.Put([]byte(x.key), x)
					w.where[x] = waits
				}
			},
			"drop": func(t *rapid.T) {
				if all := w.in(waits); len(all) > 0 {
					if x := w.Drop(keyOf); x != all[0] {
						t.Fatalf("dropped %v, the oldest is %v", x, all[0])
					}
					delete(w.where, all[0])
				}
			},
			"extract": func(t *rapid.T) {
				if all := w.in(waits); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					if got, ok := w.Extract([]byte(x.key), x.seq); !ok || got != x {
						t.Fatalf("extracted %v %t, not %v", got, ok, x)
					}
					delete(w.where, x)
				}
			},
			"sift": func(t *rapid.T) {
				odd := func(x message) bool { return x.seq%5 == 0 }
				for _, x := range w.Sift(2, odd) {
					if !odd(x) || w.where[x] != waits {
						t.Fatalf("sifted %v", x)
					}
					delete(w.where, x)
				}
			},
			"": func(t *rapid.T) { w.check(t) },
		})
	})
}

// check compares the table with the model: what can be taken is what nothing holds up.
func (w *world) check(t *rapid.T) {
	all := w.in(waits)
	if w.Len() != len(all) {
		t.Fatalf("%d wait, not %d", w.Len(), len(all))
	}
	if seq, ok := w.Oldest(); ok != (len(all) > 0) || ok && seq != all[0].seq {
		t.Fatalf("the oldest is %d %t, of %v", seq, ok, all)
	}
	free, keys, blocked, behind := make(map[string]bool), make(map[string]bool), make(map[string]bool), 0
	for x := range w.where {
		keys[x.key] = true
	}
	for _, x := range all {
		free[x.key] = true
	}
	for x, at := range w.where {
		if at != waits && free[x.key] {
			blocked[x.key] = true
		}
	}
	for _, x := range all {
		if blocked[x.key] {
			behind++
		}
	}
	n, b, msgs := w.Counts()
	some := w.Look(3)
	if n != len(keys) || b != len(blocked) || msgs != behind || len(some) != min(3, len(blocked)) {
		t.Fatalf("%d keys, %d blocked, %d messages, %d shown; not %d, %d, %d", n, b, msgs, len(some), len(keys), len(blocked), behind)
	}
	can := 0
	for _, m := range w.members {
		line, seat := 0, w.seats[m]
		for at := seat.line.first; at != 0; at = w.lanes[at].next {
			line++
			if l := w.lanes[at]; l.line != seat.number || l.held() || w.owner(w.items[l.first].key) != m {
				t.Fatalf("a lane stands in the line of %s and should not", m)
			}
		}
		if n := seat.Ready(); n != line {
			t.Fatalf("%d lanes are ready for %s, not %d", line, m, n)
		}
		can += line
	}
	if want := len(free) - len(blocked); len(w.members) > 0 && can != want {
		t.Fatalf("%d keys can be taken from, not %d", can, want)
	}
}

// Promise: keys spread evenly, over the members and over those that take over when one
// goes.
func TestKeysSpread(t *testing.T) {
	tab := New[string, number]()
	const members, keys = 8, 10000
	var third *Member[string]
	for i := range members {
		if m := tab.Join(fmt.Sprint("member-", i), fmt.Sprint("member-", i)); i == 3 {
			third = m
		}
	}
	count := func() map[string]int {
		n := make(map[string]int)
		for i := range keys {
			m, _ := tab.Owner(fmt.Appendf(nil, "key-%d", i))
			n[m]++
		}
		return n
	}
	even := func(n map[string]int, want int) {
		t.Helper()
		for m, got := range n {
			if got < want*3/4 || got > want*5/4 {
				t.Errorf("%s has %d keys, of about %d", m, got, want)
			}
		}
	}
	before := count()
	even(before, keys/members)
	tab.Leave(third)
	even(count(), keys/(members-1))
	tab.Join("member-3", "member-3")
	if after := count(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a leave and a join the keys are elsewhere: %v, before %v", after, before)
	}
}

// Promise: which member a key belongs to does not change from version to version: senders
// of several ones find the same.
func TestOwnersStay(t *testing.T) {
	tab := New[string, number]()
	for _, id := range []string{"a", "b", "c"} {
		tab.Join(id, id)
	}
	got := ""
	for i := range 24 {
		m, _ := tab.Owner(fmt.Appendf(nil, "key-%d", i))
		got += m
	}
	if want := "caacabacccbbcabbbbbcacaa"; got != want {
		t.Errorf("the keys belong to %s, not %s", got, want)
	}
}

// Promise: after Clear nothing that waited comes back, whatever is said of what was out.
func TestNothingComesBackAfterClear(t *testing.T) {
	tab := New[string, number]()
	a, key := tab.Join("a", "a"), []byte("k")
	tab.Put(key, 1)
	lane := tab.Take(a)
	tab.Put(key, 3)
	tab.Put(key, 2)
	if out := tab.Clear(); !slices.Equal(out, []number{2, 3}) {
		t.Fatalf("%v waited", out)
	}
	if _, can := tab.Done(lane); can || a.Ready() != 0 || tab.Len() != 0 {
		t.Errorf("after Clear %d keys are ready", a.Ready())
	}
	if x := tab.Next(a); x != nil {
		t.Errorf("%d came back", *x)
	}
	tab.Put(key, 4)
	other := tab.Take(a)
	tab.Put(key, 5)
	if tab.Done(lane); a.Ready() != 0 {
		t.Error("what was taken before Clear counts as what was taken after it")
	}
	if tab.Done(other); a.Ready() != 1 {
		t.Error("what was taken after Clear is out still")
	}
}

// Promise: who left is shown with what it has out still, whoever joins meanwhile.
func TestWhoLeftIsShownWithWhatItHas(t *testing.T) {
	tab := New[string, number]()
	a, key := tab.Join("a", "a"), []byte("k")
	tab.Put(key, 1)
	lane := tab.Take(a)
	tab.Put(key, 2)
	tab.Leave(a)
	for _, id := range []string{"b", "c"} {
		tab.Join(id, id)
	}
	if some := tab.Look(3); len(some) != 1 || some[0].By != "a" || !some[0].Out {
		t.Errorf("%+v is blocked", some)
	}
	if who, can := tab.Done(lane); !can || who == "a" {
		t.Errorf("%q can take what a left: %t", who, can)
	}
	if len(tab.members) != 4 || tab.members[a.number] != nil {
		t.Error("who left is not forgotten")
	}
}

// Promise: what is used again is used again: a message costs no memory of its own.
func TestTableAllocatesNothing(t *testing.T) {
	tab := New[string, number]()
	a := tab.Join("a", "a")
	keys := make([][]byte, 100)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%d", i)
		tab.Put(keys[i], number(i+1))
		tab.Put(keys[i], number(i+1001))
	}
	seq, next := number(10000), 0
	if n := testing.AllocsPerRun(1000, func() {
		for range keys {
			lane := tab.Take(a)
			seq++
			tab.Put(keys[next%len(keys)], seq)
			next++
			tab.Done(lane)
		}
	}); n > 0 {
		t.Errorf("%.1f allocations for %d messages", n, len(keys))
	}
}

// Promise: an item waits where its sequence belongs, in whatever order they are put.
func TestItemsArePutInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := New[string, number]()
		a, key := tab.Join("a", "a"), []byte("k")
		all := rapid.Permutation([]number{1, 2, 3, 4, 5, 6, 7}).Draw(t, "sequences")
		for _, n := range all {
			tab.Put(key, n)
		}
		var got []number
		for x := tab.Next(a); x != nil; x = tab.Next(a) {
			got = append(got, *x)
			tab.Done(tab.Take(a))
		}
		if !slices.IsSorted(got) || len(got) != len(all) {
			t.Fatalf("%v were put, %v taken", all, got)
		}
	})
}

// Promise: the places of what waits may be counted on for as long as anybody likes.
func TestPlacesAreCountedFromOneAgain(t *testing.T) {
	tab := New[string, number]()
	key := func(n number) []byte { return fmt.Appendf(nil, "key-%d", n) }
	for n := range number(3) {
		tab.Put(key(n+1), n+1)
	}
	for i := range tab.spots[1:] { // as after that many messages
		tab.spots[i+1].place += 1 << 31
	}
	tab.ages.base += 1 << 31
	for n := range number(10 * slack) {
		tab.Put(key(n+4), n+4)
		if got := tab.Drop(key); got != n+1 {
			t.Fatalf("%d was dropped, and %d is the oldest", got, n+1)
		}
	}
	if tab.ages.base > 1<<31 {
		t.Errorf("places are counted from %d", tab.ages.base)
	}
}

// Promise: a burst of keys and messages leaves no memory behind, and neither do messages that
// go back again and again.
func TestABurstLeavesNothingBehind(t *testing.T) {
	tab := New[string, number]()
	a := tab.Join("a", "a")
	takeAll := func() {
		for tab.Next(a) != nil {
			tab.Done(tab.Take(a))
		}
	}
	for i := range 10 * mostSpare {
		tab.Put(fmt.Appendf(nil, "key-%d", i), number(i+1))
	}
	takeAll()
	if keys, _, _ := tab.Counts(); keys != 0 || tab.Len() != 0 || len(tab.lanes) > 2*mostSpare || cap(tab.items) > mostSpare || len(tab.index.slots) > 4*mostSpare {
		t.Errorf("%d keys, %d messages, %d lanes, %d items, %d places", keys, tab.Len(), len(tab.lanes), cap(tab.items), len(tab.index.slots))
	}
	blocked := []byte("blocked")
	tab.Put(blocked, 1<<40)
	tab.Rest(blocked)
	for i := range 100 * slack {
		tab.Put([]byte("one"), number(1<<41)+number(i))
		tab.Put([]byte("two"), number(1<<39)-number(i))
		takeAll()
	}
	if n, stale := cap(tab.ages.ring), cap(tab.ages.back); n > 8*slack || stale > 8*slack {
		t.Errorf("%d places and %d of what went back are kept, and one message waits", n, stale)
	}
	if seq, _ := tab.Oldest(); seq != 1<<40 || tab.Len() != 1 {
		t.Errorf("%d waits, of %d", seq, tab.Len())
	}
}

// Promise: the index finds the lanes that are in it and no others, whatever comes and goes.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := New[string, number]()
		want := make(map[uint64]int32)
		// Hashes that share places.
		hash := rapid.Custom(func(t *rapid.T) uint64 {
			return rapid.Uint64Range(0, 3).Draw(t, "upper")<<32 | rapid.Uint64Range(0, 3).Draw(t, "place")<<16 | rapid.Uint64Range(0, 40).Draw(t, "lower")
		})
		tab.lanes = make([]lane, 1, 1000)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				h := hash.Draw(t, "hash")
				if want[h] != 0 {
					return
				}
				tab.lanes = append(tab.lanes, lane{hash: h})
				want[h] = int32(len(tab.lanes) - 1)
				tab.index.put(h, want[h])
			},
			"remove": func(t *rapid.T) {
				h := hash.Draw(t, "hash")
				if want[h] != 0 {
					tab.index.remove(h, want[h])
					delete(want, h)
				}
			},
			"": func(t *rapid.T) {
				for upper := range uint64(4) {
					for place := range uint64(4) {
						for lower := range uint64(41) {
							h := upper<<32 | place<<16 | lower
							if got := tab.find(h); got != want[h] {
								t.Fatalf("%x is lane %d, not %d", h, got, want[h])
							}
						}
					}
				}
				if tab.index.used != len(want) {
					t.Fatalf("%d are in the index, not %d", tab.index.used, len(want))
				}
			},
		})
	})
}

func BenchmarkTable(b *testing.B) {
	for _, keys := range []int{100, 10_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			tab := New[string, number]()
			var seats []*Member[string]
			for i := range 8 {
				seats = append(seats, tab.Join(fmt.Sprint("m", i), fmt.Sprint("m", i)))
			}
			names := make([][]byte, keys)
			for i := range names {
				names[i] = fmt.Appendf(nil, "key-%d", i)
			}
			b.ReportAllocs()
			for i := range b.N {
				k := i * 7919 % keys
				tab.Put(names[k], number(i+1))
				for m := seats[i%8]; tab.Next(m) != nil; {
					tab.Done(tab.Take(m))
				}
			}
		})
	}
}
