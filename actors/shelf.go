package actors

// The data path of a subscription: its claims, and the line of those that have
// something to hand out. It outlives the incarnations of the actors around it.

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// shelf is what consumers fill and readers empty.
type shelf struct {
	cfg  SubscriptionConfig
	emit func(messages.Event)
	// standing is the session's lease while it can be trusted, else 0: only
	// claims under it hand out records.
	standing *atomic.Int64
	inside   *usercode.Runs

	mu       sync.Mutex
	phase    shelfPhase
	cause    error // why it ended, when nobody asked for it
	claims   map[int]*claim
	past     map[int]wish     // how far the last claim of a partition was committed
	fences   map[int][2]int64 // the first and the last that a partition was owned under
	line     []*claim         // who has something to hand out
	hungry   []*claim         // who wants to fetch and has no room
	bytes    int              // of what is queued
	room     int              // promised to fetches under way
	paused   map[int]struct{}
	all      bool // every partition is paused but for those resumed since
	reading  bool // a loop, Poll or Consume is active
	counters messages.SubscriptionCounters
	wanted   chan struct{} // closed when a reader should look again; nil when none waits
	polled   []*turn       // what the last Poll handed out
}

type shelfPhase string

const (
	shelfOpen    shelfPhase = "open"
	shelfLeaving shelfPhase = "leaving" // what is in hand is finished, nothing new is handed out
	shelfLeft    shelfPhase = "left"
)

const (
	// fetchShare is the room that a consumer needs to ask for batches, and
	// fetchBytes the most that it gets for one request.
	fetchShare = messages.MaxBatchBytes
	fetchBytes = 1 << 20
)

func newShelf(cfg SubscriptionConfig, emit func(messages.Event), standing *atomic.Int64) *shelf {
	return &shelf{cfg: cfg, emit: emit, standing: standing, phase: shelfOpen, claims: make(map[int]*claim), past: make(map[int]wish), fences: make(map[int][2]int64), paused: make(map[int]struct{})}
}

// add takes a new claim in, with everything before position handled. written
// tells that etcd has the position.
func (s *shelf) add(c *claim, position, base int64, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.shelf, c.phase, c.asked, c.committed, c.boundary = s, claimOpen, -1, -1, base
	if written {
		c.committed = position
	}
	c.tell = func(any) {}
	c.finished.Store(position)
	c.lowest = position
	if f, had := s.fences[c.p]; had {
		s.fences[c.p] = [2]int64{min(f[0], c.fence), max(f[1], c.fence)}
	} else {
		s.fences[c.p] = [2]int64{c.fence, c.fence}
	}
	s.claims[c.p] = c
	if s.phase != shelfOpen {
		c.phase, c.wantedOut = claimDraining, time.Now()
		c.look.Store(true)
	}
}

// remove ends a claim: nothing of it is handed out or finished any more.
func (s *shelf) remove(c *claim, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.phase = claimOver
	c.look.Store(true)
	c.drop()
	if c.turn != nil && c.turn.cancel != nil {
		c.turn.cancel(cause)
	}
	if s.claims[c.p] == c {
		delete(s.claims, c.p)
		s.past[c.p] = wish{partition: c.p, fence: c.fence, offset: c.committed}
	}
	s.hungry = slices.DeleteFunc(s.hungry, func(x *claim) bool { return x == c })
	s.feed()
}

// release asks for a claim back: claimIdle tells when nobody has it in hand.
func (s *shelf) release(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.phase != claimOpen {
		if c.phase == claimDraining && c.turn == nil {
			c.tell(claimIdle{})
		}
		return
	}
	c.phase, c.wantedOut = claimDraining, time.Now()
	c.look.Store(true)
	if c.turn == nil {
		c.drop()
		c.tell(claimIdle{})
		s.feed()
	}
}

