package produce

// What a process has taken for one partition and etcd has not: the batch that
// fills, those that are full, and the one on its way.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/topics/internal/window"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// accPhase is where an accumulator stands with those who put.
type accPhase uint8

const (
	accOpen     accPhase = iota
	accDraining          // takes no more, and appends what it has
	accClosed
)

// Accumulator gathers the records of all handles for one partition. Nothing
// waits to fill a batch: while one is on its way, what comes is the next.
// Its methods are safe for concurrent use, and one Run goes at a time.
type Accumulator struct {
	partition int
	info      func() messages.TopicInfo
	emit      func(messages.Event) // never blocks, so it may be called under mu
	id        uint64               // random: whose batches these are
	bell      chan struct{}        // wakes Run; holds one ring
	back      BackFunc             // nil: ids mean nothing
	window    window.Window        // Run's alone

	mu      sync.Mutex
	phase   accPhase
	cause   error // why it takes no more
	asleep  bool  // Run waits for the bell
	filling *draft
	full    []*draft
	flight  *shipment   // what Run appends
	decided []*shipment // whose waiters are to be told
	telling bool        // somebody tells them
	// sequence counts what was taken to be sealed.
	sequence uint64
	most     int // bytes of a batch, as far as is known
	later    int // records of a batch that are delivered later, the same
	stats    Stats
	taken    uint64        // records, ever
	told     uint64        // records whose waiters were told, ever
	moved    chan struct{} // closed when told grows, or beside gets less; nil when nobody waits
	beside   []uint64      // transactions under way that append here, the oldest first
	entered  uint64        // the last of them

	// drafts counts those that take no more records. It is read for each record.
	drafts atomic.Uint64
}

// Stats counts what became of the records of one partition in this process.
type Stats struct {
	Records, Bytes uint64 // taken, and their encoded size
	Appends        uint64 // batches committed
	Committed      uint64 // records in them
	Failed         uint64 // records whose callers were told an error
	Duplicates     uint64 // records that the topic had
	Delayed        uint64 // of those committed, that are delivered later
	Queued         int64  // bytes taken and neither committed nor failed
	// Appended is when the last batch was committed, zero before the first.
	Appended time.Time
}

// CommitFunc commits a batch and returns its base. See commitlog.Appender.
type CommitFunc = func(ctx context.Context, s *format.Sealed, more bool) (base int64, err error)

// CommittedFunc is told of a batch that etcd has, before those who put it are,
// and once at most. It does not keep s.
type CommittedFunc = func(base int64, s *format.Sealed)

// NewAccumulator makes the accumulator of a partition. info is the topic as it is
// known now; emit must not block.
func NewAccumulator(partition int, info func() messages.TopicInfo, emit func(messages.Event)) *Accumulator {
	return &Accumulator{
		partition: partition, info: info, emit: emit, id: rand.Uint64(), bell: make(chan struct{}, 1),
		most: messages.MaxBatchBytes, later: format.MaxLater,
	}
}

// add copies m, whose encoded size is given, behind what was taken before. It
// returns why the accumulator is closed, and then has taken nothing. wake asks the
// caller to ring: at once, or, if more follows, after the last. Until then m waits,
// or goes with what somebody else adds. A full batch does not wait.
func (a *Accumulator) add(m *messages.Message, size int, s *slot, more bool) (wake wake, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refuses(s.from); err != nil {
		return wakeNot, err
	}
	d := a.filling
	if d != nil && (!d.fits(size, a.most) || !d.holdsLater(m, a.later)) {
		a.full = append(a.full, d)
		a.drafts.Add(1)
		d = nil
	}
	if d == nil {
		d = newDraft()
		a.filling = d
	}
	d.add(m, size, s)
	a.taken++
	a.stats.Records++
	a.stats.Bytes += uint64(size)
	a.stats.Queued += int64(size)
	switch {
	case !a.asleep:
		return wakeNot, nil
	case more && len(a.full) == 0:
		return wakeAfter, nil
	default:
		a.asleep = false
		return wakeNow, nil
	}
}

// wake says when Run is to be woken for a record.
type wake uint8

const (
	wakeNot   wake = iota // it is awake
	wakeAfter             // after those that follow
	wakeNow
)

// refuses returns why nothing is taken of a producer. mu is held, so that who ends
// one, and then has had mu, knows that nothing comes any more.
func (a *Accumulator) refuses(from *Producer) error {
	if a.phase != accOpen {
		return a.cause
	}
	return from.closed.Why()
}

// ring wakes Run. It never blocks.
func (a *Accumulator) ring() {
	select {
	case a.bell <- struct{}{}:
	default:
	}
}

// Refuse takes no more, with err for who comes. What was taken is appended.
func (a *Accumulator) Refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == accOpen {
		a.phase, a.cause = accDraining, err
	}
}

// Close refuses new records with err and fails what was taken: with err what
// was never sent, and with messages.ErrUnknownOutcome as well what may have been.
// It calls no callbacks, and does not wait for Run, which returns when its append
// does. A second Close does nothing. Close returns how many records it failed.
func (a *Accumulator) Close(err error) (given int) {
	refused, unknown := a.wrap(err), a.wrap(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err))
	a.mu.Lock()
	if a.phase != accClosed {
		a.phase, a.cause = accClosed, err
		failed := a.stats.Failed
		if s := a.flight; s != nil {
			a.flight = nil
			switch s.stage {
			case shipTaken:
				a.fail(s, refused)
			case shipSealed:
				a.fail(s, unknown)
			default:
				a.succeed(s)
			}
		}
		for d := a.take(); d != nil; d = a.take() {
			a.fail(&shipment{draft: d}, refused)
		}
		if given = int(a.stats.Failed - failed); given > 0 {
			a.emit(messages.AppendFailed{Topic: a.info().Name, Partition: a.partition, Records: given, Err: refused})
		}
	}
	a.mu.Unlock()
	a.ring()
	a.tell()
	return given
}

// Taken returns how many records were taken so far, for Flushed.
func (a *Accumulator) Taken() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken
}

// Producer identifies this accumulator in the log: a random number, which its
// batches carry.
func (a *Accumulator) Producer() uint64 { return a.id }

// Counters returns a copy of the counts so far.
func (a *Accumulator) Counters() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

func (a *Accumulator) wrap(err error) error {
	return fmt.Errorf("put to %q, partition %d: %w", a.info().Name, a.partition, err)
}
