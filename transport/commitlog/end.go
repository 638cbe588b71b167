package commitlog

// Where a partition begins and ends. Nothing is kept of the end but hints: it is
// found by asking which windows of offsets hold a batch.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// window is the most by which the base of a batch is past the one before it. So
// if a batch begins at or after an offset, one does within a window from there,
// and the end can be searched for by halving.
const window = messages.MaxBatchRecords

// search finds an end. It says which range of the index to look at next, and is
// fed what was there, until it knows.
//
//	look ──▶ done
//	 │ ▲       (the last batch found ends within the range that was looked at)
//	 ▼ │
//	stride ──▶ halve
//	 (twice as far each time, until nothing is there; then between)
type search struct {
	phase searchPhase
	// at is the base of a batch, or the end: never beyond it.
	format.LogEnd
	// step is how far the stride goes; beyond is where no batch begins any more.
	step, beyond int64
	// restart is where to begin again when nothing is where a hint pointed, or
	// -1.
	restart int64
}

type searchPhase uint8

const (
	look   searchPhase = iota // for the last batch within a window
	stride                    // for any batch, further and further away
	halve                     // for the last window that has one
	found
)

// searchFrom begins at an offset where a batch begins, or the end.
func searchFrom(t format.LogEnd) search { return search{LogEnd: t, restart: -1} }

// searchAll begins at a hint, when there is one that makes sense.
func searchAll(start, hint int64) search {
	s := searchFrom(format.LogEnd{Offset: start, Last: -1})
	if hint > start && hint < math.MaxInt64-window {
		s.Offset, s.restart = hint, start
	}
	return s
}

// probe is a question about an index: the first or the last entry with a base in
// [from, to).
type probe struct {
	from, to int64
	last     bool
}

// next is what to ask. It is not to be called once the end is found.
func (s *search) next() probe {
	switch s.phase {
	case stride:
		return probe{from: s.Offset + s.step, to: s.Offset + s.step + window}
	case halve:
		middle := s.Offset + (s.beyond-s.Offset)/2
		return probe{from: middle, to: min(middle+window, s.beyond)}
	default:
		return probe{from: s.Offset, to: s.Offset + window, last: true}
	}
}

// feed takes what next asked for: an entry, or none.
func (s *search) feed(e format.Entry, ok bool) {
	switch s.phase {
	case look:
		if !ok && s.restart >= 0 {
			*s = searchFrom(format.LogEnd{Offset: s.restart, Last: -1})
			return
		}
		s.restart = -1
		if !ok {
			s.phase = found
			return
		}
		looked := s.Offset + window
		s.LogEnd = e.LogEnd()
		if s.Offset < looked {
			s.phase = found
			return
		}
		s.phase, s.step = stride, window
	case stride:
		if ok {
			s.LogEnd = format.LogEnd{Offset: e.Base, Last: -1}
			s.step *= 2
			return
		}
		s.beyond = s.Offset + s.step
		s.halve()
	case halve:
		if ok {
			s.LogEnd = format.LogEnd{Offset: e.Base, Last: -1}
		} else {
			s.beyond = s.Offset + (s.beyond-s.Offset)/2
		}
		s.halve()
	}
}

func (s *search) halve() {
	s.phase = halve
	if s.beyond-s.Offset <= window {
		s.phase = look
	}
}

