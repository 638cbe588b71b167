package actors

// Promise: whatever happens to a subscription's claims, each partition's records
// are handed out in order, none is skipped, none comes twice unless it was
// handed back, and what is read ahead stays within its room.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
	"github.com/penstock-io/penstock/transport/commitlog/format/formattest"
)

const (
	theLease = 7
	patience = 30 * time.Second
)

var (
	// largeLog has batches up to fetchShare; smallLog has tiny ones.
	largeLog = formattest.NewLog(0, 100, 20<<10, 200<<10, 500<<10)
	smallLog = formattest.NewLog(0)
)

// asked is what a consumer has asked a partition for.
type asked struct {
	offset int64
	room   int
}

// smallBatch is the largest batch that the partition sends without room.
const smallBatch = 16 << 10

// paperConsumer fills a claim as consumer does, one message at a time.
type paperConsumer struct {
	log   *formattest.Log
	have  *int // batches that the partition has
	c     *claim
	inbox []any
	asked *asked
	end   int64
	rests bool // a timer runs
	idle  bool // it was told that nobody has the claim in hand
	bad   error
}

func (a *paperConsumer) attach(s *shelf) {
	s.attach(a.c, func(m any) { a.inbox = append(a.inbox, m) })
	a.ask(s)
}

func (a *paperConsumer) ask(s *shelf) {
	if !a.asks(s) {
		s.pass()
	}
}

func (a *paperConsumer) asks(s *shelf) bool {
	offset, base, open := s.next(a.c)
	if !open || a.asked != nil && a.asked.offset == offset {
		return false
	}
	if a.asked != nil { // as consumer.forgo
		s.came(a.c, nil, a.asked.room)
		a.asked = nil
	}
	if base >= 0 && (base > offset || !a.log.IsBase(a.c.p, base)) {
		a.bad = fmt.Errorf("told to read offset %d from %d, which is no base of a batch before it", offset, base)
	}
	f := &asked{offset: offset}
	if offset < a.end {
		if f.room = s.asks(a.c); f.room == 0 {
			return true
		}
	}
	a.asked = f
	return f.room > 0
}

// receive takes one message.
func (a *paperConsumer) receive(s *shelf) bool {
	if len(a.inbox) == 0 {
		return false
	}
	m := a.inbox[0]
	a.inbox = a.inbox[1:]
	switch m.(type) {
	case roomMade:
		a.ask(s)
	case claimRests:
		a.rests = true
	case claimIdle:
		a.idle = true
	}
	return true
}

// fetched answers what was asked for, unless it has to wait for more records.
func (a *paperConsumer) fetched(s *shelf) bool {
	f := a.asked
	if f == nil {
		return false
	}
	end := a.log.End(a.c.p, *a.have)
	if f.room == 0 && f.offset >= end {
		return false
	}
	var got []*format.Batch
	if f.offset < end {
		for i, size := a.log.Holding(a.c.p, f.offset), 0; i < *a.have; i++ {
			b := a.log.Batch(a.c.p, i)
			size += len(b.Raw)
			if len(got) > 0 && size > f.room || f.room == 0 && size > smallBatch {
				break
			}
			got = append(got, b)
			if f.room == 0 {
				break
			}
		}
	}
	a.asked, a.end = nil, end
	s.came(a.c, got, f.room)
	if len(got) == 0 && f.room == 0 && end <= f.offset {
		a.end = f.offset + 1
	}
	a.ask(s)
	return true
}

// withdraw is what a consumer does before it seeks or ends.
func (a *paperConsumer) withdraw(s *shelf) {
	if a.asked != nil {
		s.came(a.c, nil, a.asked.room)
		a.asked = nil
	}
}

// settleAll lets every consumer do what it can.
func settleAll(s *shelf, consumers ...*paperConsumer) {
	for again := true; again; {
		again = false
		for _, a := range consumers {
			for a.receive(s) || a.fetched(s) {
				again = true
			}
		}
	}
}

func newTestShelf(cfg SubscriptionConfig) (*shelf, *atomic.Int64) {
	cfg.Topic, cfg.Group = "audit", "billing"
	cfg.EnsureDefaults()
	standing := new(atomic.Int64)
	standing.Store(theLease)
	return newShelf(cfg, func(messages.Event) {}, standing), standing
}

// holdPaper adds a claim at position, of a log that has so many batches.
func holdPaper(s *shelf, l *formattest.Log, p int, batches int, position int64) *paperConsumer {
	a := &paperConsumer{log: l, have: &batches, c: &claim{p: p, fence: int64(100 + p), lease: theLease, memberRevision: 1}}
	s.add(a.c, position, l.Batch(p, l.Holding(p, position)).Base, true)
	a.attach(s)
	settleAll(s, a)
	return a
}

