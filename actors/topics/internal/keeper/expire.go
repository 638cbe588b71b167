package keeper

// The job that deletes records which have expired by themselves: by their ExpiresAt, and
// whatever the limits of their topic say.

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// marksEvery is how often it is looked where records expire, expiredEvery how often at
	// partitions in which some do; sooner where some are due, but expiredLeast apart.
	marksEvery, expiredEvery, expiredLeast = 15 * time.Second, 5 * time.Second, time.Second
	// expiredFor is how long a record has to be expired: groups that are not far behind hear of
	// it (RecordExpired), and no host's clock is that wrong.
	expiredFor = time.Minute
	// mostDue is how many batches of a partition are remembered, of which records will
	// expire; the index is read on when some have. erasedAtOnce is how many of them are
	// written again before it is another partition's turn.
	mostDue, erasedAtOnce = 1 << 16, 64
	// againEvery is how often an index is read again from its beginning: etcd may have been
	// set back meanwhile.
	againEvery = time.Hour
	// unmarkAfter is how long nothing that expires has to be in a partition until its mark goes.
	unmarkAfter = 10 * time.Minute
	// openedAtOnce is how many batches are read in one request.
	openedAtOnce = 8
)

// expiring is one term's. Marks in etcd say which partitions have such records, entries of
// the index in which batches; each is read once. Nothing that is written depends on what it
// remembers. A compacted topic is left to its compaction: a record that has expired
// supersedes those of its key before it.
type expiring struct {
	topics  map[string]map[int]*expiringPart // by id
	written *rate.Limiter                    // in bytes of unpacked records
}

// expiringPart is a partition in which records expire.
type expiringPart struct {
	since time.Time
	end   format.LogEnd // of what was read of the index
	due   dueBatches
	idle  time.Time // since when nothing is due; zero for not at all
}

func newExpiringPart() *expiringPart {
	return &expiringPart{since: time.Now(), end: format.LogEnd{Last: -1}}
}

// dueBatch is a batch, and when the first of its records expires.
type dueBatch struct {
	expires, base int64
	raw           int
}

// dueBatches is a heap, the first to expire on top.
type dueBatches []dueBatch

func (q dueBatches) Len() int           { return len(q) }
func (q dueBatches) Less(i, j int) bool { return q[i].expires < q[j].expires }
func (q dueBatches) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is for the heap.
func (q *dueBatches) Push(x any) { *q = append(*q, x.(dueBatch)) }

// Pop is for the heap.
func (q *dueBatches) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newExpiring() *expiring {
	return &expiring{topics: make(map[string]map[int]*expiringPart), written: rate.NewLimiter(writtenPerSecond, writtenPerSecond)}
}

// Name is "expiry".
func (*expiring) Name() string { return "expiry" }

// Do looks at every partition in which records expire. What is wrong with one holds up no
// other: the error names all of them.
func (x *expiring) Do(ctx context.Context, w *Work) (time.Duration, error) {
	all, err := w.Topics(ctx)
	if err != nil {
		return 0, err
	}
	topics := slices.DeleteFunc(slices.Clone(all), func(t messages.TopicInfo) bool { return t.Config.Compaction == messages.CompactByKey })
	marked, err := w.Log.Expiring(ctx, topics)
	if err != nil {
		return 0, err
	}
	wait := marksEvery
	lives := make(map[string]map[int]*expiringPart, len(topics))
	var faults []error
	for i := range topics {
		t := &topics[i]
		for _, p := range marked[i] {
			part := x.topics[t.ID][p]
			if part == nil || time.Since(part.since) > againEvery {
				part = newExpiringPart()
			}
			if lives[t.ID] == nil {
				lives[t.ID] = make(map[int]*expiringPart)
			}
			lives[t.ID][p] = part
			err := x.partition(ctx, w, t, p, part)
			if err == nil && part.isIdle(time.Now()) {
				_, err = w.Log.Partition(*t, p).UnmarkExpiring(ctx, w.Office, part.end)
				part.idle = time.Time{} // it is tried again as much later
			}
			wait = min(wait, part.wait(w.Clock.Now().Add(-expiredFor)))
			switch {
			case errors.Is(err, commitlog.ErrNotKeeper) || errors.Is(err, messages.ErrUnavailable) || ctx.Err() != nil:
				return 0, err
			case errors.Is(err, messages.ErrTopicDeleted):
			case err != nil:
				delete(lives[t.ID], p) // it is read again from its beginning
				faults = append(faults, err)
			}
		}
	}
	x.topics = lives
	return wait, errors.Join(faults...)
}

