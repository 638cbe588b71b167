package prefetch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
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
	c     *Claim
	inbox []Notice
	asked *asked
	end   int64
	rests bool // a timer runs
	idle  bool // it was told that nobody has the claim in hand
	bad   error
}

func (a *paperConsumer) attach(s *Buffer) {
	s.Attach(a.c, func(m Notice) { a.inbox = append(a.inbox, m) })
	a.ask(s)
}

func (a *paperConsumer) ask(s *Buffer) {
	if !a.asks(s) {
		s.Pass()
	}
}

func (a *paperConsumer) asks(s *Buffer) bool {
	offset, base, open := s.Next(a.c)
	if !open || a.asked != nil && a.asked.offset == offset {
		return false
	}
	if a.asked != nil { // as consumer.forgo
		s.Fill(a.c, nil, a.asked.room)
		a.asked = nil
	}
	if base >= 0 && (base > offset || !a.log.IsBase(a.c.Partition, base)) {
		a.bad = fmt.Errorf("told to read offset %d from %d, which is no base of a batch before it", offset, base)
	}
	f := &asked{offset: offset}
	if offset < a.end {
		if f.room = s.Reserve(a.c); f.room == 0 {
			return true
		}
	}
	a.asked = f
	return f.room > 0
}

// receive takes one message.
func (a *paperConsumer) receive(s *Buffer) bool {
	if len(a.inbox) == 0 {
		return false
	}
	m := a.inbox[0]
	a.inbox = a.inbox[1:]
	switch m.(type) {
	case RoomMade:
		a.ask(s)
	case Rests:
		a.rests = true
	case Idle:
		a.idle = true
	}
	return true
}

