package keyed

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// written is a record of the model's log.
type written struct {
	key, value string
	dead       bool
	erased     bool
	batch      int64 // its base
	time       int64
}

// ledger is a topic without an etcd.
type ledger struct {
	parts  [][]written
	starts []int64
}

// batch is the batch at a base, as it is now.
func (l *ledger) batch(p int, base int64) *format.Batch {
	b := &format.Batch{Base: base, Producer: 1, Sequence: uint64(base) + 1}
	for _, w := range l.parts[p][base:] {
		if w.batch != base {
			break
		}
		b.Time = w.time
		b.Count++
		if w.erased {
			b.Raw = messages.AppendErased(b.Raw)
			continue
		}
		m := messages.Message{Value: []byte(w.value), Tombstone: w.dead}
		if w.key != "" {
			m.Key = []byte(w.key)
		}
		b.Raw = messages.AppendRecord(b.Raw, &m)
	}
	return b
}

// bases are where the batches of a partition begin, from an offset on.
func (l *ledger) bases(p int, from int64) (all []int64) {
	for at, w := range l.parts[p] {
		if int64(at) >= from && w.batch == int64(at) {
			all = append(all, int64(at))
		}
	}
	return all
}

// newest is what a table of the log has: the value of each key.
func (l *ledger) newest(prefix string) map[string]string {
	type at struct {
		written
		p int
	}
	best := make(map[string]at)
	for p, log := range l.parts {
		mine := make(map[string]written)
		for _, w := range log[l.starts[p]:] {
			if w.key != "" && !w.erased && strings.HasPrefix(w.key, prefix) {
				mine[w.key] = w
			}
		}
		for k, w := range mine {
			if b, ok := best[k]; !ok || w.time >= b.time { // the later partition wins a tie
				best[k] = at{w, p}
			}
		}
	}
	out := make(map[string]string)
	for k, b := range best {
		if !b.dead {
			out[k] = b.value
		}
	}
	return out
}

// read brings a view to the end of the log.
func (l *ledger) read(v *View, p int, tell func(Change)) error {
	at, _ := v.Place(p)
	for _, base := range l.bases(p, at) {
		if err := v.Apply(p, l.batch(p, base), tell); err != nil {
			return err
		}
	}
	return nil
}

func contents(v *View) map[string]string {
	out := make(map[string]string)
	for e := range v.All() {
		r := e.Record("t", 0)
		out[e.Key()] = string(r.Value)
	}
	return out
}

