package keeper

// The jobs that delete what nobody reads any more: index entries of trimmed batches, bodies
// that an interrupted trimming has left, and topics that were deleted, or made, in part.

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

const (
	// evidenceFor is how long the entries of trimmed batches stay at least. They tell
	// appenders whose outcome is unknown what became of their batches.
	evidenceFor = time.Minute
	// sweepEvery is how often the starts of all partitions are read.
	sweepEvery = 15 * time.Second
)

// sweeping is one term's. How long entries stay it measures itself, from when it saw the
// start; so those of an earlier keeper stay longer, and no clock of a host counts.
type sweeping struct {
	now    func() time.Time
	topics map[string]map[int]*swept // by id and partition
}

// swept is a partition that was trimmed.
type swept struct {
	start int64  // as seen last
	marks []mark // what waits to be deleted, the oldest first
	// owed is up to where entries have stayed for long enough, until they are deleted; 0
	// for nowhere. clean is up to where no body is left.
	owed, clean int64
}

// trimmed is what of a commitlog.Partition is needed.
type trimmed interface {
	DeleteTrimmed(ctx context.Context, o commitlog.Office, what commitlog.Part, upTo int64) (deleted int, more bool, err error)
}

// mark is a start that was seen at a time.
type mark struct {
	start int64
	at    time.Time
}

func newSweeping() *sweeping {
	return &sweeping{now: time.Now, topics: make(map[string]map[int]*swept)}
}

// Name is "sweep".
func (*sweeping) Name() string { return "sweep" }

// Do looks at the starts of all partitions, and deletes what lies before them for long
// enough.
func (s *sweeping) Do(ctx context.Context, w *Work) (time.Duration, error) {
	topics, err := w.Topics(ctx)
	if err != nil {
		return 0, err
	}
	starts, err := w.Log.Starts(ctx, topics)
	if err != nil {
		return 0, err
	}
	var faults []error
	all := make(map[string]map[int]*swept, len(topics))
	for i, t := range topics {
		parts := make(map[int]*swept)
		for p, start := range starts[i] {
			if start <= 0 {
				continue
			}
			known := s.topics[t.ID][p]
			if known == nil {
				known = &swept{}
			}
			parts[p] = known
			known.sees(start, s.now())
			err := known.delete(ctx, w, w.Log.Partition(t, p))
			if errors.Is(err, commitlog.ErrNotKeeper) || ctx.Err() != nil {
				return 0, err
			}
			if err != nil && !errors.Is(err, messages.ErrTopicDeleted) {
				faults = append(faults, err)
			}
		}
		all[t.ID] = parts
	}
	s.topics = all
	return sweepEvery, errors.Join(faults...)
}

// sees takes in where a partition begins, and notes up to where its entries have stayed
// for long enough.
func (k *swept) sees(start int64, now time.Time) {
	if start < k.start { // etcd was set back
		k.marks, k.owed, k.clean = nil, 0, 0
	}
	if start != k.start {
		k.marks = append(k.marks, mark{start, now})
	}
	k.start = start
	for len(k.marks) > 0 && now.Sub(k.marks[0].at) >= evidenceFor {
		k.owed = k.marks[0].start
		k.marks = k.marks[1:]
	}
}

// delete deletes the entries that are due, and bodies before a start that was not seen
// before: who moved it may not have come to that.
func (k *swept) delete(ctx context.Context, w *Work, part trimmed) error {
	if k.clean != k.start {
		if err := deleteAll(ctx, w, part, commitlog.Bodies, k.start); err != nil {
			return err
		}
		k.clean = k.start
	}
	if k.owed == 0 {
		return nil
	}
	if err := deleteAll(ctx, w, part, commitlog.Entries, k.owed); err != nil {
		return err
	}
	k.owed = 0
	return nil
}

func deleteAll(ctx context.Context, w *Work, part trimmed, what commitlog.Part, upTo int64) error {
	for more := true; more; {
		if err := w.Turn(ctx); err != nil {
			return err
		}
		n, left, err := part.DeleteTrimmed(ctx, w.Office, what, upTo)
		if err != nil {
			return err
		}
		more = left
		w.Count(func(s *messages.KeeperStats) { s.SweptKeys += uint64(n) })
	}
	return nil
}

// finishEvery is how often it is looked for topics that were deleted in part.
const finishEvery = 30 * time.Second

type finishing struct{}

// Name is "finish".
func (finishing) Name() string { return "finish" }

// Do removes what is left of topics that were deleted. Nothing of it can be wrong for
// whoever does it, so it compares no office.
func (finishing) Do(ctx context.Context, w *Work) (time.Duration, error) {
	if err := w.Log.Sweep(ctx); err != nil {
		return 0, err
	}
	return finishEvery, nil
}
