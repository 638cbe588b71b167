package prefetch

// The claims of a subscription, and what is known of the subscription as a whole.

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Config is what a buffer needs to know of its subscription.
type Config struct {
	Topic, Group string
	// ManualCommit: only what is asked for is due to be committed.
	ManualCommit bool
	// Concurrency is how many records a Consumption handles at once, in the order that Order
	// says: 0 is one of each partition that a worker has.
	Concurrency int
	Order       lanes.Order
	// MaxFetched bounds the bytes that are read ahead. It must be positive.
	MaxFetched int
	// Retry spaces the attempts of a failed record. MaxAttempts is after how
	// many failures DeadLetter gets it; 0 is never.
	Retry       messages.Retry
	MaxAttempts int
	DeadLetter  func(ctx context.Context, r messages.Record, cause error) error
	// Bury, in place of DeadLetter, writes what it puts elsewhere with the end of the record.
	// It returns what of the record had to be left out there.
	Bury func(ctx context.Context, d *Burial, r messages.Record, cause error) (omitted string, err error)
	// Breaker is how many dead letters in a row have Trip called, which must not block, and
	// Share which share of the records that were finished last; the zero values are none.
	Breaker int
	Share   Share
	Trip    func(Tripped)
	// Persist, unless it is nil, has what is due written, and waits for that.
	Persist func(ctx context.Context) error
	// TTL is how long after its time a record is handed out, 0 without end; nil is 0.
	// It is called for each record.
	TTL func() time.Duration
	// Expired, unless it is nil, is given what was not handed out before its ExpiresAt,
	// with bytes of its own. It must not block, is called with the buffer's lock held,
	// and reports whether it took the record.
	Expired func(messages.Record) bool
}

// Buffer is what consumers fill and readers empty. It outlives the incarnations of
// the actors around it, and is safe for concurrent use. Use New.
type Buffer struct {
	cfg  Config
	emit func(messages.Event)
	// trusted is the session's lease while it can be trusted, else 0: only
	// claims under it hand out records.
	trusted *atomic.Int64
	inside  *usercode.Runs
	inARow  atomic.Int64 // dead letters, since a record was handled
	share   *share       // nil where none matters

	mu       sync.Mutex
	phase    Phase
	cause    error // why it ended, when nobody asked for it
	claims   map[int]*Claim
	past     map[int]Target   // how far the last claim of a partition was committed
	fences   map[int][2]int64 // the first and the last that a partition was owned under
	line     []*Claim         // who has something to hand out
	hungry   []*Claim         // who wants to fetch and has no room
	bytes    int              // of what is queued
	room     int              // promised to fetches under way
	paused   map[int]struct{}
	all      bool // every partition is paused but for those resumed since
	group    bool // the group is paused
	reading  bool // a loop, Poll or Consume is active
	working  bool // it is a Consumption
	laned    bool // one that takes records one by one
	counters messages.SubscriptionCounters
	wanted   chan struct{}   // closed when a reader should look again; nil when none waits
	idle     []chan struct{} // workers that wait for a record; closed to wake one
	polled   []*cursor       // what the last Poll handed out
}

// Phase is whether a buffer hands out records.
type Phase string

const (
	// Open: it does.
	Open Phase = "open"
	// Leaving: what is in hand is finished, nothing new is handed out.
	Leaving Phase = "leaving"
	// Left: the subscription is over.
	Left Phase = "left"
)

const (
	// fetchShare is the room that a consumer needs to ask for batches, and
	// fetchBytes the most that it gets for one request.
	fetchShare = messages.MaxBatchBytes
	fetchBytes = 1 << 20
)

// New is a buffer without claims. emit must not block. trusted is the session's
// lease while it can be trusted, else 0. inside knows where user code runs.
func New(cfg Config, emit func(messages.Event), trusted *atomic.Int64, inside *usercode.Runs) *Buffer {
	return &Buffer{
		cfg: cfg, emit: emit, trusted: trusted, inside: inside, phase: Open, share: newShare(cfg.Share),
		claims: make(map[int]*Claim), past: make(map[int]Target), fences: make(map[int][2]int64), paused: make(map[int]struct{}),
	}
}

