package commitlog

// One partition, how a batch stands in it, and what can be wrong with it.

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Partition is one partition of a topic. It holds no state and is safe for
// concurrent use.
type Partition struct {
	log   *Log
	topic messages.TopicInfo
	p     int

	indexAt, bodyAt, startAt string // what its keys begin with, and its start
}

// Partition is the partition p of t. It does not talk to etcd; that there is
// such a partition shows with the first request.
func (l *Log) Partition(t messages.TopicInfo, p int) *Partition {
	return &Partition{
		log: l, topic: t, p: p,
		indexAt: l.space.Index(t.ID, p), bodyAt: l.space.Bodies(t.ID, p), startAt: l.space.LogStart(t.ID, p),
	}
}

// String names the partition for errors: "orders"/3.
func (p *Partition) String() string { return fmt.Sprintf("%q/%d", p.topic.Name, p.p) }

// Number is the partition's, from 0.
func (p *Partition) Number() int { return p.p }

func (p *Partition) startKey() string           { return p.startAt }
func (p *Partition) indexKey(base int64) string { return p.indexAt + keys.Offset(base) }
func (p *Partition) bodyKey(base int64) string  { return p.bodyAt + keys.Offset(base) }
func (p *Partition) expiringKey() string        { return p.log.space.Expiring(p.topic.ID, p.p) }

// ParseEntry reads an entry of the index of the topic with that id, as
// format.ParseEntry does.
func (l *Log) ParseEntry(id, key string, value []byte, modRevision int64) (p int, e format.Entry, ok bool) {
	return format.ParseEntry(l.space, id, key, value, modRevision)
}

// endsAs are the guards that the batch before an end is the one known. An etcd that
// was restored from a backup may have forgotten it, or have another one there by now:
// after it there would be a gap, or an overlap.
func (p *Partition) endsAs(t format.LogEnd) []clientv3.Cmp {
	last := p.indexKey(t.Last)
	switch {
	case t.Last < 0: // there is none: the partition begins here
		return []clientv3.Cmp{valued(p.startKey(), etcdserverpb.Compare_EQUAL, keys.Offset(t.Offset))}
	case t.Whole != "":
		return []clientv3.Cmp{valued(last, etcdserverpb.Compare_EQUAL, t.Whole)}
	case t.Inline: // what it begins with says whose it is, without the body
		return []clientv3.Cmp{valued(last, etcdserverpb.Compare_GREATER, t.Entry), valued(last, etcdserverpb.Compare_LESS, t.Above())}
	}
	return []clientv3.Cmp{valued(last, etcdserverpb.Compare_EQUAL, t.Entry)}
}

// slotGuards are that the slot of s is free, and follows the end that is known. That
// the topic is there is another guard.
func (a *Appender) slotGuards(s *format.Sealed) []clientv3.Cmp {
	p, base := a.p, s.Way.Base
	guards := []clientv3.Cmp{
		created(p.indexKey(base), 0),
		valued(p.startKey(), etcdserverpb.Compare_LESS, keys.Offset(base+1)),
	}
	return append(append(guards, p.endsAs(s.Way.After)...), a.floor.holds(p)...)
}

// putOps put s into its slot, and now and then a hint. mark is whether the mark of records that
// expire goes along, if s has any.
func (a *Appender) putOps(s *format.Sealed, mark bool) []clientv3.Op {
	ops := a.p.putBatch(s)
	if s.Expires != 0 && mark {
		ops = append(ops, clientv3.OpPut(a.p.expiringKey(), ""))
	}
	if a.appends%hintEvery == 0 {
		ops = append(ops, clientv3.OpPut(a.p.log.space.Hint(a.p.topic.ID, a.p.p), keys.Offset(s.Way.Base)))
	}
	return ops
}

// putBatch puts s where it is on its way to: its entry, its body unless that is in the
// entry, and what of it is delivered later.
func (p *Partition) putBatch(s *format.Sealed) []clientv3.Op {
	entry := clientv3.OpPut(p.indexKey(s.Way.Base), s.Way.Entry)
	ops := []clientv3.Op{entry}
	if !s.Way.Behind.Inline {
		body := clientv3.OpPut(p.bodyKey(s.Way.Base), "")
		body.WithValueBytes(s.Body(s.Way.Base))
		ops = []clientv3.Op{entry, body}
	}
	if len(s.Later()) > 0 {
		ops = append(ops, p.putLater(s)...)
	}
	return ops
}

// gone is the error of a partition whose topic was deleted.
func (p *Partition) gone(op string) error {
	return fmt.Errorf("%s %s: %w", op, p, messages.ErrTopicDeleted)
}

// CorruptError says that a partition's bytes in etcd do not make sense. It wraps
// messages.ErrCorrupt.
type CorruptError struct {
	Topic     string
	Partition int
	// Base is the offset of the batch that is damaged or missing.
	Base int64
	// Why says what is wrong with it.
	Why string
}

