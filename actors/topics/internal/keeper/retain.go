package keeper

// The job that deletes what the limits of topics say.

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// retention is one term's. It remembers nothing that what is written depends on.
type retention struct {
	began  time.Time
	topics map[string]*retained // by id
}

// retained is a topic with limits.
type retained struct {
	revision int64 // of its settings
	due      time.Time
	fault    error // of the last look; nil is none
	parts    map[int]*retainedPart
	// heads are what the last look has left, whole when all of it was read last.
	heads []commitlog.Head
	whole time.Time
}

type retainedPart struct {
	seen sight
	aged map[int64]time.Time
}

func newRetention() *retention {
	return &retention{began: time.Now(), topics: make(map[string]*retained)}
}

const retentionName = "retention"

// Name is "retention".
func (*retention) Name() string { return retentionName }

const (
	// entriesAtOnce is how many batches one transaction deletes at most, pagesAtOnce how
	// many of these a partition gets before it is another's turn.
	entriesAtOnce, pagesAtOnce = 256, 64
	// topicsIdle is how often it is looked whether any topic has limits.
	topicsIdle = time.Second
	// wholeEvery is how often all that is known of a topic's partitions is read again.
	wholeEvery = 5 * time.Second
	// restsFor is how long it is looked at nothing, in times of what the looks before have
	// taken, unless a limit is near.
	restsFor = 3
)

// Do looks at every topic that has limits and is due. What is wrong with one holds up no
// other: the error names all of them.
func (r *retention) Do(ctx context.Context, w *Work) (time.Duration, error) {
	topics, err := w.Topics(ctx)
	if err != nil {
		return 0, err
	}
	wait, began := topicsIdle, time.Now()
	lives := make(map[string]bool, len(topics))
	var faults []error
	for i := range topics {
		t := &topics[i]
		if !messages.Bounded(&t.Config) {
			continue
		}
		lives[t.ID] = true
		known := r.topics[t.ID]
		if known == nil || known.revision != t.ModRevision {
			known = &retained{revision: t.ModRevision, parts: make(map[int]*retainedPart)}
			r.topics[t.ID] = known
		}
		if left := time.Until(known.due); left > 0 {
			wait = min(wait, left)
			faults = append(faults, known.fault)
			continue
		}
		next, err := r.topic(ctx, w, t, known)
		switch {
		case errors.Is(err, commitlog.ErrNotKeeper) || errors.Is(err, messages.ErrUnavailable) || ctx.Err() != nil:
			return 0, err
		case errors.Is(err, messages.ErrTopicDeleted):
			err = nil
		}
		faults = append(faults, err)
		known.due, known.fault = time.Now().Add(next), err
		wait = min(wait, next)
	}
	for id := range r.topics {
		if !lives[id] {
			delete(r.topics, id)
		}
	}
	if wait >= brisk { // no limit is near
		wait = max(wait, restsFor*time.Since(began))
	}
	return wait, errors.Join(faults...)
}

// topic deletes what one topic's limits say, and returns when to look again.
func (r *retention) topic(ctx context.Context, w *Work, t *messages.TopicInfo, known *retained) (time.Duration, error) {
	if time.Since(known.whole) > wholeEvery {
		known.heads, known.whole = nil, time.Now()
	}
	heads, err := w.Log.HeadsSince(ctx, *t, known.heads)
	if err != nil {
		known.heads = nil
		return idlest, err
	}
	known.heads = heads
	var done []int64
	if t.Config.Retention == messages.RetainUntilDone {
		if done, err = w.Log.Done(ctx, *t); err != nil {
			return idlest, err
		}
	}
	wait := idlest
	var faults []error
	for i := range heads {
		h := &heads[i]
		part := known.parts[h.Partition]
		if part == nil {
			part = &retainedPart{aged: make(map[int64]time.Time)}
			known.parts[h.Partition] = part
		}
		p := judged{end: h.End, done: undone, aged: part.aged}
		if h.Partition < len(done) {
			p.done = done[h.Partition]
		}
		if part.seen.at > 0 {
			p.ahead = ahead(&t.Config, part.seen.end, h.End)
		}
		next, err := r.partition(ctx, w, t, h, p, part)
		if errors.Is(err, commitlog.ErrNotKeeper) || errors.Is(err, messages.ErrTopicDeleted) || ctx.Err() != nil {
			return idlest, err
		}
		faults = append(faults, err)
		wait = min(wait, next)
	}
	return wait, errors.Join(faults...)
}

// partition deletes what is to be deleted of one partition, and notes in h what is left.
func (r *retention) partition(ctx context.Context, w *Work, t *messages.TopicInfo, h *commitlog.Head, p judged, known *retainedPart) (time.Duration, error) {
	if h.Err != nil {
		return idlest, h.Err
	}
	log, cfg := w.Log.Partition(*t, h.Partition), &t.Config
	at := time.Since(r.began) + 1
	for range pagesAtOnce {
		if h.First.Count == 0 || p.reason(cfg, h.First, w.Clock.Now()) == "" {
			break
		}
		start := h.Start
		entries, err := log.Entries(ctx, start, entriesAtOnce)
		n, why := expired(cfg, p, entries, w.Clock.Now())
		if n == 0 && commitlog.IgnoreTrimmed(err) != nil {
			return idlest, err
		}
		if n == 0 {
			h.First = format.Entry{} // it was not that, or the partition begins elsewhere
			return brisk, nil
		}
		if err := w.Turn(ctx); err != nil {
			return 0, err
		}
		trimmed, err := log.Trim(ctx, w.Office, start, entries[n-1], n)
		if err != nil {
			return idlest, err
		}
		if !trimmed {
			return soonest, nil
		}
		tell(w, t, h.Partition, entries[:n], why)
		h.Start, h.First = entries[n-1].End(), format.Entry{}
		if n < len(entries) {
			h.First = entries[n]
		} else if h.Start < p.end.Offset {
			return soonest, nil // there may be more
		}
	}
	now := sight{at: at, end: p.end, records: p.end.Offset - h.Start}
	if h.First.Count > 0 {
		now.bytes = p.end.Bytes - h.First.LogBytes + int64(h.First.Bytes)
	}
	next := again(cfg, p, h.First, known.seen, now, w.Clock.Now())
	known.seen = now
	return next, nil
}

// tell counts batches that were deleted, and tells of them.
func tell(w *Work, t *messages.TopicInfo, p int, gone []format.Entry, why string) {
	first, last := gone[0], gone[len(gone)-1]
	e := messages.TopicTrimmed{
		Topic: t.Name, Partition: p, Start: last.End(), Batches: len(gone), Records: last.End() - first.Base,
		Bytes: last.LogBytes - first.LogBytes + int64(first.Bytes), Why: why,
	}
	w.Count(func(s *messages.KeeperStats) {
		s.TrimmedBatches += uint64(e.Batches)
		s.TrimmedRecords += uint64(e.Records)
		s.TrimmedBytes += uint64(max(0, e.Bytes))
	})
	w.Emit(e)
}
