package prefetch

// One owned partition, between the consumer that fills it and whoever reads.

import (
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/topics/internal/lanes"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Claim is the ownership of a partition and the place in it. It outlives the
// incarnations of the consumer's actor. Once it was added, its buffer's lock
// guards what is not exported, and the rest does not change.
//
//	open ──release──▶ draining ──nobody has it in hand, released──▶ over
//	  └───lost────────────┴─────────────────────────────────────────▲
type Claim struct {
	Partition int
	// Fence, Lease and MemberRevision identify it in etcd: its CreateRevision,
	// the session's lease, and the CreateRevision of the member's key.
	Fence, Lease, MemberRevision int64
	// Tag tells its records from those of all other claims of this process, also of claims
	// that were made in one transaction and have the same fence. Add sets it.
	Tag int64

	buffer *Buffer

	// finished: everything before it is. The one cursor there is at a time moves
	// it without the lock; a Seek takes it away from that cursor with moved, and
	// the place is in sought until the cursor ends. Read it with at.
	finished atomic.Int64
	sought   int64
	// lowest is the first offset at which a cursor began, and handed the one after
	// the last that was handed out, 0 for none: what may be committed by name.
	lowest int64
	handed atomic.Int64
	// look asks that cursor to end, so that the claim is looked at under the lock.
	look atomic.Bool

	phase     claimPhase
	queue     []*format.Batch // queue[0] holds finished, or begins there
	bytes     int             // of queue
	boundary  int64           // the base of a batch at or before finished, or -1
	cursor    *cursor         // who has it in hand
	rests     bool            // its first record failed and waits
	ready     bool            // it is in the buffer's line
	ahead     format.Progress // of what is not finished; of what is not in the window
	changed   uint64          // counts what is to be committed besides finished
	sent      uint64          // the same, when a position was made last
	stands    uint64          // the same, as etcd has it
	doneThere int64           // finished records behind committed, as etcd has them
	lapsed    int64           // the first offset behind what was counted as expired
	asked     int64           // what Commit wants written; -1 for nothing
	committed int64           // what etcd has; -1 for nothing
	known     int64           // its ModRevision, 0 for nothing
	staked    bool            // a transaction is about to move it: nothing else is to
	elsewhere bool            // a Seek moved it since etcd was written to last
	seeks     uint64          // how often it was moved
	began     int64           // where it did, or where a Seek moved it
	written   []written       // of batches that are not committed
	behind    time.Time       // since when there is something to commit, as Lag saw it
	wantedOut time.Time       // when it was asked back

	// While handlers take records of it at the same time: what they are given, who has
	// one in hand, the batch that is being taken in, and the bytes of batches that were.
	window *lanes.Window
	hands  map[*hand]struct{}
	intake intake
	held   int
	alarm  time.Time // when Wake is due, as the consumer was told

	claimedAt  int64 // where it began, as etcd had it
	limit      int64 // nothing from there on is handed out before the next commit
	behindTold bool  // that commit was asked for

	// tell reaches the consumer's actor. It does not block.
	tell func(Notice)
}

// moved is what finished is while there is a cursor from before a Seek.
const moved = -1

type claimPhase string

const (
	claimOpen     claimPhase = "open"
	claimDraining claimPhase = "draining"
	claimOver     claimPhase = "over"
)

// Notice is what a claim tells its consumer: RoomMade, Idle, Rests, Behind or Stalled.
type Notice interface{ notice() }

type (
	// RoomMade: there may be room for what the consumer wants to fetch.
	RoomMade struct{}
	// Idle: nobody has a released claim in hand, and nobody will.
	Idle struct{}
	// Rests: records failed. Wake is due after so long, and no earlier one.
	Rests struct{ Delay time.Duration }
	// Behind: nothing more is handed out before the next commit.
	Behind struct{}
	// Stalled: the batch in hand does not decode at an offset. Err names it and
	// wraps messages.ErrCorrupt; nothing is handed out until Seek.
	Stalled struct {
		Offset int64
		Err    error
	}
)

func (RoomMade) notice() {}
func (Idle) notice()     {}
func (Rests) notice()    {}
func (Behind) notice()   {}
func (Stalled) notice()  {}

// at is the first offset that is not finished.
func (c *Claim) at() int64 {
	if at := c.finished.Load(); at != moved {
		return at
	}
	return c.sought
}

// wanted is the first offset that has not come yet.
func (c *Claim) wanted() int64 {
	if n := len(c.queue); n > 0 {
		return c.queue[n-1].End()
	}
	if c.window != nil {
		return c.window.Next()
	}
	return c.at()
}

// begins is the base of a batch at or before an offset that is finished, or -1.
func (c *Claim) begins(offset int64) int64 {
	if c.window != nil && offset == c.window.Floor() && c.window.FloorBase() >= 0 {
		return c.window.FloorBase()
	}
	for _, b := range c.queue {
		switch {
		case b.Base <= offset && offset < b.End():
			return b.Base
		case offset == b.End():
			return offset
		}
	}
	switch {
	case c.boundary >= 0 && c.boundary <= offset && offset < c.boundary+messages.MaxBatchRecords:
		return c.boundary
	}
	return -1
}

// drop empties the queue and the window: what was in them is to be fetched again. Who
// has a record of the window in hand finishes nothing any more.
func (c *Claim) drop() {
	c.buffer.bytes -= c.bytes + c.held
	c.queue, c.bytes = nil, 0
	c.window, c.intake, c.held, c.alarm = nil, intake{}, 0, time.Time{}
}

// failures is how often the first record that is not finished failed.
func (c *Claim) failures() int {
	if c.window != nil {
		return 0
	}
	tried, _ := c.ahead.TriedAt(c.at())
	return tried.Attempts
}

// ClaimLook is a claim, as of one moment.
type ClaimLook struct {
	Finished  int64 // the first offset that is not finished
	Committed int64 // what etcd has; -1 for nothing
	Bytes     int   // read ahead
	Failures  int   // of the record at Finished
	Paused    bool
}

// Look returns how a claim stands.
func (b *Buffer) Look(c *Claim) ClaimLook {
	b.mu.Lock()
	defer b.mu.Unlock()
	return ClaimLook{Finished: c.at(), Committed: c.committed, Bytes: c.bytes, Failures: c.failures(), Paused: b.isPaused(c.Partition)}
}