// attach lets the claim reach its consumer.
func (s *shelf) attach(c *claim, tell func(any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.tell = tell
	c.rests = false // whose timer has ended with an earlier consumer
	if c.phase == claimDraining && c.turn == nil {
		tell(claimIdle{})
	}
}

// next is where the claim's consumer is to go on, and a batch's base at or
// before it, or -1; false while nothing is to be fetched.
func (s *shelf) next(c *claim) (offset, base int64, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fetches(c) {
		return 0, 0, false
	}
	offset = c.wanted()
	if len(c.queue) > 0 {
		return offset, offset, true // right behind a batch
	}
	return offset, c.begins(offset), true
}

// asks answers how much a consumer may fetch; with none it hears of room later.
func (s *shelf) asks(c *claim) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.cfg.MaxFetched - s.bytes - s.room
	switch {
	case !s.fetches(c):
		return 0
	case free < fetchShare && s.bytes+s.room > 0:
		if !slices.Contains(s.hungry, c) {
			s.hungry = append(s.hungry, c)
		}
		return 0
	}
	s.hungry = slices.DeleteFunc(s.hungry, func(x *claim) bool { return x == c })
	room := min(max(free, fetchShare), fetchBytes)
	s.room += room
	return room
}

// fetches tells whether a claim is to be filled.
func (s *shelf) fetches(c *claim) bool { return c.phase == claimOpen && !s.isPaused(c.p) && !c.rests }

// pass hands the word that there is room on: a consumer that was told has no
// use for it.
func (s *shelf) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed()
}

// came takes what a consumer fetched, and the room it was promised for it.
func (s *shelf) came(c *claim, batches []*format.Batch, promised int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room -= promised
	defer s.feed()
	if !s.fetches(c) {
		return
	}
	taken := 0
	for _, b := range batches {
		if next := c.wanted(); b.Base > next || b.End() <= next {
			continue // fetched before a Seek
		}
		if taken > 0 && taken+len(b.Raw) > promised {
			break // an index that says less than there is
		}
		taken += len(b.Raw)
		c.queue = append(c.queue, b)
		c.bytes += len(b.Raw)
		s.bytes += len(b.Raw)
	}
	s.offer(c)
}

// feed tells the first of who is hungry that there is room. One who cannot use
// it asks again when that changes.
func (s *shelf) feed() {
	for len(s.hungry) > 0 && (s.cfg.MaxFetched-s.bytes-s.room >= fetchShare || s.bytes+s.room == 0) {
		c := s.hungry[0]
		s.hungry = s.hungry[1:]
		if s.fetches(c) {
			c.tell(roomMade{})
			return
		}
	}
}

// offer puts a claim into the line if it has something to hand out.
func (s *shelf) offer(c *claim) {
	if c.ready || !s.presentable(c) {
		return
	}
	c.ready = true
	s.line = append(s.line, c)
	s.signal()
}

func (s *shelf) presentable(c *claim) bool {
	return c.phase == claimOpen && c.turn == nil && len(c.queue) > 0 && !c.rests && !s.isPaused(c.p) && c.lease == s.standing.Load()
}

func (s *shelf) signal() {
	if s.wanted != nil {
		close(s.wanted)
		s.wanted = nil
	}
}

// renewed looks at every claim again: the session can be trusted again.
func (s *shelf) renewed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		s.offer(c)
	}
	s.signal()
}

