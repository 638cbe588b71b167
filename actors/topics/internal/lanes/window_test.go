package lanes

// Promise: of one lane at most one record is handed out at a time, and they are handed out
// in their order; none is skipped, and none comes twice unless it was given back. A window
// that begins with the progress of another one hands out what that had not finished, and
// nothing else, at whatever moment that was.

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// model is what a window must do.
type model struct {
	order    Order
	keys     []string // by offset; "" is none
	admitted int64
	done     map[int64]bool
	out      map[int64]*Entry
	tries    map[int64]int
	rests    map[int64]time.Time
}

func (m *model) lane(offset int64) (string, bool) {
	switch {
	case m.order == Strict:
		return "", true
	case m.order == None || m.keys[offset] == "":
		return "", false
	}
	return m.keys[offset], true
}

// before reports whether a record of the same lane comes before and is not finished.
func (m *model) before(offset int64) (int64, bool) {
	key, has := m.lane(offset)
	for o := range offset {
		if k, other := m.lane(o); has && other && k == key && !m.done[o] {
			return o, true
		}
	}
	return 0, false
}

func (m *model) floor() int64 {
	for o := range m.admitted {
		if !m.done[o] {
			return o
		}
	}
	return m.admitted
}

func TestWindowAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const records, most = 60, 8
		m := &model{order: rapid.SampledFrom([]Order{ByKey, None, Strict}).Draw(t, "order"), done: map[int64]bool{}, out: map[int64]*Entry{}, tries: map[int64]int{}, rests: map[int64]time.Time{}}
		for range records {
			m.keys = append(m.keys, rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "key"))
		}
		now := time.UnixMilli(1_000_000).UTC()
		w := New(m.order, most, 0, format.Progress{})
		held := map[int64]*Held{}
		oneOut := func() *Entry {
			all := make([]int64, 0, len(m.out))
			for o := range m.out {
				all = append(all, o)
			}
			slices.Sort(all)
			if len(all) == 0 {
				t.Skip("nothing is out")
			}
			return m.out[rapid.SampledFrom(all).Draw(t, "which")]
		}
		admit := func() {
			if w.Full() || w.Next() == records {
				t.Skip("full")
			}
			o := w.Next()
			base := o - o%7
			if held[base] == nil {
				held[base] = &Held{Base: base, Bytes: 7}
			}
			r := messages.Record{Offset: o}
			r.Key, r.Value = []byte(m.keys[o]), fmt.Append(nil, o)
			if w.Admit(r, held[base]) == m.done[o] {
				t.Fatalf("offset %d is finished: %v", o, m.done[o])
			}
			m.admitted = o + 1
		}
		t.Repeat(map[string]func(*rapid.T){
			"admit":      func(*rapid.T) { admit() },
			"admit more": func(*rapid.T) { admit() },
			"take": func(*rapid.T) {
				e := w.Take()
				if e == nil {
					for o := range m.admitted {
						if _, parked := m.before(o); !parked && !m.done[o] && m.out[o] == nil && m.rests[o].IsZero() {
							t.Fatalf("offset %d could be handed out", o)
						}
					}
					return
				}
				o := e.Record.Offset
				if b, has := m.before(o); has {
					t.Fatalf("offset %d was handed out before %d of its lane is finished", o, b)
				}
				if m.done[o] || m.out[o] != nil || !m.rests[o].IsZero() {
					t.Fatalf("offset %d: done %v, out %v, rests until %v", o, m.done[o], m.out[o] != nil, m.rests[o])
				}
				if string(e.Record.Value) != fmt.Sprint(o) || e.Attempts != m.tries[o] || e.Base != o-o%7 {
					t.Fatalf("offset %d: %q, %d attempts, want %d, base %d", o, e.Record.Value, e.Attempts, m.tries[o], e.Base)
				}
				m.out[o] = e
			},
			"finish": func(*rapid.T) {
				e := oneOut()
				w.Finish(e)
				delete(m.out, e.Record.Offset)
				m.done[e.Record.Offset] = true
			},
			"give back": func(*rapid.T) {
				e := oneOut()
				w.GiveBack(e)
				delete(m.out, e.Record.Offset)
			},
			"fail": func(*rapid.T) {
				e := oneOut()
				e.Attempts++
				o := e.Record.Offset
				until := now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "rest")) * time.Millisecond)
				w.Rest(e, until)
				delete(m.out, o)
				m.tries[o]++
				m.rests[o] = until
			},
			"wait": func(*rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "wait")) * time.Millisecond)
				next := w.Wake(now)
				var want time.Time
				for o, at := range m.rests {
					if o >= m.admitted {
						continue // its rest is looked at when it is taken in again
					}
					if !at.After(now) {
						delete(m.rests, o)
					} else if want.IsZero() || at.Before(want) {
						want = at
					}
				}
				if !next.Equal(want) || !w.Alarm().Equal(want) {
					t.Fatalf("the next rest is over at %v, want %v", next, want)
				}
			},
			"restart": func(*rapid.T) {
				p := format.Position{Offset: w.Floor(), Progress: w.Progress()}
				c, err := format.ParseCommitted("k", []byte(format.CommittedValue(p, 0, 0, now)))
				if err != nil {
					t.Fatal(err)
				}
				again, _ := format.ProgressOf(c)
				if !again.Equal(p.Progress) {
					t.Fatalf("%+v came back as %+v", p.Progress, again)
				}
				w = New(m.order, most, p.Offset, again)
				m.admitted, m.out = p.Offset, map[int64]*Entry{}
				clear(held)
			},
			"": func(t *rapid.T) {
				if w.Open() > most || w.Out() != len(m.out) {
					t.Fatalf("%d are open, %d out, want %d", w.Open(), w.Out(), len(m.out))
				}
				if floor := m.floor(); w.Floor() != floor {
					t.Fatalf("the floor is %d, want %d", w.Floor(), floor)
				}
				p := w.Progress()
				if len(p.Done) > most+1+records || p.Count() != int64(doneFrom(m.done, w.Floor())) {
					t.Fatalf("%d are finished behind %d, want %d: %v", p.Count(), w.Floor(), doneFrom(m.done, w.Floor()), p.Done)
				}
				for o := w.Floor(); o < records; o++ {
					if p.IsDone(o) != m.done[o] {
						t.Fatalf("offset %d: finished %v, want %v", o, p.IsDone(o), m.done[o])
					}
				}
			},
		})
		// Whatever has happened, everything is handed out in the end.
		for !w.Full() && w.Next() < records || w.Open() > 0 {
			for !w.Full() && w.Next() < records {
				r := messages.Record{Offset: w.Next()}
				r.Key = []byte(m.keys[r.Offset])
				w.Admit(r, &Held{Base: r.Offset})
			}
			now = now.Add(time.Hour)
			w.Wake(now)
			for _, e := range m.out {
				w.Finish(e)
				m.done[e.Record.Offset] = true
			}
			clear(m.out)
			for e := w.Take(); e != nil; e = w.Take() {
				w.Finish(e)
				m.done[e.Record.Offset] = true
			}
		}
		if w.Floor() != records || len(m.done) != records || len(w.lanes) != 0 || w.own != 0 {
			t.Fatalf("the floor is %d of %d, %d were finished, %d lanes and %d bytes are left", w.Floor(), records, len(m.done), len(w.lanes), w.own)
		}
	})
}

func doneFrom(done map[int64]bool, floor int64) (n int) {
	for o := range done {
		if o >= floor {
			n++
		}
	}
	return n
}

// Promise: a batch is given back when none of its records needs its bytes: they are
// finished, or rest with bytes of their own.
func TestWindowGivesBatchesBack(t *testing.T) {
	w := New(ByKey, 10, 0, format.Progress{})
	held := &Held{Base: 0, Bytes: 100}
	for o := range int64(3) {
		w.Admit(messages.Record{Offset: o, Payload: messages.Payload{Value: []byte("value")}}, held)
	}
	a, b, c := w.Take(), w.Take(), w.Take()
	if w.Finish(b) != nil || w.Rest(a, time.UnixMilli(1)) != nil {
		t.Fatal("given back while a record needs it")
	}
	if w.Finish(c) != held || held.InUse() {
		t.Fatal("not given back")
	}
	if w.Floor() != 0 || w.FloorBase() != 0 {
		t.Fatalf("the floor is %d in a batch at %d", w.Floor(), w.FloorBase())
	}
	w.Wake(time.UnixMilli(1))
	if again := w.Take(); again != a || w.Finish(again) != nil {
		t.Fatal("it has a batch again")
	}
}
