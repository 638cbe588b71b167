package keeper

// The job that compacts topics by key: of what no pass has read it learns the newest
// record of each key, and erases what these supersede, in all of the partition.

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/actors/topics/internal/compact"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// readPerSecond and writtenPerSecond bound what passes read and write, in bytes of
	// unpacked records: puts and readers need etcd and the processors, too.
	readPerSecond, writtenPerSecond = 32 << 20, 8 << 20
	// pageTries is how often a page is read again whose batches somebody else changed.
	pageTries = 3
)

// compacting is one term's. What passes rest on is in etcd: it remembers only when to look.
type compacting struct {
	began          time.Time
	topics         map[string]*compacted // by id
	reads, written *rate.Limiter
	looking        time.Duration // what the last round has taken, without its passes
}

// compacted is a topic that is compacted.
type compacted struct {
	revision int64 // of its settings
	due      time.Time
	fault    error // of the last look; nil is none
	parts    map[int]*compactedPart
}

type compactedPart struct {
	ends compact.Ends
	last time.Duration // when the last pass was over, as steady time
}

func newCompacting() *compacting {
	return &compacting{
		began: time.Now(), topics: make(map[string]*compacted),
		reads: rate.NewLimiter(readPerSecond, readPerSecond), written: rate.NewLimiter(writtenPerSecond, writtenPerSecond),
	}
}

// Name is "compaction".
func (*compacting) Name() string { return "compaction" }

// Do looks at every topic that is compacted and due. What is wrong with one holds up no
// other: the error names all of them.
func (c *compacting) Do(ctx context.Context, w *Work) (time.Duration, error) {
	began := time.Now()
	topics, err := w.Topics(ctx)
	if err != nil {
		return 0, err
	}
	c.looking = time.Since(began)
	wait := topicsIdle
	lives := make(map[string]bool, len(topics))
	var faults []error
	for i := range topics {
		t := &topics[i]
		if t.Config.Compaction != messages.CompactByKey {
			continue
		}
		lives[t.ID] = true
		known := c.topics[t.ID]
		if known == nil || known.revision != t.ModRevision {
			known = &compacted{revision: t.ModRevision, parts: make(map[int]*compactedPart)}
			c.topics[t.ID] = known
		}
		if left := time.Until(known.due); left > 0 {
			wait = min(wait, left)
			faults = append(faults, known.fault)
			continue
		}
		err := c.topic(ctx, w, t, known)
		switch {
		case errors.Is(err, commitlog.ErrNotKeeper) || errors.Is(err, messages.ErrUnavailable) || ctx.Err() != nil:
			return 0, err
		case errors.Is(err, messages.ErrTopicDeleted):
			err = nil
		}
		every := compact.Every(&t.Config)
		faults = append(faults, err)
		known.due, known.fault = time.Now().Add(every), err
		wait = min(wait, every)
	}
	for id := range c.topics {
		if !lives[id] {
			delete(c.topics, id)
		}
	}
	return max(wait, restsFor*c.looking), errors.Join(faults...)
}

