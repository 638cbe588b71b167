package produce

// An id is in a partition once, whoever puts it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// sharedLog is a log to which several processes append, with the guard of the true
// one: a batch goes behind the end that its appender knows, and behind its Only.
type sharedLog struct {
	mu      sync.Mutex
	end     format.LogEnd
	batches []*format.Batch
	entries []format.Entry
	values  []string // by offset
	ids     []string
	reads   int // of the log, backwards
	plan    func(s *format.Sealed) fate
}

// fate is what becomes of an append.
type fate int

const (
	goesWell fate = iota
	isLost        // it is sent again
	answerLost
	refusedForSize
)

func newSharedLog() *sharedLog {
	return &sharedLog{end: format.LogEnd{Last: -1}, plan: func(*format.Sealed) fate { return goesWell }}
}

// appender is a commitlog.Appender of such a log.
type appender struct {
	log   *sharedLog
	known *format.LogEnd
}

func (a *appender) append(ctx context.Context, s *format.Sealed, _ bool) (int64, error) {
	l := a.log
	for {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		base, err, done := func() (int64, error, bool) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, e := range l.entries {
				if e.Producer == s.Producer && e.Sequence == s.Sequence {
					s.Way.State = format.Landed
					a.known = nil
					return e.Base, nil, true
				}
			}
			if a.known == nil {
				end := l.end
				a.known = &end
			}
			if s.Only != nil && !s.Only.Is(*a.known) {
				return 0, format.ErrBehind, true
			}
			if !a.known.Is(l.end) { // the slot is another's
				end := l.end
				a.known = &end
				return 0, nil, false
			}
			fate := l.plan(s)
			switch {
			case fate == refusedForSize && s.Count > 1:
				return 0, &messages.LimitError{Limit: messages.LimitRequest, Err: errors.New("too much")}, true
			case fate == isLost:
				return 0, nil, false
			}
			l.put(s)
			if fate == answerLost {
				return 0, nil, false
			}
			end := l.end
			a.known = &end
			s.Way.State = format.Landed
			return s.Way.Base, nil, true
		}()
		if done {
			return base, err
		}
	}
}

// put appends s. mu is held.
func (l *sharedLog) put(s *format.Sealed) {
	s.GoBehind(l.end)
	b, err := s.Batch(l.end.Offset)
	if err != nil {
		panic(err)
	}
	b.Raw = slices.Clone(b.Raw)
	e := format.Entry{Base: l.end.Offset}
	if !e.Decode([]byte(s.Way.Entry)) {
		panic("an entry does not decode")
	}
	l.batches, l.entries, l.end = append(l.batches, b), append(l.entries, e), s.Way.Behind
	for rest := b.Raw; len(rest) > 0; {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			panic(err)
		}
		l.values, l.ids, rest = append(l.values, string(r.Value)), append(l.ids, r.ID()), rest[n:]
	}
}

func (a *appender) back(ctx context.Context, doubt bool, s Sight) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l := a.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	end := l.end
	a.known = &end
	s.Begin(end)
	for i := len(l.batches) - 1; i >= 0; i-- {
		if !s.Wants(l.entries[i]) || !s.Sees(l.batches[i]) {
			break
		}
	}
	return nil
}

// deduping is a topic of one partition with a window, appended to by a process.
func deduping(log *sharedLog, records int) (*fakeTopic, *appender) {
	f := newFakeTopic(1)
	f.settings.Config.DedupeWindow, f.settings.Config.DedupeRecords = time.Hour, records
	return f, &appender{log: log}
}

func runOn(ctx context.Context, f *fakeTopic, a *appender) (stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	f.accs[0].Dedupe(a.back)
	go func() {
		defer close(over)
		_ = f.accs[0].Run(ctx, a.append, func(int64, *format.Sealed) {})
	}()
	return func() { cancel(errStopped); <-over }
}

// Whatever several processes put of the same ids, and in spite of conflicts, lost
// answers, splits and restarts: each id is in the log once, every result names its
// place, and records without ids are all there.
func TestAnIDIsInTheLogOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := newSharedLog()
		fates := rapid.SliceOfN(rapid.SampledFrom([]fate{goesWell, goesWell, goesWell, isLost, answerLost, refusedForSize}), 0, 20).Draw(t, "fates")
		log.plan = func(*format.Sealed) (f fate) {
			if len(fates) > 0 {
				f, fates = fates[0], fates[1:]
			}
			return f
		}
		type process struct {
			f    *fakeTopic
			p    *Producer
			stop func()
		}
		begin := func() *process {
			f, a := deduping(log, 1<<16)
			return &process{f, f.producer(nil), runOn(context.Background(), f, a)}
		}
		procs := []*process{begin(), begin()}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		places := make(map[string]int64)
		nameless := 0
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			var waits sync.WaitGroup
			var mu sync.Mutex
			for _, proc := range procs {
				ids := rapid.SliceOfN(rapid.IntRange(0, 15), 1, 12).Draw(t, "ids")
				var msgs []messages.Message
				for _, id := range ids {
					m := messages.Message{Value: fmt.Append(nil, id)}
					if id > 0 {
						m.ID = fmt.Sprint("p/", id)
					} else {
						nameless++
					}
					msgs = append(msgs, m)
				}
				waits.Go(func() {
					results, err := proc.p.PutEach(ctx, msgs, nil)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Errorf("put: %v", err)
						return
					}
					for i, r := range results {
						id := msgs[i].ID
						if id == "" {
							continue
						}
						if at, ok := places[id]; ok && at != r.Offset {
							t.Errorf("id %s was put at %d and at %d", id, at, r.Offset)
						} else if !ok {
							places[id] = r.Offset
						}
					}
				})
			}
			waits.Wait()
			if rapid.Bool().Draw(t, "restart") {
				i := rapid.IntRange(0, 1).Draw(t, "which")
				procs[i].stop()
				procs[i] = begin()
			}
		}
		for _, proc := range procs {
			proc.stop()
			if n := proc.p.buffered(); n != 0 {
				t.Errorf("%d bytes are still taken", n)
			}
		}
		seen := make(map[string]int64)
		for at, id := range log.ids {
			if id == "" {
				nameless--
				continue
			}
			if first, twice := seen[id]; twice {
				t.Errorf("id %s is at %d and at %d", id, first, at)
			}
			seen[id] = int64(at)
			if "p/"+log.values[at] != id {
				t.Errorf("id %s has the value %s", id, log.values[at])
			}
			if place, ok := places[id]; !ok || place != int64(at) {
				t.Errorf("id %s is at %d, and its puts were told %d, %t", id, at, place, ok)
			}
		}
		if nameless != 0 || len(seen) != len(places) {
			t.Errorf("%d records without an id are missing; %d ids for %d", nameless, len(seen), len(places))
		}
	})
}

