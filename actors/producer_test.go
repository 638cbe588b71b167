package actors

// Room, partitions and fates of what one handle puts.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// bounded makes producers with that much room.
func bounded(bytes int) func(*ProducerConfig) {
	return func(c *ProducerConfig) { c.MaxBuffer = bytes }
}

// blob is a message whose record has exactly size bytes, 200 to 4,096.
func blob(size int) *messages.Message {
	m := &messages.Message{Value: make([]byte, size-6)}
	for messages.RecordSize(m) != size {
		m.Value = make([]byte, len(m.Value)+size-messages.RecordSize(m))
	}
	return m
}

// gated lets appends pass one by one.
func gated(l *fakeLog) chan struct{} {
	gate := make(chan struct{})
	l.before = func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return gate
}

var errGivenUp = errors.New("given up")

func TestPutAnswersWhereTheRecordIs(t *testing.T) {
	f := newFakeTopic(3)
	f.run(t)
	p := f.producer(func(c *ProducerConfig) { c.Partitioner = RoundRobin() })
	for i := range 9 {
		want := messages.PutResult{Partition: i % 3, Offset: int64(i / 3)}
		if r := p.put(within(t), text(fmt.Sprint(i))); r != want {
			t.Errorf("put %d: %+v, want %+v", i, r, want)
		}
	}
	if r := p.putTo(within(t), 2, text("named")); r != (messages.PutResult{Partition: 2, Offset: 3}) {
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
			p := f.producer(func(c *ProducerConfig) { c.Partitioner = tc.by })
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
			r := p.put(ctx, tc.m)
			check(r.Err)
			if r.Offset != -1 {
				t.Errorf("offset %d of what was not put", r.Offset)
			}
			check(p.putAsync(ctx, tc.m, func(messages.PutResult) { t.Error("told of what was refused") }))
			_, err := p.putBatch(ctx, []messages.Message{*tc.m})
			check(err)
			if err := p.flush(within(t)); err != nil {
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
		if r := p.putTo(t.Context(), part, text("a")); !errors.Is(r.Err, messages.ErrNoPartition) {
			t.Errorf("put to partition %d of 2: %v", part, r.Err)
		}
	}
	p.at = func(int) (*accumulator, error) { return nil, messages.ErrTopicDeleted }
	if r := p.put(t.Context(), text("a")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
		t.Errorf("put to a topic that is gone: %v", r.Err)
	}
}

// A context that ends tells whether the record was taken.
func TestAPutWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := gated(f.logs[0])
		f.run(t)
		p := f.producer(bounded(1000))
		put := func() (cancel context.CancelCauseFunc, fate chan error) {
			ctx, cancel := context.WithCancelCause(t.Context())
			fate = make(chan error, 1)
			go func() { fate <- p.put(ctx, blob(600)).Err }()
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
		if err := p.flush(t.Context()); err != nil {
			t.Errorf("its fate is not flush's to tell: %v", err)
		}
		if f.logs[0].end != 1 || p.buffered() != 0 {
			t.Errorf("%d records in the log, %d bytes left", f.logs[0].end, p.buffered())
		}
		// The waiter that was given up is not used for another record.
		go func() { gate <- struct{}{} }()
		if r := p.put(t.Context(), text("next")); r != (messages.PutResult{Offset: 1}) {
			t.Errorf("the next put: %+v", r)
		}
	})
}

// Who waits for room gets it in turn: a small record does not pass a large one,
// and goes on when the large one gives up.
func TestRoomIsGivenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		over := make(chan struct{})
		c.init(100, over, nil)
		order := make(chan string, 10)
		want := func(name string, n int64) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if err := c.take(ctx, n); err != nil {
					name += " not"
				}
				order <- name
			}()
			synctest.Wait()
			return cancel
		}
		expect := func(names ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for len(order) > 0 {
				got = append(got, <-order)
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("served: %q, want %q", got, names)
			}
		}
		defer want("first", 90)()
		expect("first")
		giveUp := want("large", 80)
		defer want("small", 5)()
		expect()
		giveUp()
		expect("large not", "small")
		defer want("larger", 60)()
		defer want("last", 1)()
		c.give(90) // 95 are free
		expect("larger", "last")
		defer want("nobody's", 50)()
		expect()
		close(over)
		expect("nobody's not")
		c.give(66)
		if c.used() != 0 || c.waiting.Load() != 0 {
			t.Errorf("%d bytes lost, %d waiting", c.used(), c.waiting.Load())
		}
	})
}

