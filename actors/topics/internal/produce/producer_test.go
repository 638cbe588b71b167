package produce

// Puts, and what becomes of them.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/messages"
)

func TestPutAnswersWhereTheRecordIs(t *testing.T) {
	f := newFakeTopic(3)
	f.run(t)
	p := f.producer(func(c *Config) { c.Partitioner = RoundRobin() })
	for i := range 9 {
		want := messages.PutResult{Partition: i % 3, Offset: int64(i / 3)}
		if r := p.Put(within(t), text(fmt.Sprint(i))); r != want {
			t.Errorf("put %d: %+v, want %+v", i, r, want)
		}
	}
	if r := p.PutTo(within(t), 2, text("named")); r != (messages.PutResult{Partition: 2, Offset: 3}) {
		t.Errorf("put to partition 2: %+v", r)
	}
	if got := f.logs[2].records(t); fmt.Sprint(got) != "[2 5 8 named]" {
		t.Errorf("partition 2 has %v", got)
	}
}

func TestPutsThatAreRefused(t *testing.T) {
	ended, end := context.WithCancelCause(context.Background())
	end(errGivenUp)
	for name, tc := range map[string]struct {
		ctx  context.Context
		by   Partitioner
		m    *messages.Message
		want error
		says string
	}{
		"too large":           {m: blob(2000), want: messages.ErrTooLarge, says: "2000 bytes with key and headers, the limit is 1999"},
		"a bad header":        {m: &messages.Message{Headers: []messages.Header{{Name: "\xff"}}}, want: messages.ErrInvalid, says: `partition 0`},
		"over the last":       {m: text("a"), by: Manual(func(*messages.Message, int) int { return 1 }), want: messages.ErrNoPartition, says: "partition 1 of 1"},
		"below the first":     {m: text("a"), by: Manual(func(*messages.Message, int) int { return -1 }), want: messages.ErrNoPartition, says: "partition -1 of 1"},
		"its context is over": {m: text("a"), ctx: ended, want: errGivenUp, says: "partition 0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(1)
			f.settings.Config.MaxRecordBytes = 1999
			f.run(t)
			p := f.producer(func(c *Config) { c.Partitioner = tc.by })
			ctx := tc.ctx
			if ctx == nil {
				ctx = within(t)
			}
			check := func(err error) {
				t.Helper()
				if !errors.Is(err, tc.want) || errors.Is(err, messages.ErrUnknownOutcome) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), `put to "audit"`) {
					t.Errorf("%v", err)
				}
			}
			r := p.Put(ctx, tc.m)
			check(r.Err)
			if r.Offset != -1 {
				t.Errorf("offset %d of what was not put", r.Offset)
			}
			check(p.PutAsync(ctx, tc.m, func(messages.PutResult) { t.Error("told of what was refused") }))
			if ctx.Err() == nil {
				check(p.TryPut(tc.m, func(messages.PutResult) { t.Error("told of what was refused") }))
			}
			_, err := p.PutEach(ctx, []messages.Message{*tc.m}, nil)
			check(err)
			if err := p.Flush(within(t)); err != nil {
				t.Errorf("a flush after that: %v", err)
			}
			if len(f.logs[0].batches) > 0 || p.buffered() != 0 {
				t.Errorf("%d batches were put, %d bytes are left", len(f.logs[0].batches), p.buffered())
			}
		})
	}
	f := newFakeTopic(2)
	p := f.producer(nil)
	for _, part := range []int{-1, 2} {
		if r := p.PutTo(t.Context(), part, text("a")); !errors.Is(r.Err, messages.ErrNoPartition) {
			t.Errorf("put to partition %d of 2: %v", part, r.Err)
		}
	}
	p.at = func(int) (*Accumulator, error) { return nil, messages.ErrTopicDeleted }
	if r := p.Put(t.Context(), text("a")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
		t.Errorf("put to a topic that is gone: %v", r.Err)
	}
}

