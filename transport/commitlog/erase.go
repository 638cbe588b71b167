package commitlog

// Erasing single records: their batch is rewritten without them, and keeps its place.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Erase erases the records that gone reports of the batch at base, and returns how many
// these were; none when the batch was trimmed. It compares the index entry that it read,
// which no two versions of a batch share, so that what others erase meanwhile is kept.
// It is one read and one write, and again as often as others write first. Errors:
// ErrNotKeeper, messages.ErrTopicDeleted, ErrCorrupt, ErrUnavailable, ErrDenied,
// ErrNoSpace, ErrTooLarge; what is repeated after an unknown outcome finds nothing left
// to erase.
func (p *Partition) Erase(ctx context.Context, o Office, base int64, gone func(offset int64, r *messages.Payload) bool) (int, error) {
	r, err := p.erase(ctx, o, base, gone)
	if r == nil {
		return 0, err
	}
	return r.Erased, err
}

// erase is Erase that returns the batch as it stands in etcd then, nil where nothing was
// erased.
func (p *Partition) erase(ctx context.Context, o Office, base int64, gone func(offset int64, r *messages.Payload) bool) (*format.Rewritten, error) {
	const op = "erase records of"
	for {
		resp, err := p.log.do(ctx, op+" "+p.String(), nil, []clientv3.Op{
			clientv3.OpGet(p.startKey()), clientv3.OpGet(p.indexKey(base)), clientv3.OpGet(p.bodyKey(base)),
		}, nil)
		if err != nil {
			return nil, err
		}
		start, ok, err := p.parseStart(kvsOf(resp, 0))
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, p.gone(op)
		case start > base:
			return nil, nil
		}
		e, b, err := p.read(base, resp)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", op, p, err)
		}
		r, err := format.Erase(e, b, gone, p.topic.Config.Compression, max(1, rand.Uint64()))
		if err != nil || r == nil {
			return nil, err
		}
		guards := append(p.log.holds(o), p.log.lives(p.topic),
			clientv3.Compare(clientv3.Value(p.startKey()), "<", keys.Offset(base+1)),
			clientv3.Compare(clientv3.Value(p.indexKey(base)), "=", string(kvsOf(resp, 1)[0].Value)))
		then := []clientv3.Op{clientv3.OpPut(p.indexKey(base), string(r.Value))}
		if r.Body != nil {
			guards = append(guards, clientv3.Compare(clientv3.ModRevision(p.bodyKey(base)), "=", kvsOf(resp, 2)[0].ModRevision))
			then = append(then, clientv3.OpPut(p.bodyKey(base), string(r.Body)))
		}
		wrote, err := p.log.do(ctx, op+" "+p.String(), guards, then, p.refused(o))
		switch {
		case err != nil:
			return nil, err
		case wrote.Succeeded:
			return r, nil
		}
		if err := p.whyRefused(op, o, wrote); err != nil {
			return nil, err
		}
	}
}

// EraseExpired erases the records of the batch at base that have expired by themselves at a
// time, and returns how many these were, and when the next one of those left expires, as
// format.Entry.Expires says it: 0 where nothing was erased, too. Errors: those of Erase.
func (p *Partition) EraseExpired(ctx context.Context, o Office, base int64, at time.Time) (erased int, next int64, err error) {
	r, err := p.erase(ctx, o, base, func(_ int64, r *messages.Payload) bool { return expiredBy(r, at) })
	if r == nil {
		return 0, 0, err
	}
	return r.Erased, r.Expires, nil
}

// AllExpired returns how many of entries, which follow each other, have only records that
// have expired by themselves at a time, or are erased: those before the first with another
// one. It reads their bodies. Errors: those of Fetch.
func (p *Partition) AllExpired(ctx context.Context, entries []format.Entry, at time.Time) (n int, err error) {
	batches, err := p.Fetch(ctx, entries)
	for _, b := range batches {
		some, ferr := holdsAny(b, func(_ int64, r *messages.Payload) bool { return !expiredBy(r, at) })
		if some || ferr != nil {
			return n, ferr
		}
		n++
	}
	return n, err
}

func expiredBy(r *messages.Payload, at time.Time) bool {
	expires := r.ExpiresAt()
	return !expires.IsZero() && !expires.After(at)
}

// Expiring returns of each topic the partitions that have, or had, records which expire by
// themselves, ascending. It takes a request for each 60 topics or so. Errors:
// messages.ErrUnavailable, ErrDenied.
func (l *Log) Expiring(ctx context.Context, topics []messages.TopicInfo) (all [][]int, err error) {
	err = inTurn(l.limits, places, topics, func(some []messages.TopicInfo) error {
		ops := make([]clientv3.Op, len(some))
		for i, t := range some {
			ops[i] = clientv3.OpGet(l.space.AllExpiring(t.ID), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(messages.MaxPartitions))
		}
		resp, err := l.do(ctx, "read where records expire", nil, ops, nil)
		if err != nil {
			return err
		}
		for i, t := range some {
			var marked []int
			for _, kv := range kvsOf(resp, i) {
				if k, ok := l.space.Parse(string(kv.Key)); ok && k.Kind == keys.KindExpiring && k.Partition < t.Config.Partitions {
					marked = append(marked, k.Partition)
				}
			}
			all = append(all, marked)
		}
		return nil
	})
	return all, err
}

