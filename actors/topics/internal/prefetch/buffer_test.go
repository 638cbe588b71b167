package prefetch

// Promise: whatever happens to a subscription's claims, each partition's records
// are handed out in order, none is skipped, none comes twice unless it was
// handed back, and what is read ahead stays within its room.

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format/formattest"
)

func TestBufferHandsOutEverythingInOrder(t *testing.T) {
	s, _ := newTestBuffer(Config{MaxFetched: 1 << 20})
	a, b := holdPaper(s, largeLog, 0, 20, 3), holdPaper(s, largeLog, 1, 15, 0)
	got := takeAll(t, s, a, b)
	wantOffsets(t, "partition 0", offsetsOf(0, got), upToOffset(3, largeLog.End(0, 20)))
	wantOffsets(t, "partition 1", offsetsOf(1, got), upToOffset(0, largeLog.End(1, 15)))
	for _, r := range got {
		if !bytes.HasPrefix(r.Value, []byte(formattest.Value(r.Partition, r.Offset))) {
			t.Fatalf("partition %d, offset %d has the value of another: %.20q", r.Partition, r.Offset, r.Value)
		}
		want := messages.Record{Topic: "audit", Partition: r.Partition, Offset: r.Offset, Fence: int64(100 + r.Partition), Attempt: 1}
		want.Payload, want.UnixNano = r.Payload, formattest.Time(largeLog.Holding(r.Partition, r.Offset))
		if r.Topic != want.Topic || r.Fence != want.Fence || r.Attempt != 1 || r.UnixNano != want.UnixNano {
			t.Fatalf("got %+v, want %+v", r, want)
		}
	}
	if s.bytes != 0 || s.room != 0 {
		t.Errorf("%d bytes and room for %d are still counted", s.bytes, s.room)
	}
}

func TestBufferWithARecordInHand(t *testing.T) {
	const batches = 12
	end := smallLog.End(0, batches)
	for name, tc := range map[string]struct {
		meanwhile func(s *Buffer, a *paperConsumer, cur *cursor)
		want      []int64 // what comes afterwards
		finished  int64   // right after the cursor ended
	}{
		"nothing":         {func(*Buffer, *paperConsumer, *cursor) {}, upToOffset(1, end), 1},
		"handed back":     {func(_ *Buffer, _ *paperConsumer, cur *cursor) { cur.out = -1 }, upToOffset(0, end), 0},
		"paused":          {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Pause(0) }, nil, 1},
		"all paused":      {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Pause() }, nil, 1},
		"another paused":  {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Pause(5) }, upToOffset(1, end), 1},
		"paused, resumed": {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Pause(0); s.Resume(0) }, upToOffset(1, end), 1},
		"all but this":    {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Pause(); s.Resume(0) }, upToOffset(1, end), 1},
		"sought ahead": {func(s *Buffer, a *paperConsumer, _ *cursor) { a.withdraw(s); s.Seek(a.c, 9, -1) },
			upToOffset(9, end), 9},
		"sought the same place": {func(s *Buffer, a *paperConsumer, _ *cursor) { a.withdraw(s); s.Seek(a.c, 0, 0) },
			upToOffset(0, end), 0},
		"sought and come": {func(s *Buffer, a *paperConsumer, _ *cursor) { a.withdraw(s); s.Seek(a.c, 0, 0); settleAll(s, a) },
			upToOffset(0, end), 0},
		"sought twice": {func(s *Buffer, a *paperConsumer, _ *cursor) {
			a.withdraw(s)
			s.Seek(a.c, 9, -1)
			settleAll(s, a)
			a.withdraw(s)
			s.Seek(a.c, 4, -1)
		}, upToOffset(4, end), 4},
		"released":  {func(s *Buffer, a *paperConsumer, _ *cursor) { s.Release(a.c) }, nil, 1},
		"left":      {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.Leave(Leaving, nil) }, nil, 1},
		"in doubt":  {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.trusted.Store(0) }, nil, 1},
		"new lease": {func(s *Buffer, _ *paperConsumer, _ *cursor) { s.trusted.Store(theLease + 1); s.Renewed() }, nil, 1},
		"doubt over": {func(s *Buffer, _ *paperConsumer, _ *cursor) {
			s.trusted.Store(0)
			s.trusted.Store(theLease)
			s.Renewed()
		}, upToOffset(1, end), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(Config{})
			a := holdPaper(s, smallLog, 0, batches, 0)
			cur, rec := inHand(t, s)
			if rec.Offset != 0 {
				t.Fatalf("the first record has offset %d", rec.Offset)
			}
			tc.meanwhile(s, a, cur)
			cur.finish()
			s.put(cur)
			if at := s.Finished(a.c); at != tc.finished {
				t.Errorf("%d is finished, want %d", at, tc.finished)
			}
			wantOffsets(t, "afterwards", offsetsOf(0, takeAll(t, s, a)), tc.want)
			if s.phase == Open && s.room != 0 {
				t.Errorf("room for %d is still promised", s.room)
			}
		})
	}
}