// Place is where a new claim begins.
type Place struct {
	// Offset is the first one that is not handled; Base is that of a batch at
	// or before it, or -1.
	Offset, Base int64
	// Written: etcd has Offset. Known is the ModRevision of what it has, 0 for
	// nothing.
	Written bool
	Known   int64
	// Progress is what is known of the records from Offset on.
	Progress format.Progress
}

// tags counts the claims of all buffers of a process: its subscriptions to a group lend
// through one sender.
var tags atomic.Int64

// Add adds a claim that was just made.
func (b *Buffer) Add(c *Claim, at Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.buffer, c.phase, c.asked, c.committed, c.boundary, c.known = b, claimOpen, -1, -1, at.Base, at.Known
	if at.Written {
		c.committed = at.Offset
	}
	c.Tag = tags.Add(1)
	c.tell = func(Notice) {}
	c.ahead = at.Progress
	c.finished.Store(at.Progress.Past(at.Offset))
	c.lowest, c.began, c.claimedAt, c.limit = c.finished.Load(), at.Offset, at.Offset, math.MaxInt64
	if at.Progress.Takeovers > 0 && !b.cfg.ManualCommit {
		c.limit = bound(at.Offset, at.Progress)
	}
	if f, had := b.fences[c.Partition]; had {
		b.fences[c.Partition] = [2]int64{min(f[0], c.Fence), max(f[1], c.Fence)}
	} else {
		b.fences[c.Partition] = [2]int64{c.Fence, c.Fence}
	}
	b.claims[c.Partition] = c
	if b.phase != Open {
		c.phase, c.wantedOut = claimDraining, time.Now()
		c.look.Store(true)
	}
}

// Remove ends a claim: nothing of it is handed out or finished any more. cause is
// for the context of a handler that has a record of it.
func (b *Buffer) Remove(c *Claim, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.phase = claimOver
	c.look.Store(true)
	c.drop()
	if c.cursor != nil && c.cursor.cancel != nil {
		c.cursor.cancel(cause)
	}
	for h := range c.hands {
		if h.cancel != nil {
			h.cancel(cause)
		}
	}
	if b.claims[c.Partition] == c {
		delete(b.claims, c.Partition)
		b.past[c.Partition] = Target{Partition: c.Partition, fence: c.Fence, offset: c.committed}
	}
	b.hungry = slices.DeleteFunc(b.hungry, func(x *Claim) bool { return x == c })
	b.feed()
}

// Attach lets a claim reach its consumer. tell must not block, and is called with
// the buffer's lock held.
func (b *Buffer) Attach(c *Claim, tell func(Notice)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.tell = tell
	c.rests, c.alarm = false, time.Time{} // whose timer has ended with an earlier consumer
	if c.phase == claimDraining && !c.inHand() {
		tell(Idle{})
	}
	b.restsOn(c)
	b.setAlarm(c)
}

// Busy reports whether a reader is active.
func (b *Buffer) Busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reading
}

// Cause is why the subscription ended, nil when somebody asked for it or it has not.
func (b *Buffer) Cause() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// IsOver reports whether the subscription is over, so that nothing can be committed
// any more.
func (b *Buffer) IsOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.phase == Left
}

// Claims are all that are held, in no order.
func (b *Buffer) Claims() (out []*Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.claims {
		out = append(out, c)
	}
	return out
}

// Count changes the counters.
func (b *Buffer) Count(change func(*messages.SubscriptionCounters)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.counters)
}

// Partitions are those claimed, sorted.
func (b *Buffer) Partitions() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]int, 0, len(b.claims))
	for p := range b.claims {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// Finished is the first offset of a claim that is not finished.
func (b *Buffer) Finished(c *Claim) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.at()
}

// Run describes a run of user code of this subscription.
func (b *Buffer) Run(what string) *usercode.Run {
	return &usercode.Run{
		What: fmt.Sprintf("%s of group %q of topic %q", what, b.cfg.Group, b.cfg.Topic), Of: b,
	}
}

// InHand are the partitions that a reader has in hand, sorted.
func (b *Buffer) InHand() (out []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, c := range b.claims {
		if c.inHand() {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// Stats are the counters, how many partitions are claimed, and how many bytes are
// read ahead, as of one moment.
func (b *Buffer) Stats() (n messages.SubscriptionCounters, partitions, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counters, len(b.claims), b.bytes
}
