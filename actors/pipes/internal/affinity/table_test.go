package affinity

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// item is a message of a key.
type item struct {
	key string
	seq uint64
}

// place is where the model has an item.
type place int

const (
	waits place = iota
	out
	rests
)

// world is a table, and what it should know.
type world struct {
	*Table[string, item]
	seq     uint64
	where   map[item]place
	by      map[item]*Lane[string, item] // of those that are out
	members []string
	handled map[string]uint64 // of a key: the highest sequence that was settled
}

func newWorld() *world {
	return &world{Table: New[string, item](), where: make(map[item]place), by: make(map[item]*Lane[string, item]), handled: make(map[string]uint64)}
}

func (w *world) in(p place) (all []item) {
	for x, at := range w.where {
		if at == p {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b item) int { return int(a.seq) - int(b.seq) })
	return all
}

func (w *world) owner(key string) string {
	m, _ := w.Owner([]byte(key))
	return m
}

// settle notes that an item is finished: nothing of its key before it is unfinished.
func (w *world) settle(t *rapid.T, x item) {
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
				x := item{fmt.Sprint("key", rapid.IntRange(0, keys-1).Draw(t, "key")), w.seq}
				w.where[x] = waits
				w.Put(Hash([]byte(x.key)), x.seq, x)
			},
			"join": func(t *rapid.T) {
				name := fmt.Sprint("m", len(w.members))
				if len(w.members) > 4 || w.Has(name) {
					return
				}
				before := make(map[string]string)
				for i := range keys {
					before[fmt.Sprint("key", i)] = w.owner(fmt.Sprint("key", i))
				}
				w.Join(name, name)
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
				w.Leave(name)
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
				peek, can := w.Next(m)
				x, lane, ok := w.Take(m)
				if can != ok || peek != x {
					t.Fatalf("Next said %v %t, and Take took %v %t", peek, can, x, ok)
				}
				if !ok {
					return
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
					w.Put(Hash([]byte(x.key)), x.seq, x)
					w.where[x] = waits
				}
			},
			"rest": func(t *rapid.T) {
				if all := w.in(out); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					w.Done(w.by[x])
					w.Rest(Hash([]byte(x.key)))
					w.where[x] = rests
				}
			},
			"rested": func(t *rapid.T) {
				if all := w.in(rests); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					w.Rested(Hash([]byte(x.key)))
					if rapid.Bool().Draw(t, "given up") {
						w.settle(t, x)
						return
					}
					w.Put(Hash([]byte(x.key)), x.seq, x)
					w.where[x] = waits
				}
			},
			"drop": func(t *rapid.T) {
				if all := w.in(waits); len(all) > 0 {
					if x := w.Drop(); x != all[0] {
						t.Fatalf("dropped %v, the oldest is %v", x, all[0])
					}
					delete(w.where, all[0])
				}
			},
			"extract": func(t *rapid.T) {
				if all := w.in(waits); len(all) > 0 {
					x := rapid.SampledFrom(all).Draw(t, "item")
					if got, ok := w.Extract(Hash([]byte(x.key)), x.seq); !ok || got != x {
						t.Fatalf("extracted %v %t, not %v", got, ok, x)
					}
					delete(w.where, x)
				}
			},
			"sift": func(t *rapid.T) {
				odd := func(x item) bool { return x.seq%5 == 0 }
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
	n, b, msgs, some := w.Look(3)
	if n != len(keys) || b != len(blocked) || msgs != behind || len(some) != min(3, len(blocked)) {
		t.Fatalf("%d keys, %d blocked, %d messages, %d shown; not %d, %d, %d", n, b, msgs, len(some), len(keys), len(blocked), behind)
	}
	can := 0
	for _, m := range w.members {
		line := 0
		for l := w.Table.members[m].first; l != nil; l = l.next {
			line++
			if l.line != w.Table.members[m] || !l.ready() || w.owner(l.first.item.key) != m {
				t.Fatalf("a lane stands in the line of %s and should not", m)
			}
		}
		if n := w.Ready(m); n != line {
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
	tab := New[string, int]()
	const members, keys = 8, 10000
	for i := range members {
		tab.Join(fmt.Sprint("member-", i), fmt.Sprint("member-", i))
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
	tab.Leave("member-3")
	even(count(), keys/(members-1))
	tab.Join("member-3", "member-3")
	if after := count(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a leave and a join the keys are elsewhere: %v, before %v", after, before)
	}
}

// Promise: which member a key belongs to does not change from version to version: senders
// of several ones find the same.
func TestOwnersStay(t *testing.T) {
	tab := New[string, int]()
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
	tab := New[string, int]()
	tab.Join("a", "a")
	tab.Put(7, 1, 1)
	_, lane, _ := tab.Take("a")
	tab.Put(7, 2, 2)
	if out := tab.Clear(); len(out) != 1 {
		t.Fatalf("%v waited", out)
	}
	if _, can := tab.Done(lane); can || tab.Ready("a") != 0 || tab.Len() != 0 {
		t.Errorf("after Clear %d keys are ready", tab.Ready("a"))
	}
	if item, _, ok := tab.Take("a"); ok {
		t.Errorf("%d came back", item)
	}
}

// Promise: what is used again is used again: a message costs no memory of its own.
func TestTableAllocatesNothing(t *testing.T) {
	tab := New[string, int]()
	tab.Join("a", "a")
	hashes := make([]uint64, 100)
	for i := range hashes {
		hashes[i] = Hash(fmt.Appendf(nil, "key-%d", i))
		tab.Rest(hashes[i]) // a lane that stays
		tab.Put(hashes[i], uint64(i), i)
		tab.Rested(hashes[i])
		tab.Put(hashes[i], uint64(i+1000), i)
	}
	seq := uint64(10000)
	if n := testing.AllocsPerRun(1000, func() {
		for range hashes {
			i, lane, _ := tab.Take("a")
			seq++
			tab.Put(hashes[i], seq, i)
			tab.Done(lane)
		}
	}); n > 0 {
		t.Errorf("%.1f allocations for %d messages", n, len(hashes))
	}
}

func BenchmarkTable(b *testing.B) {
	for _, keys := range []int{100, 10_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			tab := New[string, int]()
			var names []string
			for i := range 8 {
				names = append(names, fmt.Sprint("m", i))
				tab.Join(names[i], names[i])
			}
			hashes := make([]uint64, keys)
			for i := range hashes {
				hashes[i] = Hash(fmt.Appendf(nil, "key-%d", i))
			}
			b.ReportAllocs()
			for i := range b.N {
				k := i * 7919 % keys
				tab.Put(hashes[k], uint64(i), k)
				m := names[i%8]
				for {
					_, lane, ok := tab.Take(m)
					if !ok {
						break
					}
					tab.Done(lane)
				}
			}
		})
	}
}