// UnmarkExpiring removes the mark that records of the partition expire by themselves. all is the end of what
// was read of the index, in which none does: as long as the partition ends there, nothing else can
// have come. It reports whether the mark is gone. Who puts such a record later puts the mark again.
// Errors: ErrNotKeeper, messages.ErrTopicDeleted, ErrUnavailable, ErrDenied.
func (p *Partition) UnmarkExpiring(ctx context.Context, o Office, all format.LogEnd) (bool, error) {
	const op = "remove the mark of records that expire of"
	_, t, err := p.bounds(ctx)
	if err != nil || t.Offset != all.Offset || t.Last >= 0 && !t.Is(all) {
		return false, err
	}
	guards := append(append(p.log.holds(o), p.log.lives(p.topic), created(p.indexKey(t.Offset), 0)), p.endsAs(t)...)
	resp, err := p.log.do(ctx, op+" "+p.String(), guards, []clientv3.Op{clientv3.OpDelete(p.expiringKey())}, p.refused(o))
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	return false, p.whyRefused(op, o, resp)
}

// read opens the batch at base of a response that has its entry and its body, if it has
// one.
func (p *Partition) read(base int64, resp *clientv3.TxnResponse) (format.Entry, *format.Batch, error) {
	e, ok, err := p.one(kvsOf(resp, 1))
	if err != nil {
		return e, nil, err
	}
	if !ok {
		return e, nil, p.corrupt(base, "no index entry holds this offset")
	}
	if e.Body != nil {
		b, err := e.Batch()
		if err != nil {
			err = p.corrupt(base, "%v", err)
		}
		return e, b, err
	}
	body := kvsOf(resp, 2)
	if len(body) == 0 {
		return e, nil, p.corrupt(base, "there is an index entry and no batch")
	}
	b, err := format.OpenBody(base, body[0].Value)
	if err == nil && b.Count != e.Count {
		err = fmt.Errorf("the batch has %d records, and its index entry says %d", b.Count, e.Count)
	}
	if err != nil {
		return e, nil, p.corrupt(base, "%v", err)
	}
	return e, b, nil
}

// EraseOffsets erases records, and returns how many there were: those that are trimmed or
// erased already do not count. An offset that is negative or past the end is
// messages.ErrOffsetOutOfRange, and nothing is erased. It takes a request for each offset,
// and two for each batch. Other errors: those of Erase, after which some may be erased.
func (p *Partition) EraseOffsets(ctx context.Context, offsets []int64) (erased int, err error) {
	bases := make(map[int64][]int64)
	for _, at := range offsets {
		from, base, err := p.locate(ctx, at)
		switch {
		case err != nil:
			return 0, err
		case from == base && from > at: // trimmed
			continue
		}
		bases[base] = append(bases[base], at)
	}
	return p.eraseAll(ctx, bases, offsets)
}

// eraseAll erases records by the bases of their batches. One that is the end holds none.
func (p *Partition) eraseAll(ctx context.Context, bases map[int64][]int64, offsets []int64) (erased int, err error) {
	_, end, err := p.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	for _, at := range offsets {
		if at >= end {
			return 0, fmt.Errorf("erase offset %d of %s: %w: it ends at %d", at, p, messages.ErrOffsetOutOfRange, end)
		}
	}
	order := make([]int64, 0, len(bases))
	for base := range bases {
		order = append(order, base)
	}
	slices.Sort(order)
	for _, base := range order {
		n, err := p.Erase(ctx, Office{}, base, func(at int64, _ *messages.Payload) bool { return slices.Contains(bases[base], at) })
		erased += n
		if err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// scanned is how many batches a scan reads in one request.
const scanned = 8

// EraseWhere erases the records that gone reports, of all that the partition has when it
// is called, and returns how many these were. It reads the whole partition. Errors: those
// of Erase, after which some may be erased.
func (p *Partition) EraseWhere(ctx context.Context, gone func(offset int64, r *messages.Payload) bool) (erased int, err error) {
	at, end, err := p.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	for at < end {
		entries, err := p.Entries(ctx, at, scanned)
		if trimmed := (*TrimmedError)(nil); errors.As(err, &trimmed) && trimmed.Start > at {
			at = trimmed.Start
			continue
		}
		if err != nil || len(entries) == 0 {
			return erased, err
		}
		batches, err := p.Fetch(ctx, entries)
		if trimmed := (*TrimmedError)(nil); errors.As(err, &trimmed) {
			at = max(at, trimmed.Start)
			continue
		}
		for _, b := range batches {
			found, ferr := holdsAny(b, gone)
			if ferr == nil && found {
				var n int
				n, ferr = p.Erase(ctx, Office{}, b.Base, gone)
				erased += n
			}
			if ferr != nil {
				return erased, ferr
			}
			at = b.End()
		}
		if err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// holdsAny reports whether gone reports any record of b.
func holdsAny(b *format.Batch, gone func(offset int64, r *messages.Payload) bool) (bool, error) {
	rest := b.Raw
	for at := b.Base; len(rest) > 0; at++ {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			return false, err
		}
		if !messages.Erased(&r) && gone(at, &r) {
			return true, nil
		}
		rest = rest[n:]
	}
	return false, nil
}