// fetched brings what was asked for, unless it has to wait for more records.
func (a *paperConsumer) fetched(s *Buffer) bool {
	f := a.asked
	if f == nil {
		return false
	}
	end := a.log.End(a.c.Partition, *a.have)
	if f.room == 0 && f.offset >= end {
		return false
	}
	var got []*format.Batch
	if f.offset < end {
		for i, size := a.log.Holding(a.c.Partition, f.offset), 0; i < *a.have; i++ {
			b := a.log.Batch(a.c.Partition, i)
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
	s.Fill(a.c, got, f.room)
	if len(got) == 0 && f.room == 0 && end <= f.offset {
		a.end = f.offset + 1
	}
	a.ask(s)
	return true
}

// withdraw is what a consumer does before it seeks or ends.
func (a *paperConsumer) withdraw(s *Buffer) {
	if a.asked != nil {
		s.Fill(a.c, nil, a.asked.room)
		a.asked = nil
	}
}

// settleAll lets every consumer do what it can.
func settleAll(s *Buffer, consumers ...*paperConsumer) {
	for again := true; again; {
		again = false
		for _, a := range consumers {
			for a.receive(s) || a.fetched(s) {
				again = true
			}
		}
	}
}

func newTestBuffer(cfg Config) (*Buffer, *atomic.Int64) {
	cfg.Topic, cfg.Group = "audit", "billing"
	cfg.MaxFetched = cmp.Or(cfg.MaxFetched, 8<<20)
	cfg.Retry.EnsureDefaults()
	trusted := new(atomic.Int64)
	trusted.Store(theLease)
	return New(cfg, func(messages.Event) {}, trusted, usercode.New()), trusted
}

// holdPaper adds a claim at position, of a log that has so many batches.
func holdPaper(s *Buffer, l *formattest.Log, p int, batches int, position int64) *paperConsumer {
	a := &paperConsumer{log: l, have: &batches, c: &Claim{Partition: p, Fence: int64(100 + p), Lease: theLease, MemberRevision: 1}}
	s.Add(a.c, Place{Offset: position, Base: l.Batch(p, l.Holding(p, position)).Base, Written: true})
	a.attach(s)
	settleAll(s, a)
	return a
}

func tenBatches(t *testing.T) (*Buffer, *paperConsumer) {
	s, _ := newTestBuffer(Config{})
	return s, holdPaper(s, smallLog, 0, 10, 0)
}

// takeAll reads with new cursors until nothing is left, and returns what came.
func takeAll(t *testing.T, s *Buffer, consumers ...*paperConsumer) (got []messages.Record) {
	t.Helper()
	for {
		settleAll(s, consumers...)
		cur, _, err := s.tryTake()
		if err != nil {
			t.Fatal(err)
		}
		if cur == nil {
			return got
		}
		if err := cur.skip(); err != nil {
			t.Fatal(err)
		}
		for {
			var rec messages.Record
			ok, err := cur.next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, rec)
		}
		s.put(cur)
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

// inHand takes a cursor and its first record.
func inHand(t *testing.T, s *Buffer) (*cursor, messages.Record) {
	t.Helper()
	cur, _, err := s.tryTake()
	if cur == nil || err != nil {
		t.Fatalf("nothing to take: %v", err)
	}
	if err := cur.skip(); err != nil {
		t.Fatal(err)
	}
	var rec messages.Record
	if ok, err := cur.next(&rec); !ok || err != nil {
		t.Fatalf("no record under the cursor: %v", err)
	}
	return cur, rec
}

func wantOver(t *testing.T, cur *cursor) {
	t.Helper()
	var rec messages.Record
	if ok, err := cur.next(&rec); ok || err != nil {
		t.Fatalf("the cursor went on to offset %d, error %v", rec.Offset, err)
	}
}

// paperDesk runs the consumers of a buffer in a goroutine of its own, for workers
// that wait. A claim that rests is woken at once.
type paperDesk struct {
	s         *Buffer
	consumers []*paperConsumer

	mu   sync.Mutex
	mail []func()
	news chan struct{}
}

// newPaperDesk holds partitions of smallLog, so many batches of each.
func newPaperDesk(t *testing.T, s *Buffer, partitions, batches int) *paperDesk {
	d := &paperDesk{s: s, news: make(chan struct{}, 1)}
	for p := range partitions {
		a := &paperConsumer{log: smallLog, have: &batches, c: &Claim{Partition: p, Fence: int64(100 + p), Lease: theLease, MemberRevision: 1}}
		s.Add(a.c, Place{Written: true})
		s.Attach(a.c, func(m Notice) { d.post(func() { a.inbox = append(a.inbox, m) }) })
		d.consumers = append(d.consumers, a)
		d.post(func() { a.ask(s) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return d
}

func (d *paperDesk) post(f func()) {
	d.mu.Lock()
	d.mail = append(d.mail, f)
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *paperDesk) run(ctx context.Context) {
	for {
		select {
		case <-d.news:
		case <-ctx.Done():
			return
		}
		for {
			d.mu.Lock()
			mail := d.mail
			d.mail = nil
			d.mu.Unlock()
			if len(mail) == 0 {
				break
			}
			for _, f := range mail {
				f()
			}
			settleAll(d.s, d.consumers...)
			for _, a := range d.consumers {
				if a.rests {
					a.rests = false
					d.s.Wake(a.c)
				}
			}
		}
	}
}

// consumePaper runs workers around a handler, as Consume's actors do: one whose
// goroutine the handler ended gets another. It returns how to end them.
func consumePaper(t *testing.T, s *Buffer, workers int, h messages.RecordHandler) (stop func()) {
	return consumePaperWith(t, workers, func(ctx context.Context) *Consumption { return NewConsumption(ctx, s, h) })
}

// consumePaperWith runs the workers of a consumption.
func consumePaperWith(t *testing.T, workers int, begin func(context.Context) *Consumption) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	c := begin(ctx)
	var running sync.WaitGroup
	var work func()
	work = func() {
		running.Go(func() {
			over := false
			defer func() {
				if !over {
					work()
				}
			}()
			_ = c.Work(ctx)
			over = true
		})
	}
	for range workers {
		work()
	}
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// eventLog collects what a buffer emits.
type eventLog struct {
	mu  sync.Mutex
	all []messages.Event
}

func (l *eventLog) emit(e messages.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

func countEvents[E messages.Event](l *eventLog) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if _, ok := e.(E); ok {
			n++
		}
	}
	return n
}