func TestBufferEndsTheCursorInHand(t *testing.T) {
	// A batch with several records.
	p := 0
	for smallLog.Batch(p, 0).Count < 3 {
		p++
	}
	for name, stop := range map[string]func(s *Buffer, c *Claim){
		"pause":   func(s *Buffer, c *Claim) { s.Pause(c.Partition) },
		"seek":    func(s *Buffer, c *Claim) { s.Seek(c, 0, 0) },
		"release": func(s *Buffer, c *Claim) { s.Release(c) },
		"remove":  func(s *Buffer, c *Claim) { s.Remove(c, messages.ErrFenced) },
		"leave":   func(s *Buffer, c *Claim) { s.Leave(Leaving, nil) },
		"doubt":   func(s *Buffer, c *Claim) { s.trusted.Store(0) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(Config{})
			a := holdPaper(s, smallLog, p, 3, 0)
			cur, _ := inHand(t, s)
			stop(s, a.c)
			wantOver(t, cur)
			s.put(cur)
		})
	}
}

func TestBufferReleaseTellsWhenIdle(t *testing.T) {
	s, _ := newTestBuffer(Config{})
	a := holdPaper(s, smallLog, 0, 3, 0)
	cur, _ := inHand(t, s)
	s.Release(a.c)
	settleAll(s, a)
	if a.idle {
		t.Fatal("idle with a record in hand")
	}
	if p := s.Last(a.c); p.Offset != -1 { // etcd has it
		t.Fatalf("%d is to be written while the first record is in hand", p.Offset)
	}
	cur.finish()
	s.put(cur)
	settleAll(s, a)
	if !a.idle {
		t.Fatal("not idle with nothing in hand")
	}
	if p := s.Last(a.c); p.Offset != 1 || p.Base != 0 && p.Base != 1 {
		t.Fatalf("%+v is to be written", p)
	}
	// Whoever takes its consumer's place is told again.
	a.idle = false
	a.attach(s)
	settleAll(s, a)
	if !a.idle {
		t.Fatal("the next consumer was not told")
	}
	s.Remove(a.c, nil)
	if s.bytes != 0 || len(s.Partitions()) != 0 {
		t.Errorf("%d bytes, %v are left", s.bytes, s.Partitions())
	}
}

func TestBufferRetries(t *testing.T) {
	s, _ := newTestBuffer(Config{})
	a := holdPaper(s, smallLog, 0, 8, 0)
	for attempt := 1; attempt <= 3; attempt++ {
		cur, rec := inHand(t, s)
		if rec.Offset != 0 || rec.Attempt != attempt {
			t.Fatalf("offset %d, attempt %d; want 0 and %d", rec.Offset, rec.Attempt, attempt)
		}
		s.failed(cur, rec.Offset, 0)
		settleAll(s, a)
		if cur, _, _ := s.tryTake(); cur != nil || !a.rests {
			t.Fatal("a failed record does not rest")
		}
		a.rests = false
		s.Wake(a.c)
		settleAll(s, a)
	}
	cur, rec := inHand(t, s)
	if rec.Attempt != 4 {
		t.Fatalf("attempt %d, want 4", rec.Attempt)
	}
	var next messages.Record
	if ok, _ := cur.next(&next); !ok {
		cur.finish()
		s.put(cur)
		cur, next = inHand(t, s)
	}
	if next.Offset != 1 || next.Attempt != 1 {
		t.Fatalf("after success: offset %d, attempt %d", next.Offset, next.Attempt)
	}
	s.failed(cur, next.Offset, 0)
	settleAll(s, a)
	// The consumer of a resting claim is begun again: its timer is gone.
	a.withdraw(s)
	a.rests = false
	a.attach(s)
	settleAll(s, a)
	if cur, _, _ = s.tryTake(); cur != nil || !a.rests {
		t.Fatal("the next consumer was not told how long the claim rests")
	}
	s.Wake(a.c)
	settleAll(s, a)
	if cur, _, _ = s.tryTake(); cur == nil {
		t.Fatal("the claim rests without end")
	}
	s.put(cur)
}

