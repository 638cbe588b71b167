package prefetch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Promise: whatever order readers come in, Poll and the loop hand out each record
// until it is finished, and a loop allocates nothing for a record.

func TestBufferPoll(t *testing.T) {
	newOne := func(t *testing.T) (*Buffer, *paperConsumer) {
		s, _ := newTestBuffer(Config{})
		return s, holdPaper(s, smallLog, 0, 10, 0)
	}
	poll := func(t *testing.T, s *Buffer, limit int) []messages.Record {
		t.Helper()
		got, err := s.Poll(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("finishes the last", func(t *testing.T) {
		s, a := newOne(t)
		var got []messages.Record
		for int64(len(got)) < smallLog.End(0, 10) {
			if at := s.Finished(a.c); at > int64(len(got)) {
				t.Fatalf("%d finished, %d handed out", at, len(got))
			}
			some := poll(t, s, 2)
			if len(some) > 2 {
				t.Fatalf("%d records, 2 were wanted", len(some))
			}
			if at := s.Finished(a.c); at != int64(len(got)) {
				t.Fatalf("%d finished, %d were handed out before", at, len(got))
			}
			got = append(got, some...)
			settleAll(s, a)
		}
		wantOffsets(t, "all", offsetsOf(0, got), upToOffset(0, smallLog.End(0, 10)))
	})
	t.Run("gives back", func(t *testing.T) {
		s, a := newOne(t)
		poll(t, s, 2)
		got := poll(t, s, 3) // finishes 0 and 1
		for range 2 {        // the second time there is nothing
			if err := s.ReleasePolled(); err != nil {
				t.Fatal(err)
			}
		}
		again := poll(t, s, 3)
		wantOffsets(t, "again", offsetsOf(0, again), offsetsOf(0, got))
		if at := s.Finished(a.c); at != 2 || again[0].Attempt != 1 {
			t.Errorf("%d finished, attempt %d", at, again[0].Attempt)
		}
		if _, _, err := s.Ask(again[:1]); err != nil {
			t.Fatal(err)
		}
		if err := s.ReleasePolled(); err != nil {
			t.Fatal(err)
		}
		if rest := poll(t, s, 1); rest[0].Offset != again[1].Offset {
			t.Errorf("offset %d after a commit of %d", rest[0].Offset, again[0].Offset)
		}
		s.reading = true
		if err := s.ReleasePolled(); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("while another reads: %v", err)
		}
	})
	t.Run("then a loop", func(t *testing.T) {
		s, _ := newOne(t)
		got := poll(t, s, 1)
		for r, err := range s.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
			break
		}
		wantOffsets(t, "both", offsetsOf(0, got), []int64{0, 1})
	})
	t.Run("then seek back", func(t *testing.T) {
		s, a := newOne(t)
		poll(t, s, 3)
		a.withdraw(s)
		s.Seek(a.c, 0, 0)
		settleAll(s, a)
		s.SettlePolled(true)
		settleAll(s, a)
		wantOffsets(t, "again", offsetsOf(0, poll(t, s, 1)), []int64{0})
	})
	t.Run("left meanwhile", func(t *testing.T) {
		s, a := newOne(t)
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		cur, _ := inHand(t, s) // as a Poll does, and
		s.polled = append(s.polled, cur)
		s.Leave(Leaving, nil)
		s.Release(a.c)
		s.Finish()
		settleAll(s, a)
		if !a.idle || s.Finished(a.c) != 0 {
			t.Errorf("idle: %v, finished: %d", a.idle, s.Finished(a.c))
		}
	})
	t.Run("refusals", func(t *testing.T) {
		s, _ := newOne(t)
		if _, err := s.Poll(t.Context(), 0); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("none: %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		cancel(why)
		if _, err := s.Poll(ctx, 1); !errors.Is(err, why) {
			t.Errorf("a context that is over: %v", err)
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Poll(t.Context(), 1); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("a second reader: %v", err)
		}
		s.Finish()
		s.Leave(Left, messages.ErrTopicDeleted)
		if _, err := s.Poll(t.Context(), 1); !errors.Is(err, messages.ErrTopicDeleted) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestRecordsLoop(t *testing.T) {
	t.Run("a broken loop hands its record back", func(t *testing.T) {
		s, a := tenBatches(t)
		var got []messages.Record
		for range 5 {
			for r, err := range s.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r)
				if r.Offset == got[0].Offset+2 {
					break
				}
				if len(got) > 50 {
					t.Fatal("on and on")
				}
				settleAll(s, a)
				if len(got)%4 == 3 {
					break
				}
			}
		}
		for i := 1; i < len(got); i++ {
			if d := got[i].Offset - got[i-1].Offset; d != 0 && d != 1 {
				t.Fatalf("offset %d after %d", got[i].Offset, got[i-1].Offset)
			}
		}
	})
	t.Run("so does one that panics", func(t *testing.T) {
		s, _ := tenBatches(t)
		func() {
			defer func() { _ = recover() }()
			for range s.Records(t.Context()) {
				panic("in the loop")
			}
		}()
		for r, err := range s.Records(t.Context()) {
			if err != nil || r.Offset != 0 {
				t.Fatalf("offset %d, %v", r.Offset, err)
			}
			break
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		s, _ := tenBatches(t)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		n := 0
		var last error
		for _, err := range s.Records(ctx) {
			n, last = n+1, err
			cancel(why)
		}
		if n != 2 || !errors.Is(last, why) {
			t.Fatalf("%d rounds, %v", n, last)
		}
		// The record before the end was handled: the body went through it.
		if at := s.Finished(s.claims[0]); at != 1 {
			t.Errorf("%d finished, want 1", at)
		}
	})
	t.Run("ends silently", func(t *testing.T) {
		s, _ := tenBatches(t)
		n := 0
		for _, err := range s.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			s.Leave(Leaving, nil)
		}
		for range s.Records(t.Context()) {
			t.Error("a loop after the end had something")
		}
		if n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
	t.Run("says why it ended", func(t *testing.T) {
		s, _ := tenBatches(t)
		for range 2 {
			var last error
			for _, err := range s.Records(t.Context()) {
				last = err
				s.Leave(Left, messages.ErrTopicDeleted)
			}
			if !errors.Is(last, messages.ErrTopicDeleted) {
				t.Errorf("%v", last)
			}
		}
	})
	t.Run("waits", func(t *testing.T) {
		s, a := tenBatches(t)
		got := make(chan messages.Record)
		var loop sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		loop.Go(func() {
			for r, err := range s.Records(ctx) {
				if err != nil {
					return
				}
				select {
				case got <- r:
				case <-ctx.Done(): // the batch may have more than is awaited
				}
			}
		})
		await := func(want int64) {
			t.Helper()
			select {
			case r := <-got:
				if r.Offset != want {
					t.Fatalf("offset %d, want %d", r.Offset, want)
				}
			case <-time.After(patience):
				t.Fatalf("offset %d did not come", want)
			}
		}
		end := smallLog.End(0, *a.have)
		for o := range end {
			await(o)
		}
		// A batch comes while the loop waits.
		s.mu.Lock()
		next := smallLog.Batch(0, *a.have)
		s.mu.Unlock()
		s.Fill(a.c, []*format.Batch{next}, 0)
		await(end)
		cancel()
		loop.Wait()
	})
	t.Run("a record that does not decode", func(t *testing.T) {
		s, _ := newTestBuffer(Config{})
		c := &Claim{Partition: 0, Fence: 5, Lease: theLease}
		s.Add(c, Place{Written: true})
		var told []Notice
		s.Attach(c, func(m Notice) { told = append(told, m) })
		raw := slices.Clone(smallLog.Batch(0, 0).Raw)
		s.Fill(c, []*format.Batch{{Base: 0, Count: 2, Raw: append(raw[:0:0], 0xff, 0xff, 0xff)}}, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.mu.Lock()
		line := len(s.line)
		s.mu.Unlock()
		if line != 1 {
			t.Fatal("the batch is not in the line")
		}
		cur, _, _ := s.tryTake()
		var rec messages.Record
		if next, err := s.nextRecord(ctx, cur, &rec); next != nil || err == nil {
			t.Fatalf("got %+v, %v", next, err)
		}
		if len(told) == 0 {
			t.Fatal("its consumer does not know")
		}
		if m, ok := told[0].(Stalled); !ok || m.Offset != 0 || !errors.Is(m.Err, messages.ErrCorrupt) {
			t.Fatalf("its consumer was told %+v", told[0])
		}
		if _, _, open := s.Next(c); open || s.Finished(c) != 0 {
			t.Error("a stalled claim goes on")
		}
		s.Seek(c, 2, -1)
		if offset, _, open := s.Next(c); !open || offset != 2 {
			t.Errorf("Seek goes on at %d, %v", offset, open)
		}
	})
}

func TestRecordsLoopAllocatesNothingForARecord(t *testing.T) {
	const batches, count = 4, 4096
	s, _ := newTestBuffer(Config{})
	c := &Claim{Partition: 0, Fence: 5, Lease: theLease}
	s.Add(c, Place{Written: true})
	var log []*format.Batch
	for i := range batches {
		b := &format.Batch{Base: int64(i * count), Count: count, Time: 1}
		for range count {
			b.Raw = messages.AppendRecord(b.Raw, &messages.Message{Key: []byte("key"), Value: []byte("value")})
		}
		log = append(log, b)
	}
	ctx := t.Context()
	got := 0
	perRun := testing.AllocsPerRun(5, func() {
		s.Seek(c, 0, 0)
		s.Fill(c, log, fetchBytes)
		n := 0
		for r, err := range s.Records(ctx) {
			if err != nil || r.Offset != int64(n) {
				t.Fatalf("offset %d, %v; want %d", r.Offset, err, n)
			}
			if n++; n == batches*count {
				break
			}
		}
		got += n
	})
	if got == 0 {
		t.Fatal("nothing was read")
	}
	if per := perRun / (batches * count); per > 0.01 {
		t.Errorf("%.4f allocations for a record", per)
	}
}

// What a record costs: a loop, a handler of each one after the other, and one of several
// at once, though alone.
func BenchmarkRecords(b *testing.B) {
	const batches, count = 4, 4096
	var log []*format.Batch
	for i := range batches {
		batch := &format.Batch{Base: int64(i * count), Count: count, Time: 1}
		for k := range count {
			batch.Raw = messages.AppendRecord(batch.Raw, &messages.Message{Key: []byte{'k', byte(k % 50)}, Value: []byte("value")})
		}
		log = append(log, batch)
	}
	consume := func(ctx context.Context, s *Buffer) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		n := 0
		_ = NewConsumption(ctx, s, func(context.Context, messages.Record) error {
			if n++; n == batches*count {
				cancel()
			}
			return nil
		}).Work(ctx)
		s.Finish()
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		read func(ctx context.Context, s *Buffer)
	}{
		{"loop", Config{}, func(ctx context.Context, s *Buffer) {
			n := 0
			for range s.Records(ctx) {
				if n++; n == batches*count {
					break
				}
			}
		}},
		{"handler", Config{}, consume},
		{"concurrency", Config{Concurrency: 1}, consume},
	} {
		b.Run(tc.name, func(b *testing.B) {
			s, _ := newTestBuffer(tc.cfg)
			c := &Claim{Partition: 0, Fence: 5, Lease: theLease}
			s.Add(c, Place{Written: true})
			b.ReportAllocs()
			for b.Loop() {
				s.Seek(c, 0, 0)
				s.Fill(c, log, fetchBytes)
				tc.read(b.Context(), s)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(batches*count), "ns/record")
		})
	}
}
