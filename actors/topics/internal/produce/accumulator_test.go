package produce

// What is put is appended in order, told of once, and survives the end of the
// loop that appends it.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

func TestWhatComesMeanwhileIsTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		gate := make(chan struct{})
		f.logs[0].before = func(context.Context) error { <-gate; return nil }
		f.run(t)
		p := f.producer(nil)
		var got results
		for i := range 100 {
			if err := p.PutAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // it is on its way
			}
		}
		gate <- struct{}{}
		gate <- struct{}{}
		synctest.Wait()
		if log := f.logs[0]; len(log.batches) != 2 || log.batches[0].Count != 1 || log.batches[1].Count != 99 {
			t.Errorf("batches of %v, want the first record alone and all others together", counts(log))
		}
		for i, r := range got.list() {
			if want := (messages.PutResult{Offset: int64(i)}); r != want {
				t.Errorf("result %d is %+v", i, r)
			}
		}
		if more := f.logs[0].more; more[0] || more[1] {
			t.Errorf("told of more to come: %v", more)
		}
		if n := f.accs[0].Counters(); n.Appends != 2 || n.Committed != 100 || n.Records != 100 || n.Queued != 0 || n.Failed != 0 || n.Appended.IsZero() {
			t.Errorf("counted %+v", n)
		}
		if !f.accs[0].idle() || p.buffered() != 0 {
			t.Errorf("something is left: %d bytes", p.buffered())
		}
	})
}

func TestABatchIsFull(t *testing.T) {
	large := func(n int) *messages.Message { return &messages.Message{Value: make([]byte, n)} }
	const alone = messages.MaxBatchBytes + 1
	for name, tc := range map[string]struct {
		put  []*messages.Message
		want []int
	}{
		"at its records":         {slices.Repeat([]*messages.Message{text("")}, 2*messages.MaxBatchRecords+1), []int{messages.MaxBatchRecords, messages.MaxBatchRecords, 1}},
		"at its bytes":           {slices.Repeat([]*messages.Message{large(100 << 10)}, 12), []int{5, 5, 2}},
		"before a larger record": {[]*messages.Message{text("a"), large(alone), text("b"), text("c")}, []int{1, 1, 2}},
		"by a larger record":     {[]*messages.Message{large(alone), large(alone)}, []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(1)
			p := f.producer(nil)
			for _, m := range tc.put {
				if err := p.PutAsync(t.Context(), m, nil); err != nil {
					t.Fatal(err)
				}
			}
			f.run(t)
			if err := p.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			if got := counts(f.logs[0]); !slices.Equal(got, tc.want) {
				t.Errorf("batches of %v, want %v", got, tc.want)
			}
			want := slices.Repeat([]bool{true}, len(tc.want))
			want[len(want)-1] = false
			if got := f.logs[0].more; !slices.Equal(got, want) {
				t.Errorf("told of more to come: %v, want %v", got, want)
			}
			for _, b := range f.logs[0].batches {
				if b.Raw > messages.MaxBatchBytes && b.Count > 1 {
					t.Errorf("%d records in %d bytes", b.Count, b.Raw)
				}
			}
		})
	}
}

// stuck begins a loop whose first append hangs, with one record in flight and
// some behind it.
func stuck(t *testing.T, f *fakeTopic, p *Producer, behind int) (got *results, release chan error) {
	t.Helper()
	release = make(chan error)
	f.logs[0].after = func(context.Context) error { return <-release }
	got = &results{}
	for i := range 1 + behind {
		if err := p.PutAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	return got, release
}

func TestCloseWithABatchInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		stop := f.run(t)
		p := f.producer(nil)
		got, release := stuck(t, f, p, 3)
		f.accs[0].Close(messages.ErrClosed)
		synctest.Wait()
		all := got.list()
		if len(all) != 4 {
			t.Fatalf("%d were told, want all", len(all))
		}
		for i, r := range all {
			if unknown := errors.Is(r.Err, messages.ErrUnknownOutcome); !errors.Is(r.Err, messages.ErrClosed) || unknown != (i == 0) {
				t.Errorf("result %d: %v", i, r.Err)
			}
		}
		if err := p.PutAsync(t.Context(), text("late"), nil); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("a put to what is closed: %v", err)
		}
		release <- nil // in the log after all: nobody is told anything else
		synctest.Wait()
		if errs := stop(); errs[0] != nil {
			t.Errorf("the loop answers %v", errs[0])
		}
		if again := got.list(); len(again) != 4 {
			t.Errorf("%d results for 4 records", len(again))
		}
		if f.failures() != 4 || f.logs[0].committed != 0 || p.buffered() != 0 {
			t.Errorf("%d failures, %d committed, %d bytes left", f.failures(), f.logs[0].committed, p.buffered())
		}
		f.accs[0].Close(errors.New("other")) // changes nothing
		if err := p.PutAsync(t.Context(), text("late"), nil); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("a put to what is closed twice: %v", err)
		}
	})
}