// op is the request for a probe of a partition's index.
func (p *Partition) op(q probe, revision int64) clientv3.Op {
	opts := []clientv3.OpOption{clientv3.WithRange(p.indexKey(q.to)), clientv3.WithLimit(1), clientv3.WithRev(revision)}
	if q.last {
		opts = append(opts, clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	}
	return clientv3.OpGet(p.indexKey(q.from), opts...)
}

// Bounds returns the first offset that can be read and the one that the next
// record will get. It is linearizable: end counts every append that returned
// before. It takes two requests, or some more when there is no hint. The error
// wraps messages.ErrTopicDeleted when the partition is gone, or is that of the
// request.
func (p *Partition) Bounds(ctx context.Context) (start, end int64, err error) {
	start, t, err := p.bounds(ctx)
	return start, t.Offset, err
}

func (p *Partition) bounds(ctx context.Context) (start int64, t format.LogEnd, err error) {
	l, op := p.log, "find the end of "+p.String()
	resp, err := l.do(ctx, op, nil, []clientv3.Op{
		clientv3.OpGet(p.startKey()), clientv3.OpGet(l.space.Hint(p.topic.ID, p.p)),
	}, nil)
	if err != nil {
		return 0, format.LogEnd{}, err
	}
	start, ok, err := p.parseStart(kvsOf(resp, 0))
	if err != nil || !ok {
		if err == nil {
			err = p.gone("find the end of")
		}
		return 0, format.LogEnd{}, err
	}
	t, err = p.seek(ctx, searchAll(start, hinted(kvsOf(resp, 1))))
	return start, t, err
}

// seek goes through with one search.
func (p *Partition) seek(ctx context.Context, begun search) (format.LogEnd, error) {
	s := []searching{{p: p, search: begun}}
	op := "find the end of " + p.String()
	if err := p.log.seek(ctx, op, s, 0); err != nil {
		return format.LogEnd{}, err
	}
	if s[0].err != nil {
		return format.LogEnd{}, fmt.Errorf("%s: %w", op, s[0].err)
	}
	return s[0].LogEnd, nil
}

// searching is one search of several that go on together. It ends with an error
// when what it found does not make sense.
type searching struct {
	p *Partition
	search
	start int64
	err   error
}

func (s *searching) over() bool { return s.err != nil || s.phase == found }

// opsPerRequest is how many operations one transaction carries at most; etcd's
// limit is 128, unless it is configured otherwise.
const opsPerRequest = 64

// seek drives the searches of several partitions together, at a revision or, if
// it is 0, as of now.
func (l *Log) seek(ctx context.Context, op string, all []searching, revision int64) error {
	var open []*searching
	for i := range all {
		open = append(open, &all[i])
	}
	for {
		open = slices.DeleteFunc(open, (*searching).over)
		if len(open) == 0 {
			return nil
		}
		if err := inTurn(l.limits, places, open, func(some []*searching) error {
			ops := make([]clientv3.Op, len(some))
			for i, s := range some {
				ops[i] = s.p.op(s.next(), revision)
			}
			resp, err := l.do(ctx, op, nil, ops, nil)
			if err != nil {
				return err
			}
			for i, s := range some {
				e, ok, err := s.p.one(kvsOf(resp, i))
				if s.err = err; err == nil {
					s.feed(e, ok)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// one is the entry of a response that has one or none.
func (p *Partition) one(kvs []*mvccpb.KeyValue) (e format.Entry, ok bool, err error) {
	if len(kvs) == 0 {
		return format.Entry{}, false, nil
	}
	if e, err = p.parse(kvs[0]); err != nil {
		return format.Entry{}, false, err
	}
	return e, true, nil
}

// parse reads an entry that was found under the partition's index.
func (p *Partition) parse(kv *mvccpb.KeyValue) (format.Entry, error) {
	_, e, ok := p.log.ParseEntry(p.topic.ID, string(kv.Key), kv.Value, kv.ModRevision)
	if !ok {
		base, _ := keys.ParseOffset(string(kv.Key[max(0, len(kv.Key)-20):]))
		return format.Entry{}, p.corrupt(base, "the index entry %q does not decode", kv.Key)
	}
	return e, nil
}

// parseStart reads the partition's first offset; without one it is gone.
func (p *Partition) parseStart(kvs []*mvccpb.KeyValue) (start int64, ok bool, err error) {
	if len(kvs) == 0 {
		return 0, false, nil
	}
	if start, ok = keys.ParseOffset(string(kvs[0].Value)); !ok {
		return 0, false, p.corrupt(0, "the start %q is no offset", kvs[0].Value)
	}
	return start, true, nil
}

// hinted is the base in a hint, 0 for none: it is advice, and so is not worth an
// error.
func hinted(kvs []*mvccpb.KeyValue) int64 {
	if len(kvs) == 0 {
		return 0
	}
	base, _ := keys.ParseOffset(string(kvs[0].Value))
	return base
}

// kvsOf is what the i-th operation of a transaction, a range, has found.
func kvsOf(resp *clientv3.TxnResponse, i int) []*mvccpb.KeyValue {
	if i >= len(resp.Responses) {
		return nil
	}
	return resp.Responses[i].GetResponseRange().GetKvs()
}

// EndsAt returns where partitions of t begin and end, all at one revision of
// etcd: the given one, or the present one when it is 0; rev says which. It takes
// two requests, and one more for each 64 partitions. The error wraps
// messages.ErrTopicDeleted when one of them is not there, and
// rpctypes.ErrCompacted when the revision is not.
func (l *Log) EndsAt(ctx context.Context, t messages.TopicInfo, partitions []int, revision int64) (starts, ends []int64, rev int64, err error) {
	if revision != 0 {
		return l.endsAt(ctx, t, partitions, revision)
	}
	for range tries {
		starts, ends, rev, err = l.endsAt(ctx, t, partitions, 0)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
	}
	return starts, ends, rev, err
}

func (l *Log) endsAt(ctx context.Context, t messages.TopicInfo, partitions []int, revision int64) (starts, ends []int64, rev int64, err error) {
	if len(partitions) == 0 {
		return nil, nil, revision, nil
	}
	all, revision, err := l.searchAt(ctx, t, partitions, revision)
	if err != nil {
		return nil, nil, revision, err
	}
	for i := range all {
		if err := all[i].err; err != nil {
			return nil, nil, revision, fmt.Errorf("find the ends of %q: %w", t.Name, err)
		}
		starts, ends = append(starts, all[i].start), append(ends, all[i].Offset)
	}
	return starts, ends, revision, nil
}

// Newest returns where partitions of t end, as Bounds does, and for each the entry
// of the batch before, which has no records when there is no such batch. It takes
// as many requests as EndsAt, and its errors are the same.
func (l *Log) Newest(ctx context.Context, t messages.TopicInfo, partitions []int) (ends []int64, newest []format.Entry, err error) {
	all, err := atOneRevision(func() ([]searching, error) {
		all, _, err := l.searchAt(ctx, t, partitions, 0)
		return all, err
	})
	if err != nil {
		return nil, nil, err
	}
	newest = make([]format.Entry, len(all))
	for i := range all {
		if err := all[i].err; err != nil {
			return nil, nil, fmt.Errorf("find the ends of %q: %w", t.Name, err)
		}
		ends = append(ends, all[i].Offset)
		if e := &newest[i]; all[i].Last >= 0 {
			e.Base = all[i].Last
			e.Decode([]byte(all[i].Entry))
		}
	}
	return ends, newest, nil
}

// searchAt finds the ends of partitions, at least one, at a revision, or the
// present one when it is 0, and says which. What does not make sense is an error
// of its partition alone.
func (l *Log) searchAt(ctx context.Context, t messages.TopicInfo, partitions []int, revision int64) ([]searching, int64, error) {
	return l.searchNear(ctx, t, partitions, nil, revision)
}

// searchNear is searchAt for who knows bases of batches, by partition, of which most are
// near the ends, 0 for none: where they are, one request is enough.
func (l *Log) searchNear(ctx context.Context, t messages.TopicInfo, partitions []int, near map[int]int64, revision int64) ([]searching, int64, error) {
	op := fmt.Sprintf("find the ends of %q", t.Name)
	low, high := slices.Min(partitions), slices.Max(partitions)
	ops := []clientv3.Op{
		clientv3.OpGet(l.space.LogStart(t.ID, low), clientv3.WithRange(l.space.LogStart(t.ID, high)+"\x00"), clientv3.WithRev(revision)),
		clientv3.OpGet(l.space.Hint(t.ID, low), clientv3.WithRange(l.space.Hint(t.ID, high)+"\x00"), clientv3.WithRev(revision)),
	}
	together := near != nil && len(ops)+len(partitions) <= l.limits.of(places)
	if together {
		for _, n := range partitions {
			begun := searchFrom(format.LogEnd{Offset: near[n]})
			ops = append(ops, l.Partition(t, n).op(begun.next(), revision))
		}
	}
	resp, err := l.do(ctx, op, nil, ops, nil)
	if together && isLimit(err) != "" {
		return l.searchNear(ctx, t, partitions, nil, revision)
	}
	if half := len(partitions) / 2; half > 0 && isLimit(err) != "" {
		first, revision, err := l.searchAt(ctx, t, partitions[:half], revision)
		if err != nil {
			return nil, revision, err
		}
		second, _, err := l.searchAt(ctx, t, partitions[half:], revision)
		return append(first, second...), revision, err
	}
	if err != nil {
		return nil, revision, err
	}
	if revision == 0 {
		revision = resp.Header.Revision
	}
	starting, hints := byKey(kvsOf(resp, 0)), byKey(kvsOf(resp, 1))
	all := make([]searching, len(partitions))
	for i, n := range partitions {
		s := &all[i]
		s.p = l.Partition(t, n)
		var ok bool
		if s.start, ok, s.err = s.p.parseStart(starting[s.p.startKey()]); s.err == nil && !ok {
			s.err = s.p.gone("find the end of")
		}
		hint := hinted(hints[l.space.Hint(t.ID, n)])
		s.search = searchAll(s.start, hint)
		if !together || s.err != nil || near[n] < s.start {
			continue
		}
		known := searchFrom(format.LogEnd{Offset: near[n], Last: -1})
		e, ok, err := s.p.one(kvsOf(resp, 2+i))
		if s.err = err; ok || err == nil && near[n] == s.start && hint <= s.start { // it is empty
			if known.feed(e, ok); known.phase == found || known.Offset > hint {
				s.search = known
			}
		}
	}
	return all, revision, l.seek(ctx, op, all, revision)
}

func byKey(kvs []*mvccpb.KeyValue) map[string][]*mvccpb.KeyValue {
	m := make(map[string][]*mvccpb.KeyValue, len(kvs))
	for i, kv := range kvs {
		m[string(kv.Key)] = kvs[i : i+1]
	}
	return m
}