// TryPut takes what there is room for, and returns at once what there is none for: also
// when it would fit, and others wait.
func TestTryPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := gated(f.logs[0])
		f.run(t)
		p := f.producer(bounded(1000))
		var got results
		if err := p.TryPut(blob(600), got.add); err != nil {
			t.Fatalf("with room for it: %v", err)
		}
		if err := p.TryPut(blob(600), got.add); !errors.Is(err, messages.ErrGroupFull) {
			t.Errorf("without room: %v", err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- p.PutAsync(t.Context(), blob(700), nil) }()
		synctest.Wait()
		if err := p.TryPut(blob(200), nil); !errors.Is(err, messages.ErrGroupFull) {
			t.Errorf("past one that waits for room: %v", err)
		}
		gate <- struct{}{}
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
		if err := p.TryPut(blob(200), got.add); err != nil {
			t.Errorf("behind it: %v", err)
		}
		close(gate)
		p.told(t)
		synctest.Wait()
		if all := got.list(); len(all) != 2 || all[0].Offset != 0 || all[1].Offset != 2 {
			t.Errorf("callbacks got %+v", all)
		}
		if p.buffered() != 0 {
			t.Errorf("%d bytes are left", p.buffered())
		}
		p.calls.left.Add(MaxCallbacksWaiting)
		if err := p.TryPut(blob(200), got.add); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("while callbacks wait: %v", err)
		}
		p.calls.left.Add(-MaxCallbacksWaiting)
		p.Close()
		for _, size := range []int{200, 2000} {
			if err := p.TryPut(blob(size), nil); !errors.Is(err, messages.ErrClosed) || errors.Is(err, messages.ErrGroupFull) {
				t.Errorf("%d bytes after Close: %v", size, err)
			}
		}
	})
}

// A context that ends reports whether the record was taken.
func TestAPutWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := gated(f.logs[0])
		f.run(t)
		p := f.producer(bounded(1000))
		put := func() (cancel context.CancelCauseFunc, fate chan error) {
			ctx, cancel := context.WithCancelCause(t.Context())
			fate = make(chan error, 1)
			go func() { fate <- p.Put(ctx, blob(600)).Err }()
			synctest.Wait()
			return cancel, fate
		}
		cancelTaken, taken := put()
		cancelWaiting, waiting := put()
		cancelWaiting(errGivenUp)
		if err := <-waiting; !errors.Is(err, errGivenUp) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("ended waiting for room: %v", err)
		}
		cancelTaken(errGivenUp)
		if err := <-taken; !errors.Is(err, errGivenUp) || !errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("ended on its way: %v", err)
		}
		if p.buffered() != 600+waitBytes {
			t.Errorf("%d bytes taken, want those of the one on its way", p.buffered())
		}
		gate <- struct{}{}
		if err := p.Flush(t.Context()); err != nil {
			t.Errorf("its fate is not flush's to tell: %v", err)
		}
		if f.logs[0].end != 1 || p.buffered() != 0 {
			t.Errorf("%d records in the log, %d bytes left", f.logs[0].end, p.buffered())
		}
		// The waiter that was given up is not used for another record.
		go func() { gate <- struct{}{} }()
		if r := p.Put(t.Context(), text("next")); r != (messages.PutResult{Offset: 1}) {
			t.Errorf("the next put: %+v", r)
		}
	})
}

func TestPutEachReturnsEachResult(t *testing.T) {
	f := newFakeTopic(3)
	f.settings.Config.MaxRecordBytes = 1000
	f.run(t)
	p := f.producer(func(c *Config) {
		c.MaxBuffer = 4000 // several times over
		c.Partitioner = Manual(func(m *messages.Message, _ int) int { return int(m.Value[0]-'0') % 5 })
	})
	var msgs []messages.Message
	for i := range 1000 {
		msgs = append(msgs, messages.Message{Value: fmt.Appendf(nil, "%d", i%3)})
		msgs[i].Value = fmt.Appendf(msgs[i].Value, " %d", i)
	}
	msgs[500] = messages.Message{Value: []byte("0" + strings.Repeat("x", 1000))}
	msgs[600] = messages.Message{Value: []byte("4")}
	rs, err := p.PutEach(within(t), msgs, nil)
	if !errors.Is(err, messages.ErrTooLarge) || !errors.Is(err, messages.ErrNoPartition) || len(rs) != len(msgs) {
		t.Fatalf("%d results: %v", len(rs), err)
	}
	next := make([]int64, 3)
	for i, r := range rs {
		switch i {
		case 500, 600:
			if r.Err == nil || r.Offset != -1 {
				t.Errorf("message %d, which cannot be put: %+v", i, r)
			}
		default:
			if want := (messages.PutResult{Partition: i % 3, Offset: next[i%3]}); r != want {
				t.Fatalf("message %d: %+v, want %+v", i, r, want)
			}
			if got := f.logs[i%3].records(t)[r.Offset]; got != string(msgs[i].Value) {
				t.Fatalf("message %d is said to be where %q is", i, got)
			}
			next[i%3]++
		}
	}
	if rs, err := p.PutEach(within(t), nil, nil); rs != nil || err != nil {
		t.Errorf("a batch of nothing: %v, %v", rs, err)
	}
}