// Promise: whatever is put, deleted and erased in whatever partition, a view has what one
// made of the log from its start has, and its changes are the whole difference.
func TestViewIsTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 6
		partitions := rapid.IntRange(1, 3).Draw(t, "partitions")
		prefix := rapid.SampledFrom([]string{"", "k"}).Draw(t, "prefix")
		l := &ledger{parts: make([][]written, partitions), starts: make([]int64, partitions)}
		mirror := make(map[string]string)
		tell := func(c Change) {
			switch {
			case c.Old == nil && c.New == nil:
				t.Fatalf("a change of nothing: %+v", c)
			case (c.Old == nil) == hasKey(mirror, c.Key):
				t.Fatalf("a change of %q from %v, and the mirror has it: %v", c.Key, c.Old, hasKey(mirror, c.Key))
			case c.New == nil:
				delete(mirror, c.Key)
			default:
				r := c.New.Record("t", 0)
				mirror[c.Key] = string(r.Value)
			}
		}
		fresh := func(base *View) *View {
			v := New(prefix, 0, base)
			for p := range partitions {
				v.Add(l.starts[p])
			}
			for p := range partitions {
				if err := l.read(v, p, func(Change) {}); err != nil {
					t.Fatal(err)
				}
			}
			return v
		}
		v := fresh(nil)
		now, number := int64(1), 0
		stale := false
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(t, "p")
				now += int64(rapid.IntRange(0, 1).Draw(t, "later"))
				base := int64(len(l.parts[p]))
				for range rapid.IntRange(1, 4).Draw(t, "records") {
					number++
					w := written{value: fmt.Sprint(number), batch: base, time: now}
					switch k := rapid.IntRange(0, keys+1).Draw(t, "key"); {
					case k < keys:
						w.key = fmt.Sprintf("k%d", k)
					case k == keys:
						w.key = "other"
					}
					if w.key != "" && rapid.IntRange(0, 3).Draw(t, "dead") == 0 {
						w.dead, w.value = true, ""
					}
					l.parts[p] = append(l.parts[p], w)
				}
				if err := l.read(v, p, tell); err != nil {
					t.Fatal(err)
				}
			},
			"trim": func(t *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(t, "p")
				bases := append(l.bases(p, l.starts[p]), int64(len(l.parts[p])))
				l.starts[p] = rapid.SampledFrom(bases).Draw(t, "start")
				if v.Trim(p, l.starts[p], tell) > 0 && v.Spread() {
					stale = true
				}
			},
			"erase": func(t *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(t, "p")
				bases := l.bases(p, l.starts[p])
				if len(bases) == 0 {
					t.Skip("an empty partition")
				}
				base := rapid.SampledFrom(bases).Draw(t, "base")
				for i := base; i < int64(len(l.parts[p])) && l.parts[p][i].batch == base; i++ {
					// Nobody erases a tombstone while what it deletes is there.
					if !l.parts[p][i].dead && rapid.Bool().Draw(t, "gone") {
						l.parts[p][i].erased = true
					}
				}
				if v.Erase(p, l.batch(p, base), tell) > 0 {
					stale = true
				}
			},
			"bury": func(*rapid.T) { v.Bury(now) },
			"again": func(t *rapid.T) {
				next := fresh(v)
				Diff(v, next, tell)
				next.Release()
				v, stale = next, false
			},
			"": func(t *rapid.T) {
				got := contents(v)
				if !maps.Equal(got, mirror) {
					t.Fatalf("the view has %v, and its changes made %v", got, mirror)
				}
				want := l.newest(prefix)
				if !stale && !maps.Equal(got, want) {
					t.Fatalf("the view has %v, and the log %v", got, want)
				}
				cost, live := int64(0), 0
				for _, e := range v.entries {
					cost += e.cost()
					if !e.dead {
						live++
					}
				}
				if cost != v.Cost() || live != v.Len() {
					t.Fatalf("it says %d bytes and %d keys, and has %d and %d", v.Cost(), v.Len(), cost, live)
				}
			},
		})
	})
}

func hasKey(m map[string]string, k string) bool { _, ok := m[k]; return ok }

// one is a batch of one record.
func one(base int64, m messages.Message) *format.Batch {
	return &format.Batch{Base: base, Count: 1, Time: 1000 + base, Raw: messages.AppendRecord(nil, &m)}
}

func key(i int) []byte { return []byte(fmt.Sprintf("key-%d", i)) }

// Promise: an entry keeps nothing of the batch that its record came in.
func TestEntriesHaveBytesOfTheirOwn(t *testing.T) {
	v := New("", 0, nil)
	v.Add(0)
	b := one(0, messages.Message{Key: key(1), Value: []byte("value"), Headers: []messages.Header{{Name: "h", Value: []byte("x")}}})
	if err := v.Apply(0, b, func(Change) {}); err != nil {
		t.Fatal(err)
	}
	clear(b.Raw)
	r := v.Get(key(1)).Record("t", 0)
	h, _ := r.Header("h")
	if string(r.Key) != "key-1" || string(r.Value) != "value" || string(h) != "x" || r.UnixNano != 1000 {
		t.Errorf("after the batch was overwritten it is %q = %q, %q, at %d", r.Key, r.Value, h, r.UnixNano)
	}
}

