package commitlog

// Trimming: a partition begins later than before. The start is moved first, in one
// transaction with the bodies before it where these are few; the index entries stay for
// a while, as the evidence of appends whose outcome is not known, and go later.
//
//	start moved, bodies deleted ──a minute or more──▶ index entries deleted
//
// A crash leaves keys before the start, which nobody reads, and which DeleteTrimmed
// finds.

import (
	"context"
	"errors"
	"fmt"
	"math"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Head is where a partition begins and ends, as of one revision of etcd.
type Head struct {
	Partition int
	// Start is the first offset that can be read, and End the end of the log.
	Start int64
	End   format.LogEnd
	// First is the entry of the batch at Start, without records where there is none.
	First format.Entry
	// Err is nil, or why nothing else is known: what stands there makes no sense.
	Err error
}

// Heads reads where all partitions of a topic begin and end. It takes some requests
// for each 64 partitions. Errors: messages.ErrTopicDeleted, ErrUnavailable, ErrDenied.
func (l *Log) Heads(ctx context.Context, t messages.TopicInfo) ([]Head, error) {
	return l.HeadsSince(ctx, t, nil)
}

// HeadsSince is Heads for who has called it before: known is what it has returned then, as
// far as the caller knows. It takes one request for each 62 partitions where these have
// grown by less than 16,384 records and begin where they began. Their first entries are
// those that are known: what has changed of one meanwhile is not seen.
func (l *Log) HeadsSince(ctx context.Context, t messages.TopicInfo, known []Head) ([]Head, error) {
	var near map[int]int64
	if known != nil {
		near = make(map[int]int64, len(known))
		for _, h := range known {
			near[h.Partition] = max(0, h.End.Last)
		}
	}
	return atOneRevision(func() ([]Head, error) {
		all, revision, err := l.searchNear(ctx, t, upTo(t.Config.Partitions), near, 0)
		if err != nil {
			return nil, err
		}
		heads := make([]Head, len(all))
		var holding []*searching
		for p := range all {
			s := &all[p]
			heads[p] = Head{Partition: p, Start: s.start, End: s.LogEnd, Err: s.err}
			if errors.Is(s.err, messages.ErrTopicDeleted) {
				return nil, s.err
			}
			switch {
			case s.err != nil || s.Offset <= s.start:
			case p < len(known) && known[p].Start == s.start && known[p].First.Count > 0:
				heads[p].First = known[p].First
			default:
				holding = append(holding, s)
			}
		}
		firsts, err := l.firsts(ctx, "read the starts of "+t.Name, holding, revision)
		for _, s := range holding {
			h := &heads[s.p.p]
			h.First, h.Err = firsts[s.p.p], s.err
		}
		return heads, err
	})
}

// trimmedTogether is how many bodies go in the transaction that moves the start.
const trimmedTogether = 256

// Trim makes the partition, which must begin at start, begin behind the batch of last,
// which must be one of its batches; batches is how many there are up to it. It reports
// whether it did so: when not, the partition begins elsewhere by now, or its batches are
// others. The bodies go at once, unless there are many: DeleteTrimmed deletes those.
//
// Errors: ErrNotKeeper, messages.ErrTopicDeleted, ErrUnavailable, ErrDenied, ErrNoSpace;
// after an unknown outcome the start shows what became of it.
func (p *Partition) Trim(ctx context.Context, o Office, start int64, last format.Entry, batches int) (bool, error) {
	to := last.End()
	guards := append(p.log.holds(o), p.log.lives(p.topic), clientv3.Compare(clientv3.Value(p.startKey()), "=", keys.Offset(start)))
	guards = append(guards, p.endsAs(last.LogEnd())...)
	then := []clientv3.Op{clientv3.OpPut(p.startKey(), keys.Offset(to))}
	if batches <= trimmedTogether {
		// Not from 0 on: etcd would pass over each body that its history still has.
		then = append(then, clientv3.OpDelete(p.bodyKey(start), clientv3.WithRange(p.bodyKey(to))))
	}
	resp, err := p.log.do(ctx, "trim "+p.String(), guards, then, p.refused(o))
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	return false, p.whyRefused("trim", o, resp)
}

// refused asks for what tells why a guarded write was refused; whyRefused judges it: nil
// when it is neither the office nor the topic.
func (p *Partition) refused(o Office) []clientv3.Op {
	ops := []clientv3.Op{exists(p.log.space.Topic(p.topic.Name))}
	if o.revision != 0 { // else it may have no right to ask
		ops = append(ops, exists(p.log.space.Keeper()))
	}
	return ops
}

func (p *Partition) whyRefused(op string, o Office, resp *clientv3.TxnResponse) error {
	switch {
	case createRevision(ranged(resp, 0)) != p.topic.CreateRevision:
		return p.gone(op)
	case o.revision != 0 && o.lost(ranged(resp, 1)):
		return fmt.Errorf("%s %s: %w", op, p, ErrNotKeeper)
	}
	return nil
}

// Part is which keys of trimmed batches are meant.
type Part bool

// The parts of a batch.
const (
	Bodies  Part = false
	Entries Part = true
)

// DeleteTrimmed deletes bodies, or index entries, of batches before the offset upTo, from
// which on the partition must begin: some hundreds of them, in one transaction after one
// read. more says that there may be others; false also when the partition begins before
// upTo, as in an etcd that was set back. Errors: those of Trim.
func (p *Partition) DeleteTrimmed(ctx context.Context, o Office, what Part, upTo int64) (deleted int, more bool, err error) {
	at, op := p.bodyAt, "sweep "+p.String()
	if what == Entries {
		at = p.indexAt
	}
	n := min(p.log.limits.of(pages), deletedTogether)
	page, err := p.log.get(ctx, op, at+keys.Offset(0), clientv3.WithRange(at+keys.Offset(upTo)), clientv3.WithKeysOnly(), clientv3.WithLimit(int64(n)))
	if p.log.limits.fewer(pages, n, err) {
		return 0, true, nil
	}
	if err != nil || len(page.Kvs) == 0 {
		return 0, false, err
	}
	last := string(page.Kvs[len(page.Kvs)-1].Key)
	guards := append(p.log.holds(o), p.log.lives(p.topic), clientv3.Compare(clientv3.Value(p.startKey()), ">", keys.Offset(upTo-1)))
	resp, err := p.log.do(ctx, op, guards, []clientv3.Op{clientv3.OpDelete(at, clientv3.WithRange(last+"\x00"))}, p.refused(o))
	switch {
	case err != nil:
		return 0, false, err
	case !resp.Succeeded:
		return 0, false, p.whyRefused("sweep", o, resp)
	}
	return int(resp.Responses[0].GetResponseDeleteRange().Deleted), len(page.Kvs) == n, nil
}

// deletedTogether is how many keys one transaction deletes: more would hold up everybody
// else in etcd.
const deletedTogether = 512

// before is the entry of the batch that ends at offset. The error wraps
// messages.ErrCorrupt when there is none.
func (p *Partition) before(ctx context.Context, offset int64) (format.Entry, error) {
	resp, err := p.log.do(ctx, p.locating(offset-1), nil, []clientv3.Op{p.op(probe{from: max(0, offset-window), to: offset, last: true}, 0)}, nil)
	if err != nil {
		return format.Entry{}, err
	}
	e, ok, err := p.one(kvsOf(resp, 0))
	if err == nil && (!ok || e.End() != offset) {
		err = p.corrupt(offset, "no batch ends before it")
	}
	return e, err
}

// Truncate makes the partition begin at an offset, or at the base of the batch that holds
// it: then the records of that before offset are erased. An offset before the start
// changes nothing. It takes some requests, and one for each 512 batches with bodies of
// their own; when it is interrupted it can be called again, and otherwise the keeper
// deletes what nobody reads any more. Errors: messages.ErrOffsetOutOfRange past the end,
// ErrTopicDeleted, ErrCorrupt, ErrUnavailable, ErrDenied, ErrNoSpace.
func (p *Partition) Truncate(ctx context.Context, offset int64) (messages.Truncated, error) {
	return p.TruncateAs(ctx, Office{}, offset)
}

// TruncateAs is Truncate as the keeper. Other errors: ErrNotKeeper.
func (p *Partition) TruncateAs(ctx context.Context, o Office, offset int64) (messages.Truncated, error) {
	done := messages.Truncated{Partition: p.p, From: -1}
	for {
		base, start, err := p.cut(ctx, offset)
		if err != nil {
			return done, err
		}
		if done.From < 0 {
			done.From, done.Start = start, start
		}
		if base > start {
			last, err := p.before(ctx, base)
			if errors.Is(err, messages.ErrCorrupt) && p.moved(ctx, start) {
				continue // somebody else trimmed it meanwhile
			}
			if err != nil {
				return done, err
			}
			ok, err := p.Trim(ctx, o, start, last, math.MaxInt)
			if err != nil {
				return done, err
			}
			if !ok {
				continue
			}
			start = base
		}
		done.Start = start
		for more := true; more; {
			if _, more, err = p.DeleteTrimmed(ctx, o, Bodies, start); err != nil {
				return done, err
			}
		}
		if offset > base && base >= start {
			done.Erased, err = p.Erase(ctx, o, base, func(at int64, _ *messages.Payload) bool { return at < offset })
		}
		return done, err
	}
}

// cut is the base of the batch that holds offset, and where the partition begins.
func (p *Partition) cut(ctx context.Context, offset int64) (base, start int64, err error) {
	ops := append(p.lookFor(offset), clientv3.OpGet(p.startKey()))
	resp, err := p.log.do(ctx, p.locating(offset), nil, ops, nil)
	if err != nil {
		return 0, 0, err
	}
	_, base, err = p.located(ctx, offset, kvsOf(resp, 0), kvsOf(resp, 1))
	if err != nil {
		return 0, 0, err
	}
	start, _, err = p.parseStart(kvsOf(resp, 2))
	return base, start, err
}

// moved reports whether the partition begins elsewhere than at start.
func (p *Partition) moved(ctx context.Context, start int64) bool {
	resp, err := p.log.get(ctx, "look where "+p.String()+" begins", p.startKey())
	return err == nil && len(resp.Kvs) == 1 && string(resp.Kvs[0].Value) != keys.Offset(start)
}