// takeAll reads with fresh turns until nothing is there, and answers what came.
func takeAll(t *testing.T, s *shelf, consumers ...*paperConsumer) (got []messages.Record) {
	t.Helper()
	for {
		settleAll(s, consumers...)
		turn, _, err := s.tryTake()
		if err != nil {
			t.Fatal(err)
		}
		if turn == nil {
			return got
		}
		if err := turn.skip(); err != nil {
			t.Fatal(err)
		}
		for {
			var rec messages.Record
			ok, err := turn.next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, rec)
		}
		s.put(turn)
	}
}

// offsetsOf are those of a partition, in the order they came.
func offsetsOf(p int, recs []messages.Record) (out []int64) {
	for _, r := range recs {
		if r.Partition == p {
			out = append(out, r.Offset)
		}
	}
	return out
}

func upToOffset(from, to int64) (out []int64) {
	for o := from; o < to; o++ {
		out = append(out, o)
	}
	return out
}

func wantOffsets(t *testing.T, what string, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got offsets %v, want %v", what, got, want)
	}
}

func TestShelfHandsOutEverythingInOrder(t *testing.T) {
	s, _ := newTestShelf(SubscriptionConfig{MaxFetched: 1 << 20})
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

// inHand takes a turn and its first record.
func inHand(t *testing.T, s *shelf) (*turn, messages.Record) {
	t.Helper()
	turn, _, err := s.tryTake()
	if turn == nil || err != nil {
		t.Fatalf("nothing to take: %v", err)
	}
	if err := turn.skip(); err != nil {
		t.Fatal(err)
	}
	var rec messages.Record
	if ok, err := turn.next(&rec); !ok || err != nil {
		t.Fatalf("no record in the turn: %v", err)
	}
	return turn, rec
}

func wantOver(t *testing.T, turn *turn) {
	t.Helper()
	var rec messages.Record
	if ok, err := turn.next(&rec); ok || err != nil {
		t.Fatalf("the turn went on with offset %d, error %v", rec.Offset, err)
	}
}

func TestShelfWithARecordInHand(t *testing.T) {
	const batches = 12
	end := smallLog.End(0, batches)
	for name, tc := range map[string]struct {
		meanwhile func(s *shelf, a *paperConsumer, turn *turn)
		want      []int64 // what comes afterwards
		finished  int64   // right after the turn went back
	}{
		"nothing":         {func(*shelf, *paperConsumer, *turn) {}, upToOffset(1, end), 1},
		"handed back":     {func(_ *shelf, _ *paperConsumer, turn *turn) { turn.out = -1 }, upToOffset(0, end), 0},
		"paused":          {func(s *shelf, _ *paperConsumer, _ *turn) { s.pause(0) }, nil, 1},
		"all paused":      {func(s *shelf, _ *paperConsumer, _ *turn) { s.pause() }, nil, 1},
		"another paused":  {func(s *shelf, _ *paperConsumer, _ *turn) { s.pause(5) }, upToOffset(1, end), 1},
		"paused, resumed": {func(s *shelf, _ *paperConsumer, _ *turn) { s.pause(0); s.resume(0) }, upToOffset(1, end), 1},
		"all but this":    {func(s *shelf, _ *paperConsumer, _ *turn) { s.pause(); s.resume(0) }, upToOffset(1, end), 1},
		"sought ahead": {func(s *shelf, a *paperConsumer, _ *turn) { a.withdraw(s); s.seek(a.c, 9, -1) },
			upToOffset(9, end), 9},
		"sought the same place": {func(s *shelf, a *paperConsumer, _ *turn) { a.withdraw(s); s.seek(a.c, 0, 0) },
			upToOffset(0, end), 0},
		"sought and come": {func(s *shelf, a *paperConsumer, _ *turn) { a.withdraw(s); s.seek(a.c, 0, 0); settleAll(s, a) },
			upToOffset(0, end), 0},
		"sought twice": {func(s *shelf, a *paperConsumer, _ *turn) {
			a.withdraw(s)
			s.seek(a.c, 9, -1)
			settleAll(s, a)
			a.withdraw(s)
			s.seek(a.c, 4, -1)
		}, upToOffset(4, end), 4},
		"released":  {func(s *shelf, a *paperConsumer, _ *turn) { s.release(a.c) }, nil, 1},
		"left":      {func(s *shelf, _ *paperConsumer, _ *turn) { s.leave(shelfLeaving, nil) }, nil, 1},
		"in doubt":  {func(s *shelf, _ *paperConsumer, _ *turn) { s.standing.Store(0) }, nil, 1},
		"new lease": {func(s *shelf, _ *paperConsumer, _ *turn) { s.standing.Store(theLease + 1); s.renewed() }, nil, 1},
		"doubt over": {func(s *shelf, _ *paperConsumer, _ *turn) {
			s.standing.Store(0)
			s.standing.Store(theLease)
			s.renewed()
		}, upToOffset(1, end), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestShelf(SubscriptionConfig{})
			a := holdPaper(s, smallLog, 0, batches, 0)
			turn, rec := inHand(t, s)
			if rec.Offset != 0 {
				t.Fatalf("the first record has offset %d", rec.Offset)
			}
			tc.meanwhile(s, a, turn)
			turn.finish()
			s.put(turn)
			if at := s.place(a.c); at != tc.finished {
				t.Errorf("%d is finished, want %d", at, tc.finished)
			}
			wantOffsets(t, "afterwards", offsetsOf(0, takeAll(t, s, a)), tc.want)
			if s.phase == shelfOpen && s.room != 0 {
				t.Errorf("room for %d is still promised", s.room)
			}
		})
	}
}