// partition deletes what has expired in one partition.
func (x *expiring) partition(ctx context.Context, w *Work, t *messages.TopicInfo, p int, part *expiringPart) error {
	log := w.Log.Partition(*t, p)
	if err := part.read(ctx, log); err != nil {
		return err
	}
	now := w.Clock.Now().Add(-expiredFor)
	due := part.take(now.UnixNano())
	if len(due) == 0 {
		return nil
	}
	start, err := x.trim(ctx, w, t, log, p, now)
	if err != nil {
		return err
	}
	for i, b := range due {
		if b.base < start {
			continue
		}
		err := w.Turn(ctx)
		if err == nil {
			err = spend(ctx, x.written, b.raw)
		}
		if err != nil {
			return err
		}
		erased, next, err := log.EraseExpired(ctx, w.Office, b.base, now)
		if err != nil {
			for _, b := range due[i:] {
				heap.Push(&part.due, b)
			}
			return err
		}
		if next != 0 {
			heap.Push(&part.due, dueBatch{next, b.base, b.raw})
		}
		w.Count(func(s *messages.KeeperStats) { s.ExpiredRecords += uint64(erased) })
	}
	return nil
}

// read takes in what is new in the index.
func (part *expiringPart) read(ctx context.Context, log *commitlog.Partition) error {
	for range pagesAtOnce {
		if len(part.due) >= mostDue {
			return nil
		}
		entries, err := log.Entries(ctx, part.end.Offset, entriesAtOnce)
		if trimmed := (*commitlog.TrimmedError)(nil); errors.As(err, &trimmed) && trimmed.Start > part.end.Offset {
			part.end = format.LogEnd{Offset: trimmed.Start, Last: -1}
			continue
		}
		for _, e := range entries {
			part.end = e.LogEnd()
			if e.Expires != 0 {
				heap.Push(&part.due, dueBatch{e.Expires, e.Base, e.Raw})
			}
		}
		if err != nil || len(entries) < entriesAtOnce {
			return err
		}
	}
	return nil
}

// isIdle reports whether nothing has been due for so long that the mark may go.
func (part *expiringPart) isIdle(now time.Time) bool {
	switch {
	case len(part.due) > 0:
		part.idle = time.Time{}
	case part.idle.IsZero():
		part.idle = now
	}
	return !part.idle.IsZero() && now.Sub(part.idle) >= unmarkAfter
}

// wait is after how long the partition is looked at again, of which is deleted what has
// expired by now.
func (part *expiringPart) wait(now time.Time) time.Duration {
	if len(part.due) == 0 {
		return expiredEvery
	}
	return min(expiredEvery, max(expiredLeast, time.Unix(0, part.due[0].expires).Sub(now)))
}

// take takes out some batches of which records have expired, by their bases.
func (part *expiringPart) take(now int64) (due []dueBatch) {
	for len(part.due) > 0 && part.due[0].expires <= now && len(due) < erasedAtOnce {
		due = append(due, heap.Pop(&part.due).(dueBatch))
	}
	slices.SortFunc(due, func(a, b dueBatch) int {
		if a.base < b.base {
			return -1
		}
		return 1
	})
	return due
}

// trim has the partition begin behind its first batches of which all records have expired
// or are erased, and returns where it begins.
func (x *expiring) trim(ctx context.Context, w *Work, t *messages.TopicInfo, log *commitlog.Partition, p int, now time.Time) (int64, error) {
	start, _, err := log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	entries, err := log.Entries(ctx, start, entriesAtOnce)
	if err != nil {
		return start, commitlog.IgnoreTrimmed(err)
	}
	n, limit := 0, mayBeGone(entries, now.UnixNano())
	for n < limit {
		some := entries[n:min(n+openedAtOnce, limit)]
		gone, err := log.AllExpired(ctx, some, now)
		if commitlog.IgnoreTrimmed(err) != nil {
			return start, err
		}
		if n += gone; gone < len(some) {
			break
		}
	}
	if n == 0 {
		return start, nil
	}
	if err := w.Turn(ctx); err != nil {
		return start, err
	}
	if trimmed, err := log.Trim(ctx, w.Office, start, entries[n-1], n); err != nil || !trimmed {
		return start, err
	}
	tell(w, t, p, entries[:n], whyExpired)
	return entries[n-1].End(), nil
}

// mayBeGone is how many of the first entries may have nothing left: records of them have
// expired, or were erased before.
func mayBeGone(entries []format.Entry, now int64) int {
	n := slices.IndexFunc(entries, func(e format.Entry) bool {
		return e.Edit == 0 && (e.Expires == 0 || e.Expires > now)
	})
	if n < 0 {
		return len(entries)
	}
	return n
}