// A claim that does not want its room any more lets others have it.
func TestBufferNobodyStarves(t *testing.T) {
	for name, tc := range map[string]func(s *Buffer, first, second *paperConsumer){
		"paused":   func(s *Buffer, first, _ *paperConsumer) { s.Pause(first.c.Partition) },
		"released": func(s *Buffer, first, _ *paperConsumer) { s.Release(first.c) },
		"removed":  func(s *Buffer, first, _ *paperConsumer) { first.withdraw(s); s.Remove(first.c, nil) },
		"sought to the end": func(s *Buffer, first, _ *paperConsumer) {
			first.withdraw(s)
			first.end = largeLog.End(first.c.Partition, *first.have)
			s.Seek(first.c, first.end, -1)
			first.end++
			first.ask(s)
		},
		"nothing": func(*Buffer, *paperConsumer, *paperConsumer) {},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestBuffer(Config{MaxFetched: 1})
			// The keeper of the room, and two that wait for it.
			full := holdPaper(s, largeLog, 0, 30, 0)
			first, second := holdPaper(s, largeLog, 1, 30, 0), holdPaper(s, largeLog, 2, 30, 0)
			all := []*paperConsumer{full, first, second}
			settleAll(s, all...)
			if !slices.Contains(s.hungry, first.c) || !slices.Contains(s.hungry, second.c) {
				t.Fatalf("not both wait for room: %v", s.hungry)
			}
			tc(s, first, second)
			got := takeAll(t, s, all...)
			wantOffsets(t, "who has room", offsetsOf(0, got), upToOffset(0, largeLog.End(0, 30)))
			wantOffsets(t, "who waits last", offsetsOf(2, got), upToOffset(0, largeLog.End(2, 30)))
			if s.bytes != 0 || s.room != 0 {
				t.Errorf("%d bytes and room for %d are still counted", s.bytes, s.room)
			}
		})
	}
}

func TestBufferPositions(t *testing.T) {
	s, _ := newTestBuffer(Config{ManualCommit: true})
	lost := &Claim{Fence: 90}
	s.Add(lost, Place{Written: true})
	s.Remove(lost, messages.ErrFenced)
	a := holdPaper(s, smallLog, 0, 30, 0)
	var recs []messages.Record
	for len(recs) < 40 {
		got, err := s.Poll(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, got...)
		settleAll(s, a)
	}
	if due := s.Due(); len(due) != 0 {
		t.Fatalf("%+v is due though nobody asked", due)
	}
	for _, r := range recs {
		if _, fenced, err := s.Ask([]messages.Record{r}); fenced != nil || err != nil {
			t.Fatal(fenced, err)
		}
		due := s.Due()
		if len(due) != 1 || due[0].Offset != r.Offset+1 || due[0].Fence != a.c.Fence {
			t.Fatalf("asked for %d: %+v is due", r.Offset, due)
		}
		if b := due[0].Base; b < 0 || b > due[0].Offset || !smallLog.IsBase(0, b) {
			t.Fatalf("offset %d is to be written with the base %d", due[0].Offset, b)
		}
		s.Wrote(due[0])
		if due := s.Due(); len(due) != 0 {
			t.Fatalf("%+v is due though it was written", due)
		}
	}
	stale := recs[0]
	stale.Fence--
	if _, fenced, err := s.Ask([]messages.Record{recs[3], stale}); !errors.Is(fenced, messages.ErrFenced) || err != nil {
		t.Errorf("a record of fence %d: %v, %v", stale.Fence, fenced, err)
	}
	if due := s.Due(); len(due) != 1 || due[0].Offset != recs[3].Offset+1 {
		t.Errorf("a record that is still owned: %+v is due", due)
	}
	if _, fenced, err := s.Ask(nil); fenced != nil || err != nil {
		t.Fatal(fenced, err)
	}
	if due, at := s.Due(), s.Finished(a.c); len(due) != 1 || due[0].Offset != at {
		t.Errorf("all that is finished, %d: %+v is due", at, due)
	}
}