func TestShelfStopsTheTurnInHand(t *testing.T) {
	// A batch with several records.
	p := 0
	for smallLog.Batch(p, 0).Count < 3 {
		p++
	}
	for name, stop := range map[string]func(s *shelf, c *claim){
		"pause":   func(s *shelf, c *claim) { s.pause(c.p) },
		"seek":    func(s *shelf, c *claim) { s.seek(c, 0, 0) },
		"release": func(s *shelf, c *claim) { s.release(c) },
		"remove":  func(s *shelf, c *claim) { s.remove(c, messages.ErrFenced) },
		"leave":   func(s *shelf, c *claim) { s.leave(shelfLeaving, nil) },
		"doubt":   func(s *shelf, c *claim) { s.standing.Store(0) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestShelf(SubscriptionConfig{})
			a := holdPaper(s, smallLog, p, 3, 0)
			turn, _ := inHand(t, s)
			stop(s, a.c)
			wantOver(t, turn)
			s.put(turn)
		})
	}
}

func TestShelfReleaseTellsWhenIdle(t *testing.T) {
	s, _ := newTestShelf(SubscriptionConfig{})
	a := holdPaper(s, smallLog, 0, 3, 0)
	turn, _ := inHand(t, s)
	s.release(a.c)
	settleAll(s, a)
	if a.idle {
		t.Fatal("idle with a record in hand")
	}
	if p := s.last(a.c); p.Offset != -1 { // etcd has it
		t.Fatalf("%d is to be written while the first record is in hand", p.Offset)
	}
	turn.finish()
	s.put(turn)
	settleAll(s, a)
	if !a.idle {
		t.Fatal("not idle with nothing in hand")
	}
	if p := s.last(a.c); p.Offset != 1 || p.Base != 0 && p.Base != 1 {
		t.Fatalf("%+v is to be written", p)
	}
	// Whoever takes its consumer's place is told again.
	a.idle = false
	a.attach(s)
	settleAll(s, a)
	if !a.idle {
		t.Fatal("the next consumer was not told")
	}
	s.remove(a.c, nil)
	if s.bytes != 0 || len(s.owned()) != 0 {
		t.Errorf("%d bytes, %v are left", s.bytes, s.owned())
	}
}

func TestShelfRetries(t *testing.T) {
	s, _ := newTestShelf(SubscriptionConfig{})
	a := holdPaper(s, smallLog, 0, 8, 0)
	for attempt := 1; attempt <= 3; attempt++ {
		turn, rec := inHand(t, s)
		if rec.Offset != 0 || rec.Attempt != attempt {
			t.Fatalf("offset %d, attempt %d; want 0 and %d", rec.Offset, rec.Attempt, attempt)
		}
		s.failed(turn)
		settleAll(s, a)
		if turn, _, _ := s.tryTake(); turn != nil || !a.rests {
			t.Fatal("a failed record does not rest")
		}
		a.rests = false
		s.wake(a.c)
		settleAll(s, a)
	}
	turn, rec := inHand(t, s)
	if rec.Attempt != 4 {
		t.Fatalf("attempt %d, want 4", rec.Attempt)
	}
	var next messages.Record
	if ok, _ := turn.next(&next); ok && (next.Offset != 1 || next.Attempt != 1) {
		t.Fatalf("after success: offset %d, attempt %d", next.Offset, next.Attempt)
	}
	s.failed(turn)
	settleAll(s, a)
	// The consumer of a resting claim is begun again: its timer is gone.
	a.withdraw(s)
	a.attach(s)
	settleAll(s, a)
	if turn, _, _ = s.tryTake(); turn == nil {
		t.Fatal("the claim rests for ever")
	}
	s.put(turn)
}