// Promise: what is put over and over again takes no more memory than once.
func TestReplacedEntriesAreForgotten(t *testing.T) {
	for _, partitions := range []int{1, 2} {
		v := New("", time.Hour, nil)
		for range partitions {
			v.Add(0)
		}
		now := time.Now()
		at := int64(0)
		for i := range 20_000 {
			for k := range 10 {
				m := messages.Message{Key: key(k), Value: []byte("v"), Time: now}
				if i%2 == 1 {
					m = messages.Message{Key: key(k), Tombstone: true}
				}
				if err := v.Apply(0, one(at, m), func(Change) {}); err != nil {
					t.Fatal(err)
				}
				at++
			}
		}
		if n := len(v.parts[0].slots) + len(v.graves) + len(v.dues.due) + len(v.entries); n > 5_000 {
			t.Errorf("with %d partitions %d things are kept of ten keys: %d slots, %d graves, %d dues, %d entries",
				partitions, n, len(v.parts[0].slots), len(v.graves), len(v.dues.due), len(v.entries))
		}
		v.Bury(1 << 62)
		if v.Len() != 0 || v.Cost() != 0 {
			t.Errorf("with %d partitions it has %d keys and %d bytes in the end", partitions, v.Len(), v.Cost())
		}
	}
}

// Promise: a key is gone when its newest record expires, by its own time or the topic's,
// whatever older ones there are.
func TestExpiredKeysGo(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	v := New("", 0, nil)
	v.Add(0)
	var gone []string
	tell := func(c Change) {
		if c.New == nil {
			gone = append(gone, c.Key)
		}
	}
	for i, m := range []messages.Message{
		{Key: key(1), Value: []byte("for good"), Time: start},
		{Key: key(1), Value: []byte("for a while"), Time: start, ExpiresAt: start.Add(time.Minute)},
		{Key: key(2), Value: []byte("for a while"), Time: start, ExpiresAt: start.Add(time.Minute)},
		{Key: key(2), Value: []byte("for good"), Time: start},
		{Key: key(3), Value: []byte("for good"), Time: start.Add(time.Hour)},
	} {
		if err := v.Apply(0, one(int64(i), m), tell); err != nil {
			t.Fatal(err)
		}
	}
	expire := func(after time.Duration) []string {
		gone = nil
		v.Expire(start.Add(after).UnixNano(), tell)
		slices.Sort(gone)
		return gone
	}
	if g := expire(time.Minute - 1); len(g) != 0 {
		t.Errorf("%q went too early", g)
	}
	if g := expire(time.Minute); !slices.Equal(g, []string{"key-1"}) {
		t.Errorf("%q went after a minute", g)
	}
	v.SetTTL(2 * time.Minute)
	if g := expire(3 * time.Minute); !slices.Equal(g, []string{"key-2"}) {
		t.Errorf("%q went with the topic's time to live", g)
	}
	if v.Len() != 1 {
		t.Errorf("%d keys are left", v.Len())
	}
}

// Promise: a batch that does not decode is an error that says where, and what is before it
// counts.
func TestDamagedBatch(t *testing.T) {
	v := New("", 0, nil)
	v.Add(0)
	b := one(0, messages.Message{Key: key(1), Value: []byte("v")})
	b.Raw = append(b.Raw, 0xff, 0xff)
	b.Count = 2
	err := v.Apply(0, b, func(Change) {})
	if err == nil || !strings.Contains(err.Error(), "offset 1") || v.Len() != 1 {
		t.Errorf("it says %v and has %d keys", err, v.Len())
	}
	if at, _ := v.Place(0); at != 1 {
		t.Errorf("it is at %d", at)
	}
}

func BenchmarkGet(b *testing.B) {
	v := New("", 0, nil)
	v.Add(0)
	const n = 100_000
	for i := range n {
		if err := v.Apply(0, one(int64(i), messages.Message{Key: key(i), Value: make([]byte, 100)}), func(Change) {}); err != nil {
			b.Fatal(err)
		}
	}
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = key(i * 97 % n)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r := v.Get(keys[i%len(keys)]).Record("t", 0)
		if len(r.Value) != 100 {
			b.Fatal("lost")
		}
		i++
	}
}