func TestCloseBeforeAnythingWasSent(t *testing.T) {
	f := newFakeTopic(1)
	var got results
	p := f.producer(nil)
	if err := p.PutAsync(t.Context(), text("a"), got.add); err != nil {
		t.Fatal(err)
	}
	f.accs[0].Close(messages.ErrClosed)
	p.told(t)
	if all := got.list(); len(all) != 1 || !errors.Is(all[0].Err, messages.ErrClosed) || errors.Is(all[0].Err, messages.ErrUnknownOutcome) {
		t.Errorf("told %v", all)
	}
	if err := f.accs[0].Run(within(t), f.logs[0].append, f.logs[0].has); err != nil {
		t.Errorf("a loop of what is closed: %v", err)
	}
	if len(f.logs[0].sent) != 0 {
		t.Errorf("%d batches were sent after the close", len(f.logs[0].sent))
	}
}

// A callback may close; what was told success stays so, and nobody is forgotten.
func TestCloseFromACallback(t *testing.T) {
	f := newFakeTopic(1)
	p := f.producer(nil)
	var got results
	gate := gated(f.logs[0])
	for range messages.MaxBatchRecords + 5 {
		if err := p.PutAsync(t.Context(), text("x"), func(r messages.PutResult) {
			got.add(r)
			if r.Offset == 2 {
				f.accs[0].Close(messages.ErrClosed)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t)
	gate <- struct{}{}
	_ = p.Flush(within(t))
	all := got.list()
	if len(all) != messages.MaxBatchRecords+5 {
		t.Fatalf("%d were told", len(all))
	}
	for i, r := range all {
		if (r.Err == nil) != (i < messages.MaxBatchRecords) {
			t.Fatalf("result %d: %+v", i, r)
		}
	}
}

func TestADeletedTopicClosesTheAccumulator(t *testing.T) {
	f := newFakeTopic(1)
	f.logs[0].before = func(context.Context) error { return fmt.Errorf("append: %w", messages.ErrTopicDeleted) }
	p := f.producer(nil)
	var got results
	for range messages.MaxBatchRecords + 5 {
		if err := p.PutAsync(t.Context(), text("x"), got.add); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.accs[0].Run(within(t), f.logs[0].append, f.logs[0].has); err != nil {
		t.Errorf("the loop answers %v", err)
	}
	p.told(t)
	for i, r := range got.list() {
		if !errors.Is(r.Err, messages.ErrTopicDeleted) || errors.Is(r.Err, messages.ErrUnknownOutcome) {
			t.Fatalf("result %d: %v", i, r.Err)
		}
	}
	if len(f.logs[0].sent) != 1 || f.failures() != messages.MaxBatchRecords+5 {
		t.Errorf("%d appends, %d failures", len(f.logs[0].sent), f.failures())
	}
	if r := p.Put(t.Context(), text("late")); !errors.Is(r.Err, messages.ErrTopicDeleted) {
		t.Errorf("a put after that: %v", r.Err)
	}
}

// The end of the loop leaves the batch on its way, and the next loop sends the
// very same before anything else.
func TestARestartResumesTheSameBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		f.logs[0].after = func(ctx context.Context) error { <-ctx.Done(); return messages.ErrUnknownOutcome }
		stop := f.run(t)
		p := f.producer(nil)
		var got results
		for i := range 3 {
			if err := p.PutAsync(t.Context(), text(fmt.Sprint(i)), got.add); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if errs := stop(); !errors.Is(errs[0], errStopped) {
			t.Errorf("the loop answers %v", errs[0])
		}
		if len(got.list()) != 0 || f.accs[0].idle() {
			t.Errorf("told %v when the loop ended", got.list())
		}
		f.logs[0].after = nil
		f.run(t)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent := f.logs[0].sent; len(sent) != 3 || sent[0] != sent[1] || sent[2] == sent[1] {
			t.Errorf("%d batches sent, want the first twice and the next", len(sent))
		}
		if values := f.logs[0].records(t); fmt.Sprint(values) != "[0 1 2]" {
			t.Errorf("the log has %v", values)
		}
		for i, r := range got.list() {
			if want := (messages.PutResult{Offset: int64(i)}); r != want {
				t.Errorf("result %d is %+v", i, r)
			}
		}
	})
}

// What readers get of a batch is not written over.
func TestBatchesForReadersKeepTheirBytes(t *testing.T) {
	f := newFakeTopic(1)
	type own struct {
		raw, copied []byte
	}
	var kept []own
	f.logs[0].heard = func(base int64, s *format.Sealed) {
		b, err := s.Batch(base)
		if err != nil {
			t.Error(err)
			return
		}
		kept = append(kept, own{b.Raw, bytes.Clone(b.Raw)})
	}
	f.run(t)
	p := f.producer(nil)
	for i := range 200 {
		m := &messages.Message{Value: bytes.Repeat([]byte{byte(i)}, 20<<10)}
		if i%2 == 0 {
			for j := range m.Value {
				m.Value[j] = byte(rand.Uint32()) // which does not pack
			}
		}
		if err := p.PutAsync(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, k := range kept {
		if !bytes.Equal(k.raw, k.copied) {
			t.Fatalf("kept batch %d was written over", i)
		}
	}
}

// A draft is what was added, and takes little more memory than that.
func TestADraftIsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, want, slots := newDraft(), []byte(nil), []slot(nil)
		usual := rapid.SampledFrom([]int{1, 64, 1000, 1100, 5000, 100_000}).Draw(t, "usual size")
		for i := range rapid.IntRange(1, 1000).Draw(t, "records") {
			m := &messages.Message{Value: bytes.Repeat([]byte{byte(i)}, rapid.IntRange(usual/2, usual).Draw(t, "size"))}
			size := messages.RecordSize(m)
			if !d.fits(size, messages.MaxBatchBytes) {
				break
			}
			s := slot{to: callback(nil), index: int32(i), count: 1, size: int32(size)}
			d.add(m, size, &s)
			want, slots = messages.AppendRecord(want, m), append(slots, s)
		}
		held := 0
		for _, p := range d.pieces {
			held += cap(p.buf)
		}
		if most := len(want) + max(smallestPiece, min(len(want)/4, 16<<10)); held > most || d.size != len(want) {
			t.Errorf("%d bytes, and %d are said to be there, in %d", len(want), d.size, held)
		}
		for i := range slots {
			if got := d.slot(i); got.index != slots[i].index || got.size != slots[i].size {
				t.Fatalf("slot %d of %d is %+v, want %+v", i, len(slots), got, slots[i])
			}
		}
		d.whole(func(raw []byte) {
			if !bytes.Equal(raw, want) {
				t.Error("the records are others than were added")
			}
		})
		(&shipment{draft: d, spare: spareAll}).recycle()
	})
}

func TestTimesOfABatch(t *testing.T) {
	at := func(nano int64) *messages.Message { return &messages.Message{Time: time.Unix(0, nano)} }
	for name, tc := range map[string]struct {
		put      []*messages.Message
		min, max int64 // 0 is the time of the sealing
	}{
		"none has one":         {[]*messages.Message{text("a"), text("b")}, 0, 0},
		"all have one":         {[]*messages.Message{at(7), at(3), at(5)}, 3, 7},
		"before 1970":          {[]*messages.Message{at(-7), at(-3)}, -7, -3},
		"some are of now":      {[]*messages.Message{at(7), text("a")}, 7, 0},
		"some are of tomorrow": {[]*messages.Message{at(1 << 62), text("a")}, 0, 1 << 62},
		"1970 is none":         {[]*messages.Message{at(0)}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeTopic(1)
				p := f.producer(nil)
				for _, m := range tc.put {
					if err := p.PutAsync(t.Context(), m, nil); err != nil {
						t.Fatal(err)
					}
				}
				f.run(t)
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				now := time.Now().UnixNano() // the bubble's clock stands
				b := f.logs[0].batches[0]
				if got, want := []int64{b.MinTime, b.MaxTime, b.Time}, []int64{cmp.Or(tc.min, now), cmp.Or(tc.max, now), now}; !slices.Equal(got, want) {
					t.Errorf("from %d to %d, at %d; want %v", b.MinTime, b.MaxTime, b.Time, want)
				}
			})
		})
	}
}

// An idle partition holds no buffer.
func TestAnIdleAccumulatorKeepsNothing(t *testing.T) {
	f := newFakeTopic(1)
	f.run(t)
	p := f.producer(nil)
	for range 10_000 {
		if err := p.PutAsync(t.Context(), text("0123456789"), func(messages.PutResult) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	a := f.accs[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.filling != nil || len(a.full) > 0 || a.flight != nil || slices.ContainsFunc(a.full[:cap(a.full)], func(d *draft) bool { return d != nil }) {
		t.Errorf("left: %v, %v, %v", a.filling, a.full, a.flight)
	}
}
