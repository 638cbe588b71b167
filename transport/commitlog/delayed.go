package commitlog

// Records that are delivered later. The batch that they were put with has their places; each
// waits under a key of its own, which sorts by when it is due. What was put last says so
// under one small key of the partition, its mark, which the keeper watches.
//
//	waiting ──due: appended at the end, and its key deleted, in one transaction──▶ delivered
//	   └──────its key deleted──▶ cancelled
//
// The key is what both take away, so one of them wins, and a transaction whose outcome is
// unknown can be made again: it is applied once.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

func (p *Partition) waiting() string  { return p.log.space.Waiting(p.topic.ID, p.p) }
func (p *Partition) delayKey() string { return p.log.space.Delay(p.topic.ID, p.p) }

// dueBy is the key behind all records that are due at a time or before.
func (p *Partition) dueBy(due int64) string {
	if due == math.MaxInt64 {
		return clientv3.GetPrefixRangeEnd(p.waiting())
	}
	return p.waiting() + keys.Offset(due+1)
}

// putLater puts the records of s that are delivered later, and the mark.
func (p *Partition) putLater(s *format.Sealed) []clientv3.Op {
	later := s.Later()
	ops := make([]clientv3.Op, 0, len(later)+1)
	first := later[0].Due
	for i := range later {
		l := &later[i]
		op := clientv3.OpPut(p.log.space.WaitingRecord(p.topic.ID, p.p, l.Due, s.Way.Base+int64(l.Record)), "")
		op.WithValueBytes(l.Value(s.Way.Base))
		ops = append(ops, op)
		first = min(first, l.Due)
	}
	return append(ops, clientv3.OpPut(p.delayKey(), keys.Offset(first)))
}

// NoneWaits is the FirstDue of a partition in which no record waits.
const NoneWaits = math.MaxInt64

// Ahead is what waits in a partition from a key on, "" for all, and is due by a time in
// nanoseconds since 1970, math.MaxInt64 for all.
type Ahead struct {
	P    *Partition
	From string
	By   int64
}

