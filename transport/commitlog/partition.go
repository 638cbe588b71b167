package commitlog

// One partition, how a batch stands in it, and what can be wrong with it.

import (
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