// One partition of a batch may fail alone, and its error comes once.
// The records of a call that find their partition idle are one batch in it, however
// fast its loop is. They do not wait for each other when there is a reason not to: a
// batch is full, there is no room before something is appended, or a user's function
// is asked for each of them.
func TestPutEachIsOneBatch(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*Config)
		msgs    []messages.Message
		through func(context.Context, messages.Message, messages.Send) error
		want    [][]int // by partition, the records of each batch; nil: any
	}{
		"one partition":    {nil, slices.Repeat([]messages.Message{*text("a")}, 500), nil, [][]int{{500}}},
		"in turn":          {func(c *Config) { c.Partitioner = RoundRobin() }, slices.Repeat([]messages.Message{*text("a")}, 9), nil, [][]int{{3}, {3}, {3}}},
		"more than a room": {bounded(8 << 10), slices.Repeat([]messages.Message{*blob(1 << 10)}, 40), nil, nil},
		"full batches":     {nil, slices.Repeat([]messages.Message{*blob(4 << 10)}, 400), nil, nil},
		"chosen by a user": {func(c *Config) { c.Partitioner = Manual(func(*messages.Message, int) int { return 0 }) }, slices.Repeat([]messages.Message{*text("a")}, 20), nil, nil},
		"through middleware": {
			nil, slices.Repeat([]messages.Message{*text("a")}, 20),
			func(ctx context.Context, m messages.Message, next messages.Send) error { return next(ctx, m) }, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(max(1, len(test.want)))
			stop := f.run(t)
			for _, a := range f.accs {
				asleep(a)
			}
			p := f.producer(test.change)
			if _, err := p.PutEach(within(t), test.msgs, test.through); err != nil {
				t.Fatal(err)
			}
			stop()
			total := 0
			for i, l := range f.logs {
				total += len(l.records(t))
				if test.want != nil && !slices.Equal(counts(l), test.want[i]) {
					t.Errorf("partition %d: batches of %v, want %v", i, counts(l), test.want[i])
				}
			}
			if total != len(test.msgs) {
				t.Errorf("%d records, want %d", total, len(test.msgs))
			}
		})
	}
}

// asleep waits until the append loop of a sleeps.
func asleep(a *Accumulator) {
	for {
		a.mu.Lock()
		asleep := a.asleep
		a.mu.Unlock()
		if asleep {
			return
		}
		runtime.Gosched()
	}
}

// What waits for the rest of a call goes with the record of somebody else.
func TestPutEachHoldsUpNobody(t *testing.T) {
	f := newFakeTopic(1)
	f.run(t)
	a := f.accs[0]
	asleep(a)
	p := f.producer(nil)
	first, second := &tally{results: make([]messages.PutResult, 1), left: 1, done: make(chan struct{})}, new(sleepers)
	if _, err := p.takeInto(within(t), first, 0, text("a"), second); err != nil {
		t.Fatal(err)
	}
	if len(second.all) != 1 {
		t.Fatal("nobody is to be woken")
	}
	if r := p.Put(within(t), text("b")); r.Err != nil || r.Offset != 1 {
		t.Errorf("%+v", r)
	}
	<-first.done
	second.ring()
	if r := p.Put(within(t), text("c")); r.Err != nil || r.Offset != 2 {
		t.Errorf("after one ring too many: %+v", r)
	}
}

func TestPutEachOfWhichAPartFails(t *testing.T) {
	f := newFakeTopic(2)
	f.logs[1].before = func(context.Context) error { return messages.ErrNoSpace }
	f.run(t)
	p := f.producer(func(c *Config) { c.Partitioner = RoundRobin() })
	rs, err := p.PutEach(within(t), slices.Repeat([]messages.Message{*text("a")}, 10), nil)
	if !errors.Is(err, messages.ErrNoSpace) || strings.Count(err.Error(), "put to") != 1 {
		t.Errorf("%v", err)
	}
	for i, r := range rs {
		if (r.Err == nil) != (i%2 == 0) || r.Partition != i%2 {
			t.Errorf("message %d: %+v", i, r)
		}
	}
	if f.failures() != 5 {
		t.Errorf("%d failures in events", f.failures())
	}
}

func TestPutEachWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := gated(f.logs[0])
		f.run(t)
		p := f.producer(bounded(700))
		ctx, cancel := context.WithCancelCause(t.Context())
		var msgs []messages.Message
		for range 5 {
			msgs = append(msgs, *blob(400))
		}
		var rs []messages.PutResult
		done := make(chan error)
		go func() {
			var err error
			rs, err = p.PutEach(ctx, msgs, nil)
			done <- err
		}()
		synctest.Wait() // the first is on its way, and no room for another
		gate <- struct{}{}
		synctest.Wait() // so is the second
		cancel(errGivenUp)
		err := <-done
		if !errors.Is(err, errGivenUp) || !errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("%v", err)
		}
		for i, r := range rs {
			unknown := errors.Is(r.Err, messages.ErrUnknownOutcome)
			if (r.Err == nil) != (i == 0) || unknown != (i == 1) {
				t.Errorf("message %d: %+v", i, r)
			}
		}
		kept := slices.Clone(rs)
		gate <- struct{}{}
		synctest.Wait()
		if !slices.Equal(kept, rs) {
			t.Errorf("results changed after they were answered: %+v", rs)
		}
	})
}

// Handles share the batches, and each has its own room and partitions in mind.
func TestHandlesShareBatches(t *testing.T) {
	f := newFakeTopic(1)
	a, b := f.producer(bounded(1000)), f.producer(bounded(2000))
	got := map[*Producer]*results{a: {}, b: {}}
	for i := range 3 {
		for _, p := range []*Producer{a, b} {
			if err := p.PutAsync(t.Context(), blob(250), nil); err != nil {
				t.Fatal(i, err)
			}
			if err := p.PutAsync(t.Context(), text(""), got[p].add); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	f.run(t)
	for _, p := range []*Producer{a, b} {
		if err := p.Flush(within(t)); err != nil || p.buffered() != 0 {
			t.Errorf("%d bytes left: %v", p.buffered(), err)
		}
	}
	if len(f.logs[0].batches) != 1 || f.logs[0].end != 12 {
		t.Errorf("batches of %v", counts(f.logs[0]))
	}
	for at, p := range []*Producer{a, b} {
		for i, r := range got[p].list() {
			if r.Offset != int64(4*i+2*at+1) {
				t.Errorf("result %d of producer %d: %+v", i, at, r)
			}
		}
	}
}

func TestTheEndOfATopicEndsItsPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gated(f.logs[0])
		f.run(t)
		p := f.producer(bounded(1000))
		if err := p.PutAsync(t.Context(), blob(900), nil); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() { waiting <- p.Put(t.Context(), blob(900)).Err }()
		synctest.Wait()
		if !p.ending.End(messages.ErrTopicDeleted) || p.ending.End(messages.ErrClosed) {
			t.Error("the first end counts")
		}
		if err := <-waiting; !errors.Is(err, messages.ErrTopicDeleted) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("waiting for room at the end: %v", err)
		}
		if r := p.Put(t.Context(), text("a")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
			t.Errorf("put after the end: %v", r.Err)
		}
		f.accs[0].Close(messages.ErrTopicDeleted)
		if err := p.Flush(t.Context()); !errors.Is(err, messages.ErrTopicDeleted) || p.buffered() != 0 {
			t.Errorf("%d bytes left: %v", p.buffered(), err)
		}
	})
}

// A topic that grows while it is used; and a producer without keys that uses all
// of its partitions when one is slow.
func TestAllPartitionsAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(4)
		f.settings.Config.Partitions = 2
		var gates []chan struct{}
		for _, l := range f.logs {
			gates = append(gates, gated(l))
		}
		f.run(t)
		p := f.producer(nil)
		put := func(n int) {
			t.Helper()
			for range n {
				if err := p.PutAsync(t.Context(), text("a"), nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		put(10)
		f.settings.Config.Partitions = 4
		used := func() (n []uint64) {
			for _, a := range f.accs {
				n = append(n, a.Counters().Records)
			}
			return n
		}
		before := used()
		if before[0] == 0 || before[1] == 0 || before[2]+before[3] > 0 {
			t.Errorf("of 2 partitions: %v", before)
		}
		gates[0] <- struct{}{}
		gates[1] <- struct{}{}
		put(20)
		if n := used(); slices.Contains(n, 0) {
			t.Errorf("of 4 partitions: %v", n)
		}
		for _, g := range gates {
			close(g)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