// A claim that does not want its room any more lets others have it.
func TestShelfNobodyStarves(t *testing.T) {
	for name, tc := range map[string]func(s *shelf, first, second *paperConsumer){
		"paused":   func(s *shelf, first, _ *paperConsumer) { s.pause(first.c.p) },
		"released": func(s *shelf, first, _ *paperConsumer) { s.release(first.c) },
		"removed":  func(s *shelf, first, _ *paperConsumer) { first.withdraw(s); s.remove(first.c, nil) },
		"sought to the end": func(s *shelf, first, _ *paperConsumer) {
			first.withdraw(s)
			first.end = largeLog.End(first.c.p, *first.have)
			s.seek(first.c, first.end, -1)
			first.end++
			first.ask(s)
		},
		"nothing": func(*shelf, *paperConsumer, *paperConsumer) {},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestShelf(SubscriptionConfig{MaxFetched: 1})
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

func TestShelfPositions(t *testing.T) {
	s, _ := newTestShelf(SubscriptionConfig{ManualCommit: true})
	lost := &claim{fence: 90}
	s.add(lost, 0, 0, true)
	s.remove(lost, messages.ErrFenced)
	a := holdPaper(s, smallLog, 0, 30, 0)
	var recs []messages.Record
	for len(recs) < 40 {
		got, err := s.poll(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, got...)
		settleAll(s, a)
	}
	if due := s.due(); len(due) != 0 {
		t.Fatalf("%+v is due though nobody asked", due)
	}
	for _, r := range recs {
		if _, fenced, err := s.ask([]messages.Record{r}); fenced != nil || err != nil {
			t.Fatal(fenced, err)
		}
		due := s.due()
		if len(due) != 1 || due[0].Offset != r.Offset+1 || due[0].Fence != a.c.fence {
			t.Fatalf("asked for %d: %+v is due", r.Offset, due)
		}
		if b := due[0].Base; b < 0 || b > due[0].Offset || !smallLog.IsBase(0, b) {
			t.Fatalf("offset %d is to be written with the base %d", due[0].Offset, b)
		}
		s.wrote(due[0])
		if due := s.due(); len(due) != 0 {
			t.Fatalf("%+v is due though it was written", due)
		}
	}
	stale := recs[0]
	stale.Fence--
	if _, fenced, err := s.ask([]messages.Record{recs[3], stale}); !errors.Is(fenced, messages.ErrFenced) || err != nil {
		t.Errorf("a record of fence %d: %v, %v", stale.Fence, fenced, err)
	}
	if due := s.due(); len(due) != 1 || due[0].Offset != recs[3].Offset+1 {
		t.Errorf("a record that is still owned: %+v is due", due)
	}
	if _, fenced, err := s.ask(nil); fenced != nil || err != nil {
		t.Fatal(fenced, err)
	}
	if due, at := s.due(), s.place(a.c); len(due) != 1 || due[0].Offset != at {
		t.Errorf("all that is finished, %d: %+v is due", at, due)
	}
}

func TestShelfPoll(t *testing.T) {
	newOne := func(t *testing.T) (*shelf, *paperConsumer) {
		s, _ := newTestShelf(SubscriptionConfig{})
		return s, holdPaper(s, smallLog, 0, 10, 0)
	}
	poll := func(t *testing.T, s *shelf, limit int) []messages.Record {
		t.Helper()
		got, err := s.poll(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	t.Run("finishes the last", func(t *testing.T) {
		s, a := newOne(t)
		var got []messages.Record
		for int64(len(got)) < smallLog.End(0, 10) {
			if at := s.place(a.c); at > int64(len(got)) {
				t.Fatalf("%d finished, %d handed out", at, len(got))
			}
			some := poll(t, s, 2)
			if len(some) > 2 {
				t.Fatalf("%d records, 2 were wanted", len(some))
			}
			if at := s.place(a.c); at != int64(len(got)) {
				t.Fatalf("%d finished, %d were handed out before", at, len(got))
			}
			got = append(got, some...)
			settleAll(s, a)
		}
		wantOffsets(t, "all", offsetsOf(0, got), upToOffset(0, smallLog.End(0, 10)))
	})
	t.Run("then a loop", func(t *testing.T) {
		s, _ := newOne(t)
		got := poll(t, s, 1)
		for r, err := range s.records(t.Context()) {
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
		s.seek(a.c, 0, 0)
		settleAll(s, a)
		s.settlePolled(true)
		settleAll(s, a)
		wantOffsets(t, "again", offsetsOf(0, poll(t, s, 1)), []int64{0})
	})
	t.Run("left meanwhile", func(t *testing.T) {
		s, a := newOne(t)
		if err := s.begin(); err != nil {
			t.Fatal(err)
		}
		turn, _ := inHand(t, s) // as a Poll does, and
		s.polled = append(s.polled, turn)
		s.leave(shelfLeaving, nil)
		s.release(a.c)
		s.finish()
		settleAll(s, a)
		if !a.idle || s.place(a.c) != 0 {
			t.Errorf("idle: %v, finished: %d", a.idle, s.place(a.c))
		}
	})
	t.Run("refusals", func(t *testing.T) {
		s, _ := newOne(t)
		if _, err := s.poll(t.Context(), 0); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("none: %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		cancel(why)
		if _, err := s.poll(ctx, 1); !errors.Is(err, why) {
			t.Errorf("a context that is over: %v", err)
		}
		if err := s.begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.poll(t.Context(), 1); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("a second reader: %v", err)
		}
		s.finish()
		s.leave(shelfLeft, messages.ErrTopicDeleted)
		if _, err := s.poll(t.Context(), 1); !errors.Is(err, messages.ErrTopicDeleted) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestRecordsLoop(t *testing.T) {
	t.Run("a broken loop hands its record back", func(t *testing.T) {
		s, a := tenBatches(t)
		var got []messages.Record
		for range 5 {
			for r, err := range s.records(t.Context()) {
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
			for range s.records(t.Context()) {
				panic("in the loop")
			}
		}()
		for r, err := range s.records(t.Context()) {
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
		for _, err := range s.records(ctx) {
			n, last = n+1, err
			cancel(why)
		}
		if n != 2 || !errors.Is(last, why) {
			t.Fatalf("%d rounds, %v", n, last)
		}
		// The record before the end was handled: the body went through it.
		if at := s.place(s.claims[0]); at != 1 {
			t.Errorf("%d finished, want 1", at)
		}
	})
	t.Run("ends silently", func(t *testing.T) {
		s, _ := tenBatches(t)
		n := 0
		for _, err := range s.records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			s.leave(shelfLeaving, nil)
		}
		for range s.records(t.Context()) {
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
			for _, err := range s.records(t.Context()) {
				last = err
				s.leave(shelfLeft, messages.ErrTopicDeleted)
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
			for r, err := range s.records(ctx) {
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
		s.came(a.c, []*format.Batch{next}, 0)
		await(end)
		cancel()
		loop.Wait()
	})
	t.Run("a record that does not decode", func(t *testing.T) {
		s, _ := newTestShelf(SubscriptionConfig{})
		c := &claim{p: 0, fence: 5, lease: theLease}
		s.add(c, 0, 0, true)
		var told []any
		s.attach(c, func(m any) { told = append(told, m) })
		raw := slices.Clone(smallLog.Batch(0, 0).Raw)
		s.came(c, []*format.Batch{{Base: 0, Count: 2, Raw: append(raw[:0:0], 0xff, 0xff, 0xff)}}, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.mu.Lock()
		line := len(s.line)
		s.mu.Unlock()
		if line != 1 {
			t.Fatal("the batch is not in the line")
		}
		turn, _, _ := s.tryTake()
		var rec messages.Record
		if next, err := s.nextRecord(ctx, turn, &rec); next != nil || err == nil {
			t.Fatalf("got %+v, %v", next, err)
		}
		if len(told) == 0 {
			t.Fatal("its consumer does not know")
		}
		if m, ok := told[0].(claimStalled); !ok || m.offset != 0 || !errors.Is(m.err, messages.ErrCorrupt) {
			t.Fatalf("its consumer was told %+v", told[0])
		}
		if _, _, open := s.next(c); open || s.place(c) != 0 {
			t.Error("a stalled claim goes on")
		}
		s.seek(c, 2, -1)
		if offset, _, open := s.next(c); !open || offset != 2 {
			t.Errorf("Seek goes on at %d, %v", offset, open)
		}
	})
}

func tenBatches(t *testing.T) (*shelf, *paperConsumer) {
	s, _ := newTestShelf(SubscriptionConfig{})
	return s, holdPaper(s, smallLog, 0, 10, 0)
}