// take waits for a claim with something to hand out and takes it in hand. It
// answers nil without an error when the subscription was left.
func (s *shelf) take(ctx context.Context) (*turn, error) {
	for {
		t, wanted, err := s.tryTake()
		if t != nil || err != nil || wanted == nil {
			return t, err
		}
		select {
		case <-wanted:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryTake is take without waiting: it answers what to wait for.
func (s *shelf) tryTake() (*turn, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != shelfOpen {
		return nil, nil, s.cause
	}
	for len(s.line) > 0 {
		c := s.line[0]
		s.line = s.line[1:]
		c.ready = false
		if !s.presentable(c) {
			continue
		}
		b, at := c.queue[0], c.at()
		t := &turn{c: c, batch: b, rest: b.Raw, offset: b.Base, out: -1, from: at, done: at, attempt: c.failures + 1}
		c.turn, c.lowest = t, min(c.lowest, at)
		return t, nil, nil
	}
	if s.wanted == nil {
		s.wanted = make(chan struct{})
	}
	return nil, s.wanted, nil
}

// put gives a claim back. What was handed out and not finished stays to be
// handed out again.
func (s *shelf) put(t *turn) { s.back(t, nil) }

// failed gives a claim back whose record was not handled; it rests until wake.
func (s *shelf) failed(t *turn) {
	t.out = -1
	s.back(t, func(c *claim) {
		c.failures++
		c.rests = true
		c.tell(claimRests{c.failures})
	})
}

func (s *shelf) back(t *turn, failed func(*claim)) {
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := t.c
	if c.turn != t {
		return
	}
	c.turn = nil
	at := c.at()
	if c.finished.Load() == moved {
		c.finished.Store(at)
	} else {
		if at > t.from {
			c.failures = 0
			s.counters.Finished += uint64(at - t.from)
		}
		if failed != nil {
			s.counters.Failed++
			failed(c)
		}
	}
	if len(c.queue) > 0 && c.queue[0] == t.batch && at >= t.batch.End() {
		c.boundary = at
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.bytes -= len(t.batch.Raw)
		s.bytes -= len(t.batch.Raw)
		c.tell(roomMade{})
	}
	switch c.phase {
	case claimDraining:
		c.drop()
		c.tell(claimIdle{})
	case claimOpen:
		if s.isPaused(c.p) || c.rests {
			c.drop()
		}
		c.look.Store(false)
		s.offer(c)
	}
	s.feed()
}

// wake ends a claim's rest.
func (s *shelf) wake(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.rests = false
	c.tell(roomMade{})
}

// seek moves a claim. What is in hand is not finished by itself any more.
func (s *shelf) seek(c *claim, offset, base int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.drop()
	c.sought = offset
	if c.turn != nil {
		c.look.Store(true)
		c.finished.Store(moved)
	} else {
		c.finished.Store(offset)
	}
	c.boundary, c.failures, c.rests, c.asked = base, 0, false, -1
	c.elsewhere = true
	c.seeks++
	s.feed()
	c.tell(roomMade{})
}

func (s *shelf) isPaused(p int) bool {
	_, named := s.paused[p]
	return named != s.all // when all are paused, those named are not
}

func (s *shelf) pause(partitions ...int) { s.setPaused(true, partitions) }

func (s *shelf) resume(partitions ...int) { s.setPaused(false, partitions) }

func (s *shelf) setPaused(paused bool, partitions []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(partitions) == 0 {
		clear(s.paused)
		s.all = paused
	}
	for _, p := range partitions {
		if s.all != paused {
			s.paused[p] = struct{}{}
		} else {
			delete(s.paused, p)
		}
	}
	for _, c := range s.claims {
		if !s.isPaused(c.p) {
			c.tell(roomMade{})
			s.offer(c)
			continue
		}
		c.look.Store(true)
		if c.turn == nil {
			c.drop()
			c.look.Store(false)
		}
	}
	s.feed()
}

// leave ends the handing out: at once for claims that nobody has in hand.
func (s *shelf) leave(phase shelfPhase, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == shelfLeft || s.phase == phase {
		return
	}
	s.phase = phase
	if s.cause == nil {
		s.cause = cause
	}
	for _, c := range s.claims {
		c.look.Store(true)
	}
	s.signal()
}

// begin lets one reader in, which finishes what the last Poll handed out.
func (s *shelf) begin() error {
	if err := s.enter(); err != nil {
		return err
	}
	s.settlePolled(true)
	return nil
}

func (s *shelf) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase != shelfOpen:
		return messages.ErrClosed
	case s.reading:
		return messages.ErrBusy
	}
	s.reading = true
	return nil
}

// finish lets a reader out. What a Poll has in hand while the subscription is
// being left goes back, or the leaving would wait for a next one.
func (s *shelf) finish() {
	s.mu.Lock()
	s.reading = false
	left := s.phase != shelfOpen
	s.mu.Unlock()
	if left {
		s.settlePolled(false)
	}
}

// busy tells whether a reader is active.
func (s *shelf) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading
}

func (s *shelf) causeOf() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// isOver tells whether nothing can be committed any more.
func (s *shelf) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == shelfLeft
}

// held are all claims.
func (s *shelf) held() (out []*claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		out = append(out, c)
	}
	return out
}

// count changes the counters.
func (s *shelf) count(change func(*messages.SubscriptionCounters)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.counters)
}

// owned are the partitions claimed, sorted.
func (s *shelf) owned() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]int, 0, len(s.claims))
	for p := range s.claims {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// place is the first offset of a claim that is not finished.
func (s *shelf) place(c *claim) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.at()
}