// Room that is granted at the very moment when its context ends is either used or
// given back.
func TestRoomGrantedTooLateIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c credit
		c.init(10, nil, nil)
		for range 200 {
			if err := c.take(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan error, 1)
			go func() { got <- c.take(ctx, 10) }()
			synctest.Wait()
			cancel()
			c.give(10)
			if err := <-got; err == nil {
				c.give(10)
			}
			if c.used() != 0 {
				t.Fatalf("%d bytes are lost", c.used())
			}
		}
	})
}

// The bound holds, nothing is lost and nobody starves, with many who put records
// of all sizes and give up now and then.
func TestManyPutsInLittleRoom(t *testing.T) {
	f := newFakeTopic(4)
	f.run(t)
	const room, goroutines, each = 4 << 10, 8, 300
	p := f.producer(bounded(room))
	var most, put atomic.Int64
	for _, l := range f.logs {
		l.before = func(context.Context) error {
			for {
				seen, now := most.Load(), p.buffered()
				if now <= seen || most.CompareAndSwap(seen, now) {
					return nil
				}
			}
		}
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range each {
				ctx, cancel := context.WithCancelCause(within(t))
				if rnd.IntN(5) == 0 {
					go cancel(errGivenUp)
				}
				err := p.putAsync(ctx, blob(200+rnd.IntN(room-200)), nil)
				cancel(nil)
				switch {
				case err == nil:
					put.Add(1)
				case !errors.Is(err, errGivenUp):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := p.flush(within(t)); err != nil {
		t.Fatal(err)
	}
	var end int64
	for _, l := range f.logs {
		end += l.end
	}
	if end != put.Load() || p.buffered() != 0 || most.Load() > room {
		t.Errorf("%d put, %d in the logs; %d bytes left, at most %d of %d taken", put.Load(), end, p.buffered(), most.Load(), room)
	}
}

func TestPutBatchAnswersEachMessage(t *testing.T) {
	f := newFakeTopic(3)
	f.settings.Config.MaxRecordBytes = 1000
	f.run(t)
	p := f.producer(func(c *ProducerConfig) {
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
	rs, err := p.putBatch(within(t), msgs)
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
	if rs, err := p.putBatch(within(t), nil); rs != nil || err != nil {
		t.Errorf("a batch of nothing: %v, %v", rs, err)
	}
}

// One partition of a batch may fail alone, and its error comes once.
func TestPutBatchOfWhichAPartFails(t *testing.T) {
	f := newFakeTopic(2)
	f.logs[1].before = func(context.Context) error { return messages.ErrNoSpace }
	f.run(t)
	p := f.producer(func(c *ProducerConfig) { c.Partitioner = RoundRobin() })
	rs, err := p.putBatch(within(t), slices.Repeat([]messages.Message{*text("a")}, 10))
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

func TestPutBatchWhoseContextEnds(t *testing.T) {
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
			rs, err = p.putBatch(ctx, msgs)
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

// A callback may put the next record although there is no room left: its own was
// given back.
func TestACallbackPutsTheNext(t *testing.T) {
	f := newFakeTopic(1)
	f.run(t)
	p := f.producer(bounded(1000))
	ctx := within(t)
	done := make(chan struct{})
	var again func(r messages.PutResult)
	again = func(r messages.PutResult) {
		if r.Offset == 50 || r.Err != nil {
			close(done)
		} else if err := p.putAsync(ctx, blob(1000), again); err != nil {
			t.Error(err)
			close(done)
		}
	}
	if err := p.putAsync(ctx, blob(1000), again); err != nil {
		t.Fatal(err)
	}
	<-done
	if f.logs[0].end != 51 {
		t.Errorf("%d records", f.logs[0].end)
	}
}

// A callback that panics harms nobody, and flush says so. One that ends its
// goroutine ends the loop, and the next loop goes on behind it.
func TestCallbacksThatFail(t *testing.T) {
	f := newFakeTopic(1)
	p := f.producer(nil)
	var got results
	for i := range 10 {
		if err := p.putAsync(t.Context(), text("a"), func(r messages.PutResult) {
			got.add(r)
			switch i {
			case 3, 4:
				panic(errGivenUp)
			case 6:
				runtime.Goexit()
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t)
	err := p.flush(within(t))
	var panicked *supervisor.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, errGivenUp) || !strings.Contains(err.Error(), "2 records") {
		t.Errorf("flush answers %v", err)
	}
	if panicked != nil && !strings.Contains(string(panicked.Stack), "producer_test.go") {
		t.Errorf("the stack does not lead to the callback:\n%s", panicked.Stack)
	}
	for i, r := range got.list() {
		if want := (messages.PutResult{Offset: int64(i)}); r != want {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if n := len(got.list()); n != 10 || len(f.logs[0].sent) != 1 {
		t.Errorf("%d told, %d batches sent", n, len(f.logs[0].sent))
	}
	if err := p.flush(within(t)); err != nil {
		t.Errorf("told twice: %v", err)
	}
}

func TestFlushAnswersWhatNobodyHeard(t *testing.T) {
	f := newFakeTopic(1)
	f.logs[0].before = func(context.Context) error { return messages.ErrNoSpace }
	f.run(t)
	p, other := f.producer(nil), f.producer(nil)
	for range 5 {
		if err := p.putAsync(t.Context(), text("a"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.putAsync(t.Context(), text("a"), func(messages.PutResult) {}); err != nil {
		t.Fatal(err)
	}
	if err := other.flush(within(t)); err != nil {
		t.Errorf("another handle's flush: %v", err)
	}
	if err := p.flush(within(t)); !errors.Is(err, messages.ErrNoSpace) || !strings.Contains(err.Error(), "5 records") {
		t.Errorf("flush: %v", err)
	}
	if err := p.flush(within(t)); err != nil {
		t.Errorf("the flush after it: %v", err)
	}
}

func TestWhatFlushMightHearIsBounded(t *testing.T) {
	p := newFakeTopic(1).producer(nil)
	for i := range 3 * faultsKept {
		p.unheard(fmt.Errorf("fault %d: %w", i, messages.ErrDenied), 2)
	}
	err := p.flush(t.Context())
	if lines := strings.Count(err.Error(), "\n") + 1; lines != faultsKept+1 || !strings.Contains(err.Error(), fmt.Sprintf("%d records more", 4*faultsKept)) || !errors.Is(err, messages.ErrDenied) {
		t.Errorf("%d lines: %v", lines, err)
	}
}

func TestFlushWaitsForWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(2)
		gate := gated(f.logs[1])
		f.run(t)
		p := f.producer(func(c *ProducerConfig) { c.Partitioner = RoundRobin() })
		put := func() {
			t.Helper()
			if err := p.putAsync(t.Context(), text("a"), nil); err != nil {
				t.Fatal(err)
			}
		}
		put()
		put()
		flushed := make(chan error, 1)
		go func() { flushed <- p.flush(t.Context()) }()
		synctest.Wait()
		put()
		put() // the next batch of partition 1
		if len(flushed) > 0 {
			t.Fatal("flushed before everything was committed")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGivenUp)
		if err := p.flush(ctx); !errors.Is(err, errGivenUp) || !strings.Contains(err.Error(), "bytes are not committed") {
			t.Errorf("a flush that was given up: %v", err)
		}
		gate <- struct{}{}
		synctest.Wait()
		if len(flushed) == 0 {
			t.Fatal("waits for what was put after it")
		}
		if err := <-flushed; err != nil {
			t.Error(err)
		}
	})
}

// Handles share the batches, and each has its own room and partitions in mind.
func TestHandlesShareBatches(t *testing.T) {
	f := newFakeTopic(1)
	a, b := f.producer(bounded(1000)), f.producer(bounded(2000))
	got := map[*producer]*results{a: {}, b: {}}
	for i := range 3 {
		for _, p := range []*producer{a, b} {
			if err := p.putAsync(t.Context(), blob(250), nil); err != nil {
				t.Fatal(i, err)
			}
			if err := p.putAsync(t.Context(), text(""), got[p].add); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	f.run(t)
	for _, p := range []*producer{a, b} {
		if err := p.flush(within(t)); err != nil || p.buffered() != 0 {
			t.Errorf("%d bytes left: %v", p.buffered(), err)
		}
	}
	if len(f.logs[0].batches) != 1 || f.logs[0].end != 12 {
		t.Errorf("batches of %v", counts(f.logs[0]))
	}
	for at, p := range []*producer{a, b} {
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
		if err := p.putAsync(t.Context(), blob(900), nil); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() { waiting <- p.put(t.Context(), blob(900)).Err }()
		synctest.Wait()
		if !p.ending.end(messages.ErrTopicDeleted) || p.ending.end(messages.ErrClosed) {
			t.Error("the first end counts")
		}
		if err := <-waiting; !errors.Is(err, messages.ErrTopicDeleted) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("waiting for room at the end: %v", err)
		}
		if r := p.put(t.Context(), text("a")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
			t.Errorf("put after the end: %v", r.Err)
		}
		f.accs[0].close(messages.ErrTopicDeleted)
		if err := p.flush(t.Context()); !errors.Is(err, messages.ErrTopicDeleted) || p.buffered() != 0 {
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
				if err := p.putAsync(t.Context(), text("a"), nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		put(10)
		f.settings.Config.Partitions = 4
		used := func() (n []uint64) {
			for _, a := range f.accs {
				n = append(n, a.counters().Records)
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
		if err := p.flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// discard is a log that has everything at once.
func discard() (func(context.Context, *format.Sealed, bool) (int64, error), func(int64, *format.Sealed)) {
	var end int64
	return func(_ context.Context, s *format.Sealed, _ bool) (int64, error) {
		base := end
		end += int64(s.Count)
		return base, nil
	}, func(int64, *format.Sealed) {}
}

// discarding is a producer whose topic has everything at once, while run is on.
func discarding(partitions int) (p *producer, run func() (stop func())) {
	f := newFakeTopic(partitions)
	info := new(atomic.Pointer[messages.TopicInfo])
	info.Store(&f.settings)
	run = func() (stop func()) {
		ctx, cancel := context.WithCancelCause(context.Background())
		var loops sync.WaitGroup
		for _, a := range f.accs {
			commit, committed := discard()
			loops.Go(func() { _ = a.run(ctx, commit, committed) })
		}
		return func() { cancel(errStopped); loops.Wait() }
	}
	var cfg ProducerConfig
	cfg.EnsureDefaults()
	return newProducer(cfg, func() int { return info.Load().Config.Partitions }, f.at,
		info.Load, newEnding(), hosted), run
}

func TestPutAsyncAllocatesNothing(t *testing.T) {
	p, run := discarding(4)
	m := messages.Message{Value: make([]byte, 64)}
	var told atomic.Int64
	const records = 50_000
	for name, done := range map[string]func(messages.PutResult){
		"with a callback": func(messages.PutResult) { told.Add(1) },
		"without":         nil,
	} {
		allocs := testing.AllocsPerRun(5, func() {
			for range records {
				if err := p.putAsync(t.Context(), &m, done); err != nil {
					t.Fatal(err)
				}
			}
			defer run()()
			if err := p.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if each := allocs / records; each > 0.01 {
			t.Errorf("%s: %g allocations a record", name, each)
		}
	}
	if told.Load() != 6*records {
		t.Errorf("%d told of %d", told.Load(), 6*records)
	}
}

func BenchmarkPutAsync(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p, run := discarding(4)
			defer run()()
			m := messages.Message{Value: make([]byte, size)}
			for i := range m.Value {
				m.Value[i] = byte(rand.Uint32())
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.putAsync(b.Context(), &m, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