// FirstDue returns for each of parts when the first record is due that waits there, in
// nanoseconds since 1970, or NoneWaits. It takes a request for each 64, and as long as etcd
// takes to count all that waits there. Errors:
// messages.ErrUnavailable, ErrDenied.
func (l *Log) FirstDue(ctx context.Context, parts []Ahead) (due []int64, err error) {
	err = inTurn(l.limits, places, parts, func(some []Ahead) error {
		ops := make([]clientv3.Op, len(some))
		for i, a := range some {
			ops[i] = clientv3.OpGet(cmp.Or(a.From, a.P.waiting()), clientv3.WithRange(a.P.dueBy(a.By)), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
		}
		resp, err := l.do(ctx, "look what is due", nil, ops, nil)
		if err != nil {
			return err
		}
		for i := range some {
			at := int64(NoneWaits)
			if kvs := kvsOf(resp, i); len(kvs) > 0 {
				k, _ := l.space.Parse(string(kvs[0].Key))
				at = k.Due // a key that makes no sense is due, and found then
			}
			due = append(due, at)
		}
		return nil
	})
	return due, err
}

// Waits is a page of what waits in a partition.
type Waits struct {
	Records []format.Waiting
	// Bad are those that make no sense: each wraps messages.ErrCorrupt.
	Bad []error
	// Next is where to continue, and More says that there is more that is due.
	Next string
	More bool
}

// Waits reads the first records, so many at most, that wait in the partition and are due at a
// time or before, from a key on; "" is the first. Errors: messages.ErrUnavailable, ErrDenied.
func (p *Partition) Waits(ctx context.Context, from string, due int64, most int) (Waits, error) {
	from = cmp.Or(from, p.waiting())
	for {
		n := min(most, p.log.limits.of(pages))
		resp, err := p.log.get(ctx, "read what waits in "+p.String(), from, clientv3.WithRange(p.dueBy(due)), clientv3.WithLimit(int64(n)))
		if p.log.limits.fewer(pages, n, err) {
			continue
		}
		if err != nil {
			return Waits{}, err
		}
		w := Waits{Next: from, More: resp.More}
		for _, kv := range resp.Kvs {
			r, err := p.parseWaiting(kv)
			if err != nil {
				w.Bad = append(w.Bad, err)
				continue
			}
			w.Records = append(w.Records, r)
		}
		if n := len(resp.Kvs); n > 0 {
			w.Next = string(resp.Kvs[n-1].Key) + "\x00"
		}
		return w, nil
	}
}

// parseWaiting reads what was found under the prefix of the partition. The error is a
// *CorruptError.
func (p *Partition) parseWaiting(kv *mvccpb.KeyValue) (format.Waiting, error) {
	k, ok := p.log.space.Parse(string(kv.Key))
	if !ok || k.Kind != keys.KindWaiting {
		return format.Waiting{}, p.corrupt(0, "the key %q of a delayed record makes no sense", kv.Key)
	}
	w, err := format.OpenWaiting(k.Due, k.Base, kv.Value, kv.ModRevision)
	if err != nil {
		return w, p.corrupt(k.Base, "the delayed record: %v", err)
	}
	return w, nil
}

func (p *Partition) waitingKey(w format.Waiting) string {
	return p.log.space.WaitingRecord(p.topic.ID, p.p, w.Due, w.Offset)
}

// DeliveredTogether is how many records one Deliver takes at most.
const DeliveredTogether = 64

// Deliver appends the first of the records that are due, as many as fit, and deletes what
// they waited under: all of these or none. They are of now, in nanoseconds since 1970, and
// the batch has the number sequence of the appender, which is given to no other. It returns
// how many were delivered: 0 when something has changed meanwhile, and what is due is to be
// read again.
//
// Errors: ErrNotKeeper, messages.ErrTopicDeleted, ErrCorrupt, ErrUnavailable, ErrDenied,
// ErrNoSpace, a *messages.LimitError. After an unknown outcome what still waits was not
// delivered, and nothing is delivered twice.
func (a *Appender) Deliver(ctx context.Context, o Office, due []format.Waiting, now int64, sequence uint64) (delivered int, err error) {
	p := a.p
	s, err := format.SealDue(due, now, p.topic.Config.Compression, a.cfg.Producer, sequence)
	if err != nil {
		return 0, p.corrupt(due[0].Offset, "%v", err)
	}
	due = due[:s.Count]
	for range tries {
		if a.knows == nothing {
			_, end, err := p.bounds(ctx)
			if err != nil {
				return 0, err
			}
			a.learn(end)
		}
		if a.await(ctx); ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		s.GoBehind(a.end)
		r, done, err := a.deliver(ctx, o, s, due)
		switch {
		case err != nil:
			return 0, err
		case done:
			a.land(s)
			s.Free()
			return len(due), nil
		case len(r.entries) == 0:
			a.forget()
			return 0, nil
		}
		if err := a.overtaken(ctx, s, r); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// deliver makes one attempt: done, or what is in the slot instead.
func (a *Appender) deliver(ctx context.Context, o Office, s *format.Sealed, due []format.Waiting) (refusal, bool, error) {
	const op = "deliver to"
	p := a.p
	guards := append(p.log.holds(o), p.log.lives(p.topic))
	guards = append(guards, a.slotGuards(s)...)
	then := a.putOps(s, true)
	for _, w := range due {
		key := p.waitingKey(w)
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(key), "=", w.ModRevision))
		then = append(then, clientv3.OpDelete(key))
	}
	then = append(then, a.turn.ops(p, 0, s.Way.Behind, false)...)
	leave, err := p.log.room.enter(ctx, s.Bytes())
	if err != nil {
		return refusal{}, false, err
	}
	defer leave()
	resp, err := p.log.do(ctx, op+" "+p.String(), guards, then, append(p.refused(o), p.refusalOp(s.Way.Base)))
	switch {
	case err != nil:
		a.forget()
		a.turn.doubt()
		return refusal{}, false, err
	case resp.Succeeded:
		if a.turn.mine != "" {
			a.turn.took(resp, a.timing)
		} else {
			a.turn.overtaken = nil
		}
		return refusal{}, true, nil
	}
	if err := p.whyRefused(op, o, resp); err != nil {
		return refusal{}, false, err
	}
	last := len(resp.Responses) - 1
	r, err := p.refusal(s.Way.Base, part(resp, last, last+1))
	return r, false, err
}

// Cancel deletes the record that waits with its place at an offset. It returns
// messages.ErrNotDelayed when there is none: it was delivered or cancelled, or never was
// delayed. It takes three requests, and one for each 1,000 records that wait where the
// offset was trimmed. Errors besides: messages.ErrUnknownOutcome (it is gone, by this call
// or delivered), ErrOffsetOutOfRange, ErrTopicDeleted, ErrUnavailable, ErrDenied.
func (p *Partition) Cancel(ctx context.Context, offset int64) error {
	op := fmt.Sprintf("cancel offset %d of %s", offset, p)
	for doubtful := error(nil); ; {
		key, revision, err := p.findWaiting(ctx, op, offset)
		if err == nil && key == "" {
			if doubtful != nil {
				return fmt.Errorf("%s: %w: it is gone, by this call or because it was delivered: %w", op, messages.ErrUnknownOutcome, doubtful)
			}
			return fmt.Errorf("%s: %w", op, messages.ErrNotDelayed)
		}
		if err != nil {
			if doubtful != nil {
				err = fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err)
			}
			return err
		}
		resp, err := p.log.do(ctx, op, []clientv3.Cmp{p.log.lives(p.topic), clientv3.Compare(clientv3.ModRevision(key), "=", revision)},
			[]clientv3.Op{clientv3.OpDelete(key)}, p.refused(Office{}))
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, messages.ErrUnavailable):
			doubtful = err
			pause(ctx, usualTiming.shortest)
		case errors.Is(err, messages.ErrUnavailable) || err != nil && ctx.Err() != nil:
			return fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err)
		case err != nil:
			return err
		case resp.Succeeded:
			return nil
		default:
			if err := p.whyRefused("cancel a record of", Office{}, resp); err != nil {
				return err
			}
		}
	}
}