// topic looks at all partitions of one topic.
func (c *compacting) topic(ctx context.Context, w *Work, t *messages.TopicInfo, topic *compacted) error {
	began := time.Now()
	heads, err := w.Log.Heads(ctx, *t)
	if err != nil {
		return err
	}
	known, bad, err := w.Log.Compacted(ctx, *t)
	if err != nil {
		return err
	}
	c.looking += time.Since(began)
	var faults []error
	for _, h := range heads {
		if h.Partition >= len(known) {
			continue // it was added since, and is looked at next
		}
		if err := errors.Join(h.Err, bad[h.Partition]); err != nil {
			faults = append(faults, err)
			continue
		}
		part := topic.parts[h.Partition]
		if part == nil {
			part = &compactedPart{}
			topic.parts[h.Partition] = part
		}
		err := c.partition(ctx, w, t, h, part, &known[h.Partition])
		switch {
		case errors.Is(err, commitlog.ErrNotKeeper) || errors.Is(err, messages.ErrTopicDeleted) || errors.Is(err, messages.ErrUnavailable) || ctx.Err() != nil:
			return err
		case errors.Is(err, commitlog.ErrOtherLog):
			*part, err = compactedPart{}, nil // and it is looked again
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// partition makes passes over one partition, as long as one is worth it. known is how far
// the last one came.
func (c *compacting) partition(ctx context.Context, w *Work, t *messages.TopicInfo, h commitlog.Head, part *compactedPart, known *format.Compacted) error {
	now := func() time.Duration { return time.Since(c.began) + 1 }
	part.ends.Saw(h.End, now(), t.Config.CompactionLag)
	old, ok := part.ends.Older(now(), t.Config.CompactionLag)
	if !ok || h.End.Offset == h.Start {
		return nil
	}
	log := w.Log.Partition(*t, h.Partition)
	for {
		look := compact.Look{
			Clean: known.Bytes, Since: now() - part.last, Now: w.Clock.Now(),
			Passing: known.Passing, Expires: known.Expires, Removed: known.Removed,
		}
		look.Due = known.Due(look.Now, t.Config.TombstoneGrace)
		if old.Offset > known.UpTo {
			look.Dirty = old.Bytes - max(known.LogBytes, h.First.LogBytes-int64(h.First.Bytes))
		}
		if !look.Worth(&t.Config) {
			return nil
		}
		p := pass{job: c, work: w, log: log, topic: t, head: h, now: look.Now, passes: look.Passes()}
		before := known.UpTo
		var err error
		known, err = p.run(ctx, old.Offset)
		part.last = now()
		if err != nil {
			return err
		}
		if known.UpTo >= old.Offset || known.UpTo == before {
			return nil
		}
	}
}

// pass is one pass over a partition.
type pass struct {
	job   *compacting
	work  *Work
	log   *commitlog.Partition
	topic *messages.TopicInfo
	head  commitlog.Head
	now   time.Time
	// passes: there is something to erase although nothing is learned.
	passes bool

	basis  commitlog.Basis
	newest *compact.Newest
	total  compact.Tally
	done   commitlog.Erasing
	live   int64 // bytes
	// front is up to where nothing is left, from the start of the partition on.
	front int64
}

// run makes a pass over what is before an offset, or less where there are many keys, and
// returns how far the compaction has come.
func (p *pass) run(ctx context.Context, to int64) (*format.Compacted, error) {
	began := time.Now()
	var err error
	if p.basis, err = p.log.Compacted(ctx); err != nil {
		return nil, err
	}
	due, before := p.basis.Due(p.now, p.topic.Config.TombstoneGrace), p.basis.UpTo
	if err := p.learn(ctx, to); err != nil {
		return nil, err
	}
	if p.basis.UpTo == before && !p.passes {
		return &p.basis.Compacted, nil
	}
	judge := compact.Judge{Newest: p.newest, Due: due, Now: p.now, TTL: p.topic.Config.TTL}
	p.front = p.head.Start
	if err := p.erase(ctx, &judge); err != nil {
		return nil, err
	}
	b := &p.basis
	b.Bytes, b.Passing, b.Expires, b.Removed = p.live, p.total.Passing, p.total.Expires, due
	b.Passed(p.now, p.topic.Config.TombstoneGrace)
	if err := p.work.Turn(ctx); err != nil {
		return nil, err
	}
	if err := p.log.NoteCompacted(ctx, p.work.Office, b); err != nil {
		return nil, err
	}
	trimmed := int64(0)
	if p.front > p.head.Start {
		if err := p.work.Turn(ctx); err != nil {
			return nil, err
		}
		cut, err := p.log.TruncateAs(ctx, p.work.Office, p.front)
		if err != nil {
			return nil, err
		}
		trimmed = cut.Start - cut.From
	}
	p.tell(time.Since(began), trimmed)
	return &b.Compacted, nil
}

// learn reads what no pass has read, up to an offset, to what the window of ids reaches back
// to, or as many keys as are known at once.
func (p *pass) learn(ctx context.Context, to int64) error {
	p.newest = compact.NewNewest(compact.MostKeys)
	return p.each(ctx, p.basis.UpTo, func() int64 { return to }, func(page []commitlog.Stored) (bool, error) {
		for _, s := range page {
			if p.newest.Full() || compact.Known(&p.topic.Config, s.Entry, s.Batch.Time, p.head.End, p.now) {
				return false, nil
			}
			if err := p.newest.Take(s.Batch); err != nil {
				return false, err
			}
			p.basis.RestOn(s)
			p.basis.UpTo, p.basis.LogBytes = s.Entry.End(), s.Entry.LogBytes
		}
		return true, nil
	})
}

// each gives pages of batches from one offset on to do, that end before the other or
// there, until do wants no more.
func (p *pass) each(ctx context.Context, from int64, to func() int64, do func([]commitlog.Stored) (bool, error)) error {
	pager := p.log.Pager(from)
	for pager.At() < to() {
		page, err := pager.Next(ctx)
		if trimmed := (*commitlog.TrimmedError)(nil); errors.As(err, &trimmed) {
			pager = p.log.Pager(trimmed.Start)
			continue
		}
		for len(page) > 0 && page[len(page)-1].Entry.End() > to() {
			page = page[:len(page)-1]
		}
		if len(page) == 0 {
			return err
		}
		bytes := 0
		for i := range page {
			bytes += max(page[i].Bytes, len(page[i].Batch.Raw))
		}
		if err := spend(ctx, p.job.reads, bytes); err != nil {
			return err
		}
		if more, err := do(page); err != nil || !more {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// erase goes over the whole partition, up to where p.basis goes, and has erased what is
// to go.
func (p *pass) erase(ctx context.Context, judge *compact.Judge) error {
	return p.each(ctx, p.head.Start, func() int64 { return p.basis.UpTo }, func(page []commitlog.Stored) (bool, error) {
		return true, p.erasePage(ctx, judge, page)
	})
}

// erasePage has erased what is to go of one page, which is read again when somebody else
// changed it meanwhile.
func (p *pass) erasePage(ctx context.Context, judge *compact.Judge, page []commitlog.Stored) error {
	for try := 1; ; try++ {
		tallies := make(map[int64]*compact.Tally, len(page)) // by base
		at := 0
		gone := func(offset int64, r *messages.Payload) bool {
			for page[at].Entry.End() <= offset {
				at++
			}
			base := page[at].Entry.Base
			if tallies[base] == nil {
				tallies[base] = &compact.Tally{}
			}
			return judge.Gone(offset, r, tallies[base])
		}
		done, err := p.log.EraseFrom(ctx, p.work.Office, &p.basis, page, gone, func(bytes int) error {
			if err := spend(ctx, p.job.written, bytes); err != nil {
				return err
			}
			return p.work.Turn(ctx)
		})
		p.done.Records, p.done.Batches, p.done.Bytes = p.done.Records+done.Records, p.done.Batches+done.Batches, p.done.Bytes+done.Bytes
		if errors.Is(err, commitlog.ErrOtherLog) && try < pageTries {
			if page, err = p.again(ctx, page); err != nil || len(page) == 0 {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for i := range page {
			tally := tallies[page[i].Entry.Base]
			if tally == nil { // all of it was erased before
				tally = &compact.Tally{}
			}
			p.total.Add(*tally)
			p.live += int64(page[i].Bytes)
			if tally.Left == 0 && page[i].Entry.Base <= p.front {
				p.front = max(p.front, page[i].Entry.End())
				p.live -= int64(page[i].Bytes)
			}
		}
		return nil
	}
}

// again reads the batches of a page again, as far as they are there, if the log is the
// same.
func (p *pass) again(ctx context.Context, page []commitlog.Stored) (now []commitlog.Stored, err error) {
	switch same, err := p.log.Stands(ctx, &p.basis); {
	case err != nil:
		return nil, err
	case !same:
		return nil, commitlog.ErrOtherLog
	}
	end := page[len(page)-1].Entry.End()
	err = p.each(ctx, page[0].Entry.Base, func() int64 { return end }, func(some []commitlog.Stored) (bool, error) {
		now = append(now, some...)
		return true, nil
	})
	return now, err
}

// tell counts what a pass did, and tells of it if it did something.
func (p *pass) tell(took time.Duration, trimmed int64) {
	e := messages.TopicCompacted{
		Topic: p.topic.Name, Partition: p.head.Partition, End: p.basis.UpTo, Batches: p.done.Batches, Superseded: p.total.Superseded,
		Removed: p.total.Removed, Bytes: int64(p.done.Bytes), Trimmed: trimmed, Took: took,
	}
	p.work.Count(func(s *messages.KeeperStats) {
		s.CompactionPasses++
		s.RewrittenBatches += uint64(e.Batches)
		s.SupersededRecords += uint64(e.Superseded)
		s.RemovedTombstones += uint64(e.Removed)
		s.CompactedBytes += uint64(max(0, e.Bytes))
	})
	if e.Batches > 0 || trimmed > 0 {
		p.work.Emit(e)
	}
}

// spend waits until so many bytes may be read or written, or ctx ends, whose cause it
// returns.
func spend(ctx context.Context, l *rate.Limiter, bytes int) error {
	if err := l.WaitN(ctx, min(bytes, l.Burst())); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}