// Callbacks hear of a duplicate where its first record is, and counters tell them
// apart.
func TestADuplicateIsToldItsFirstRecord(t *testing.T) {
	log := newSharedLog()
	f, a := deduping(log, 100)
	defer runOn(t.Context(), f, a)()
	p := f.producer(nil)
	var got results
	for _, id := range []string{"p/1", "p/2", "p/1", "", "p/2"} {
		if err := p.PutAsync(t.Context(), &messages.Message{ID: id, Value: []byte("v")}, got.add); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	want := []messages.PutResult{{Offset: 0}, {Offset: 1}, {Offset: 0, Duplicate: true}, {Offset: 2}, {Offset: 1, Duplicate: true}}
	if list := got.list(); !slices.Equal(list, want) {
		t.Errorf("told %+v", list)
	}
	if n := f.accs[0].Counters(); n.Duplicates != 2 || n.Committed != 3 || n.Records != 5 || n.Queued != 0 {
		t.Errorf("counted %+v", n)
	}
}

// A topic without a window, and records without ids, cost no look at the log.
func TestWithoutIDsNothingIsRead(t *testing.T) {
	for name, tc := range map[string]struct {
		window time.Duration
		id     string
		reads  int
	}{"no window": {0, "p/1", 0}, "no id": {time.Hour, "", 0}, "both": {time.Hour, "p/1", 1}} {
		t.Run(name, func(t *testing.T) {
			log := newSharedLog()
			f, a := deduping(log, 100)
			f.settings.Config.DedupeWindow = tc.window
			defer runOn(t.Context(), f, a)()
			p := f.producer(nil)
			for range 3 {
				if r := p.Put(within(t), &messages.Message{ID: tc.id, Value: []byte("v")}); r.Err != nil || r.Duplicate {
					t.Fatalf("%+v", r)
				}
				if tc.id != "" {
					tc.id += "1"
				}
			}
			if log.reads != tc.reads {
				t.Errorf("%d reads of the log, want %d", log.reads, tc.reads)
			}
		})
	}
}

// A window that cannot be read fails the records with ids, which are not in the log,
// and nothing else.
func TestAWindowThatCannotBeRead(t *testing.T) {
	log := newSharedLog()
	f, a := deduping(log, 100)
	stop := runOn(t.Context(), f, a)
	stop()
	f.accs[0].Dedupe(func(context.Context, bool, Sight) error { return messages.ErrDenied })
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = f.accs[0].Run(ctx, a.append, func(int64, *format.Sealed) {})
	}()
	defer func() { cancel(); <-over }()
	p := f.producer(nil)
	if r := p.Put(within(t), &messages.Message{ID: "p/1"}); !errors.Is(r.Err, messages.ErrDenied) || errors.Is(r.Err, messages.ErrUnknownOutcome) {
		t.Errorf("put with an id: %v", r.Err)
	}
	if r := p.Put(within(t), &messages.Message{Value: []byte("v")}); r.Err != nil {
		t.Errorf("put without one: %v", r.Err)
	}
}

// Where a message with an id goes follows from the message alone, whatever was put
// before and whatever chooses for others.
func TestAnIDHasOnePartition(t *testing.T) {
	for name, by := range map[string]Partitioner{"key": ByKey(), "sticky": Sticky(), "round robin": RoundRobin(), "random": Random()} {
		f := newFakeTopic(64)
		f.settings.Config.DedupeWindow = time.Hour
		p := f.producer(func(c *Config) { c.Partitioner = by })
		used := make(map[int]bool)
		for i := range 50 {
			m := &messages.Message{ID: fmt.Sprint("p/", i)}
			keyed := &messages.Message{ID: m.ID, Key: []byte("k")}
			first, _ := p.choose(m)
			of, _ := p.choose(keyed)
			used[first] = true
			for range 3 {
				if again, _ := p.choose(m); again != first {
					t.Fatalf("%s: id %s goes to %d and to %d", name, m.ID, first, again)
				}
			}
			if want, _ := p.choose(&messages.Message{ID: "other", Key: []byte("k")}); of != want {
				t.Fatalf("%s: one key goes to %d and to %d", name, of, want)
			}
		}
		if len(used) < 20 {
			t.Errorf("%s: 50 ids are in %d of 64 partitions", name, len(used))
		}
	}
}