// findWaiting returns the key under which the record with its place at offset waits, "" for
// none, and its ModRevision.
func (p *Partition) findWaiting(ctx context.Context, op string, offset int64) (key string, revision int64, err error) {
	due, found, err := p.placeAt(ctx, offset)
	if err != nil {
		return "", 0, err
	}
	if found && due == 0 {
		return "", 0, nil
	}
	if found {
		key = p.log.space.WaitingRecord(p.topic.ID, p.p, due, offset)
		resp, err := p.log.get(ctx, op, key, clientv3.WithKeysOnly())
		if err != nil || len(resp.Kvs) == 0 {
			return "", 0, err
		}
		return key, resp.Kvs[0].ModRevision, nil
	}
	kvs, err := p.allWaiting(ctx, op)
	if err != nil {
		return "", 0, err
	}
	for _, kv := range kvs {
		if strings.HasSuffix(string(kv.Key), "/"+keys.Offset(offset)) {
			return string(kv.Key), kv.ModRevision, nil
		}
	}
	return "", 0, nil
}

// placeAt returns when the record is due that has its place at offset, 0 for a record that is
// no such place. found is false when the offset was trimmed.
func (p *Partition) placeAt(ctx context.Context, offset int64) (due int64, found bool, err error) {
	start, end, err := p.Bounds(ctx)
	switch {
	case err != nil:
		return 0, false, err
	case offset < 0 || offset >= end:
		return 0, false, fmt.Errorf("look at offset %d of %s: %w: it ends at %d", offset, p, messages.ErrOffsetOutOfRange, end)
	case offset < start:
		return 0, false, nil
	}
	base, err := p.Locate(ctx, offset)
	if err != nil {
		return 0, false, IgnoreTrimmed(err)
	}
	entries, err := p.Entries(ctx, base, 1)
	if err != nil || len(entries) == 0 {
		return 0, false, IgnoreTrimmed(err)
	}
	batches, err := p.Fetch(ctx, entries)
	if err != nil || len(batches) == 0 {
		return 0, false, IgnoreTrimmed(err)
	}
	rest := batches[0].Raw
	for at := base; len(rest) > 0; at++ {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			return 0, false, p.corrupt(at, "%v", err)
		}
		if at == offset {
			if !messages.Erased(&r) {
				return 0, true, nil
			}
			return messages.DelayOf(&r).Due, true, nil
		}
		rest = rest[n:]
	}
	return 0, false, nil
}

// IgnoreTrimmed is err, or nil for a *TrimmedError: that somebody else trimmed the partition.
func IgnoreTrimmed(err error) error {
	if trimmed := (*TrimmedError)(nil); errors.As(err, &trimmed) {
		return nil
	}
	return err
}