// Error says where and why.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %q, partition %d, batch at %d: %s: %v", e.Topic, e.Partition, e.Base, e.Why, messages.ErrCorrupt)
}

// Unwrap is messages.ErrCorrupt.
func (e *CorruptError) Unwrap() error { return messages.ErrCorrupt }

func (p *Partition) corrupt(base int64, why string, args ...any) *CorruptError {
	return &CorruptError{Topic: p.topic.Name, Partition: p.p, Base: base, Why: fmt.Sprintf(why, args...)}
}

// TrimmedError says that what was asked for is no longer there: the partition
// begins later now.
type TrimmedError struct {
	// Start is the first offset that can be read.
	Start int64
}

// Error says where the partition begins.
func (e *TrimmedError) Error() string {
	return fmt.Sprintf("trimmed: the partition begins at offset %d", e.Start)
}

// What there is of partitions from where somebody has read them to.

// Reached is how far somebody has read a partition.
type Reached struct {
	// Offset is the next one to be read.
	Offset int64
	// Last is the batch before it, of which Base, Count, Producer and Sequence matter;
	// without a Count nothing was read.
	Last format.Entry
}

// News is what there is of a partition from where it was read to.
type News struct {
	// Start and End are where the partition begins and ends.
	Start, End int64
	// Stands reports whether the last batch read is in the log, or was trimmed. If not,
	// etcd was set back, and End says nothing about what was read.
	Stands bool
}

// Beyond returns what there is from there on, and how many partitions t has: read[p] is of
// partition p. It is linearizable: an End counts every append that returned before. Where
// nothing came since it takes one request for each 64 partitions, else one or two more. The
// error wraps messages.ErrTopicDeleted when a partition is gone, or is that of a request.
func (l *Log) Beyond(ctx context.Context, t messages.TopicInfo, read []Reached) (ahead []News, partitions int, err error) {
	op := fmt.Sprintf("find the ends of %q", t.Name)
	ahead = make([]News, len(read))
	all := make([]searching, len(read))
	for i := range all {
		all[i].p = l.Partition(t, i)
	}
	for from := 0; from < len(read); {
		n := min(len(read)-from, l.limits.of(places))
		to := from + n
		partitions, err = l.beyond(ctx, op, read[from:to], all[from:to], ahead[from:to])
		switch {
		case l.limits.fewer(places, n, err):
		case err != nil:
			return nil, 0, err
		default:
			from = to
		}
	}
	if err := l.seek(ctx, op, all, 0); err != nil {
		return nil, 0, err
	}
	for i := range all {
		if err := all[i].err; err != nil {
			return nil, 0, fmt.Errorf("%s: %w", op, err)
		}
		ahead[i].End = all[i].Offset
	}
	return ahead, partitions, nil
}

// newsAtOnce is how many entries of each partition the first request brings: the last one
// read, and some that came since.
const newsAtOnce = 4

// beyond is one request of Beyond, which begins the searches.
func (l *Log) beyond(ctx context.Context, op string, read []Reached, all []searching, ahead []News) (partitions int, err error) {
	id := all[0].p.topic.ID
	ops := []clientv3.Op{clientv3.OpGet(l.space.Starts(id), clientv3.WithPrefix())}
	for i, at := range read {
		all[i].search = searchFrom(format.LogEnd{Offset: at.Offset, Last: -1})
		from := at.Offset
		if at.Last.Count > 0 {
			from = at.Last.Base
		}
		ops = append(ops, clientv3.OpGet(all[i].p.indexKey(from), clientv3.WithRange(all[i].p.indexKey(at.Offset+window)), clientv3.WithLimit(newsAtOnce)))
	}
	resp, err := l.do(ctx, op, nil, ops, nil)
	if err != nil {
		return 0, err
	}
	starts := byKey(kvsOf(resp, 0))
	for i, at := range read {
		s := &all[i]
		start, ok, err := s.p.parseStart(starts[s.p.startKey()])
		if err == nil && !ok {
			err = s.p.gone("find the end of")
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", op, err)
		}
		kvs := kvsOf(resp, i+1)
		more := len(kvs) == newsAtOnce
		ahead[i] = News{Start: start, Stands: at.Last.Count == 0 || at.Last.Base < start}
		if at.Last.Count > 0 && len(kvs) > 0 && string(kvs[0].Key) == s.p.indexKey(at.Last.Base) {
			last, err := s.p.parse(kvs[0])
			// What does not decode is damaged, and not another one.
			ahead[i].Stands = err != nil || last.IsOf(at.Last)
			kvs = kvs[1:]
		}
		if start > at.Offset {
			s.search = searchAll(start, 0)
			continue
		}
		if more { // the window is looked at as a whole
			continue
		}
		e, ok, err := s.p.one(kvs[max(0, len(kvs)-1):])
		if s.err = err; err == nil {
			s.feed(e, ok)
		}
	}
	return len(starts), nil
}