// CancelAll deletes all records that wait in the partition when it is called, and returns how
// many there were. It takes a request for each 1,000, and one for each 64. Errors: messages.ErrTopicDeleted,
// ErrUnavailable, ErrDenied; then some may be deleted.
func (p *Partition) CancelAll(ctx context.Context) (cancelled int, err error) {
	op := "cancel what waits in " + p.String()
	all, err := p.allWaiting(ctx, op)
	if err != nil {
		return 0, err
	}
	err = inTurn(p.log.limits, places, all, func(some []*mvccpb.KeyValue) error {
		then := make([]clientv3.Op, len(some)) // one by one: what is put meanwhile stays
		for i, kv := range some {
			then[i] = clientv3.OpDelete(string(kv.Key))
		}
		resp, err := p.log.do(ctx, op, []clientv3.Cmp{p.log.lives(p.topic)}, then, p.refused(Office{}))
		switch {
		case err != nil:
			return err
		case !resp.Succeeded:
			return p.whyRefused("cancel what waits in", Office{}, resp)
		}
		for _, r := range resp.Responses {
			cancelled += int(r.GetResponseDeleteRange().Deleted)
		}
		return nil
	})
	return cancelled, err
}

// allWaiting are the keys of all records that wait in the partition, without values.
func (p *Partition) allWaiting(ctx context.Context, op string) ([]*mvccpb.KeyValue, error) {
	return atOneRevision(func() ([]*mvccpb.KeyValue, error) {
		all, _, err := p.log.list(ctx, op, p.waiting(), 0, clientv3.WithKeysOnly())
		return all, err
	})
}

// Unmark deletes the mark of the partition, whose ModRevision is given, if no record waits
// there, and reports whether it did. Errors: ErrNotKeeper, messages.ErrTopicDeleted,
// ErrUnavailable, ErrDenied.
func (p *Partition) Unmark(ctx context.Context, o Office, revision int64) (bool, error) {
	const op = "unmark"
	key := p.delayKey()
	guards := append(p.log.holds(o), p.log.lives(p.topic),
		clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		clientv3.Compare(clientv3.CreateRevision(p.waiting()).WithPrefix(), "=", 0))
	resp, err := p.log.do(ctx, op+" "+p.String(), guards, []clientv3.Op{clientv3.OpDelete(key)}, p.refused(o))
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	return false, p.whyRefused(op, o, resp)
}

// UnmarkGone deletes the mark of a partition of a topic that is gone: it compares that the
// topic with that id has no partition any more. Errors: ErrNotKeeper,
// messages.ErrUnavailable, ErrDenied.
func (l *Log) UnmarkGone(ctx context.Context, o Office, id string, p int, revision int64) error {
	const op = "unmark a deleted topic"
	key := l.space.Delay(id, p)
	guards := append(l.holds(o),
		clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		clientv3.Compare(clientv3.CreateRevision(l.space.Starts(id)).WithPrefix(), "=", 0))
	resp, err := l.do(ctx, op, guards, []clientv3.Op{clientv3.OpDelete(key)}, []clientv3.Op{exists(l.space.Keeper())})
	if err == nil && !resp.Succeeded && o.revision != 0 && o.lost(ranged(resp, 0)) {
		err = fmt.Errorf("%s: %w", op, ErrNotKeeper)
	}
	return err
}

// countWaiting fills in how many records wait in partitions, and when the first of them is
// due, as of a revision. It is one request where none does.
func (l *Log) countWaiting(ctx context.Context, t messages.TopicInfo, partitions []messages.PartitionInfo, revision int64) error {
	op := "count what waits in " + t.Name
	all, err := l.get(ctx, op, l.space.AllWaiting(t.ID), clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision))
	if err != nil || all.Count == 0 {
		return err
	}
	return inTurn(l.limits, places, upTo(len(partitions)), func(some []int) error {
		ops := make([]clientv3.Op, len(some))
		for i, n := range some { // the count is that of all
			ops[i] = clientv3.OpGet(l.space.Waiting(t.ID, n), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1), clientv3.WithRev(revision))
		}
		resp, err := l.do(ctx, op, nil, ops, nil)
		if err != nil {
			return err
		}
		for i, n := range some {
			r := ranged(resp, i)
			partitions[n].Delayed = r.Count
			if len(r.Kvs) > 0 {
				if k, ok := l.space.Parse(string(r.Kvs[0].Key)); ok {
					partitions[n].NextDue = time.Unix(0, k.Due).UTC()
				}
			}
		}
		return nil
	})
}
