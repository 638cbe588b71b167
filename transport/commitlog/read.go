package commitlog

// Reading a partition: the index, places in it, and the batches themselves.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Entries returns the index entries from base on, each where the one before it
// ends, at most limit; none when base is the end. base must be where a batch
// begins, or the end. It is linearizable.
//
// A *TrimmedError says that base is before the first valid offset, an error that
// wraps messages.ErrTopicDeleted that the partition is gone, a *CorruptError that
// the chain is broken; what came before the break is returned, too.
func (p *Partition) Entries(ctx context.Context, base int64, limit int) ([]format.Entry, error) {
	var all []format.Entry
	for at, width := base, int64(4*window); len(all) < limit; {
		want := min(limit-len(all), p.log.limits.of(pages))
		page, done, err := p.page(ctx, at, at+width, want)
		if p.log.limits.fewer(pages, want, err) {
			continue
		}
		all = append(all, page...)
		if err != nil || done {
			return all, err
		}
		at = all[len(all)-1].End()
		// As wide as what is wanted takes, if batches stay as they are.
		width = min(2*int64(pageKeys)*(at-base)/int64(len(all))+window, pageKeys*window)
	}
	return all, nil
}

// page reads the entries with bases from at to before end, at most limit, and
// reports whether there are no more. When there are more, it returns at least one
// entry.
func (p *Partition) page(ctx context.Context, at, end int64, limit int) (page []format.Entry, done bool, err error) {
	const op = "read the index of"
	resp, err := p.log.do(ctx, op+" "+p.String(), nil, []clientv3.Op{
		clientv3.OpGet(p.startKey()),
		clientv3.OpGet(p.indexKey(at), clientv3.WithRange(p.indexKey(end)), clientv3.WithLimit(int64(limit))),
	}, nil)
	if err != nil {
		return nil, false, err
	}
	start, ok, err := p.parseStart(kvsOf(resp, 0))
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("%s %s: %w", op, p, err)
	case !ok:
		return nil, false, p.gone(op)
	case at < start:
		return nil, false, fmt.Errorf("%s %s at %d: %w", op, p, at, &TrimmedError{Start: start})
	}
	kvs := kvsOf(resp, 1)
	for _, kv := range kvs {
		e, err := p.parse(kv)
		if err == nil && e.Base != at {
			err = p.corrupt(at, "there is no index entry, and the next one is at %d", e.Base)
		}
		if err != nil {
			return page, false, fmt.Errorf("%s %s: %w", op, p, err)
		}
		page = append(page, e)
		at = e.End()
	}
	// Every batch begins within a window from the one before it: when there is
	// none in a whole window, not even one is missing.
	return page, len(kvs) < limit && at+window < end, nil
}

// Locate returns the base of the batch that holds offset: the end when offset is
// the end, and the partition's start when offset is before it. Past the end the
// error wraps messages.ErrOffsetOutOfRange; messages.ErrTopicDeleted when the
// partition is gone. It is one linearizable request.
func (p *Partition) Locate(ctx context.Context, offset int64) (base int64, err error) {
	_, base, err = p.locate(ctx, offset)
	return base, err
}

// locate also returns the offset to read from: a trimmed one is not it.
func (p *Partition) locate(ctx context.Context, offset int64) (from, base int64, err error) {
	resp, err := p.log.do(ctx, p.locating(offset), nil, p.lookFor(offset), nil)
	if err != nil {
		return 0, 0, err
	}
	return p.located(ctx, offset, kvsOf(resp, 0), kvsOf(resp, 1))
}

func (p *Partition) locating(offset int64) string {
	return fmt.Sprintf("find offset %d in %s", offset, p)
}

// lookFor reads, in one transaction, what located needs.
func (p *Partition) lookFor(offset int64) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(p.startKey()),
		p.op(probe{from: max(0, offset-window), to: min(max(0, offset), math.MaxInt64-1) + 1, last: true}, 0),
	}
}

// located is the end of locate. It asks again where an offset seems to be beyond the
// end.
func (p *Partition) located(ctx context.Context, offset int64, starts, entries []*mvccpb.KeyValue) (from, base int64, err error) {
	op := p.locating(offset)
	start, ok, err := p.parseStart(starts)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", op, err)
	}
	if !ok {
		return 0, 0, fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
	}
	switch {
	case offset < 0:
		return 0, 0, fmt.Errorf("%s: %w: the first is 0", op, messages.ErrOffsetOutOfRange)
	case offset <= start:
		return start, start, nil
	}
	e, ok, err := p.one(entries)
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("%s: %w", op, err)
	case ok && offset < e.End():
		return offset, e.Base, nil
	case ok && offset == e.End():
		return offset, offset, nil
	}
	start, end, err := p.Bounds(ctx)
	switch {
	case err != nil:
		return 0, 0, err
	case offset < end:
		return 0, 0, fmt.Errorf("%s: %w", op, p.corrupt(offset, "no index entry holds this offset, and the partition ends at %d", end))
	case offset == end:
		return offset, offset, nil
	}
	return 0, 0, fmt.Errorf("%s: %w: the partition goes from %d to %d", op, messages.ErrOffsetOutOfRange, start, end)
}

// Resolve returns the offset that s means now, and the base of the batch to
// begin reading at. An offset past the end wraps messages.ErrOffsetOutOfRange. A
// time is looked for from the oldest entry on, a thousand a request.
func (p *Partition) Resolve(ctx context.Context, s messages.Start) (offset, base int64, err error) {
	if o, ok := s.Offset(); ok {
		return p.locate(ctx, o)
	}
	start, end, err := p.Bounds(ctx)
	if err != nil {
		return 0, 0, err
	}
	if t, ok := s.Time(); ok {
		return p.atTime(ctx, start, t)
	}
	if s.IsLatest() {
		return end, end, nil
	}
	return start, start, nil
}

func (p *Partition) atTime(ctx context.Context, start, t int64) (offset, base int64, err error) {
	for at := start; ; {
		page, err := p.Entries(ctx, at, pageKeys)
		if trimmed := (*TrimmedError)(nil); errors.As(err, &trimmed) && trimmed.Start > at {
			at = trimmed.Start
			continue
		}
		for _, e := range page {
			if e.MaxTime >= t {
				return e.Base, e.Base, nil
			}
			at = e.End()
		}
		if err != nil {
			return 0, 0, err
		}
		if len(page) < pageKeys {
			return at, at, nil
		}
	}
}

// Fetch returns the batches of entries, which must follow one another. Those that
// have keys of their own are read in one request, so their number and bytes are the
// caller's to bound; the others are in their entries. Each batch is verified, and is
// what its entry says. Where the client takes no response that large there are fewer,
// the first at least; when that alone is too large, the error wraps a
// *messages.LimitError.
//
// It reads from whichever member of etcd is at hand; when that one does not have
// them all, it asks again in a way that it must.
//
// A *TrimmedError says that a batch was trimmed since, a *CorruptError that it is
// damaged, or gone without having been trimmed; what came before it is returned,
// too. The error wraps messages.ErrTopicDeleted when the partition is gone, and
// messages.ErrLogRolledBack when the entry is, as in an etcd that was set back.
func (p *Partition) Fetch(ctx context.Context, entries []format.Entry) ([]*format.Batch, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	bodies, entries, err := p.someBodies(ctx, entries)
	if err != nil {
		return nil, err
	}
	batches := make([]*format.Batch, 0, len(entries))
	for _, e := range entries {
		b, err := p.open(ctx, e, bodies)
		if err != nil {
			return batches, fmt.Errorf("read %s: %w", p, err)
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// someBodies reads the bodies of the first entries, as many as one response takes,
// and returns which entries these are.
func (p *Partition) someBodies(ctx context.Context, entries []format.Entry) (map[int64][]byte, []format.Entry, error) {
	for {
		var apart []format.Entry // with bodies of their own
		bytes, n := int64(0), 0
		for ; n < len(entries); n++ {
			if entries[n].Body != nil {
				continue
			}
			size := int64(entries[n].Bytes)
			if len(apart) > 0 && bytes+size > p.log.limits.answer.Load() {
				break
			}
			apart, bytes = append(apart, entries[n]), bytes+size
		}
		if len(apart) == 0 {
			return nil, entries, nil
		}
		bodies, err := p.bodies(ctx, apart, clientv3.WithSerializable())
		if err == nil && len(bodies) < len(apart) {
			bodies, err = p.bodies(ctx, apart)
		}
		if len(apart) == 1 || isLimit(err) == "" {
			return bodies, entries[:n], err
		}
		lower(&p.log.limits.answer, bytes/2)
	}
}

// bodies reads the bodies of entries, by base. Entries with a body may be between
// them.
func (p *Partition) bodies(ctx context.Context, entries []format.Entry, opts ...clientv3.OpOption) (map[int64][]byte, error) {
	first, last := p.bodyKey(entries[0].Base), p.bodyKey(entries[len(entries)-1].Base)
	resp, err := p.log.get(ctx, "read "+p.String(), first, append(opts,
		clientv3.WithRange(last+"\x00"), clientv3.WithLimit(int64(len(entries))))...)
	if err != nil {
		return nil, err
	}
	m := make(map[string][]byte, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		m[string(kv.Key)] = kv.Value
	}
	bodies := make(map[int64][]byte, len(resp.Kvs))
	for _, e := range entries {
		if b, ok := m[p.bodyKey(e.Base)]; ok {
			bodies[e.Base] = b
		}
	}
	return bodies, nil
}

// open verifies the batch of e, or finds out why there is none.
func (p *Partition) open(ctx context.Context, e format.Entry, bodies map[int64][]byte) (*format.Batch, error) {
	if e.Body != nil {
		b, err := e.Batch()
		if err != nil {
			return nil, p.unless(ctx, e, p.corrupt(e.Base, "%v", err))
		}
		return b, nil
	}
	body, ok := bodies[e.Base]
	if !ok {
		return nil, p.unless(ctx, e, p.corrupt(e.Base, "there is an index entry and no batch"))
	}
	b, err := format.OpenBody(e.Base, body)
	if err != nil {
		return nil, p.corrupt(e.Base, "%v", err)
	}
	if err := e.Describes(b); err != nil {
		return nil, p.unless(ctx, e, p.corrupt(e.Base, "%v", err))
	}
	b.Producer, b.Sequence = e.Producer, e.Sequence
	return b, nil
}

// unless returns a fault of the batch of e, unless something excuses it: the
// partition's start, or that the index says something else now.
func (p *Partition) unless(ctx context.Context, e format.Entry, fault *CorruptError) error {
	resp, err := p.log.do(ctx, "look what became of a batch of "+p.String(), nil, []clientv3.Op{
		clientv3.OpGet(p.startKey()), clientv3.OpGet(p.indexKey(e.Base)),
	}, nil)
	if err != nil {
		return err
	}
	start, ok, err := p.parseStart(kvsOf(resp, 0))
	switch {
	case err != nil:
		return err
	case !ok:
		return messages.ErrTopicDeleted
	case start > e.Base:
		return &TrimmedError{Start: start}
	}
	if now, ok, err := p.one(kvsOf(resp, 1)); err == nil && (!ok || !now.IsOf(e)) {
		return fmt.Errorf("the batch at %d is not the one it was: %w", e.Base, messages.ErrLogRolledBack)
	}
	return fault
}

// Whether the log is still the one that is known. The log of an etcd that was
// restored from a backup may have grown beyond its old end by the time it is looked
// at, so that the end alone does not show it.

// Mark is a batch that was in a partition.
type Mark struct {
	Partition int
	// Entry is what the index said of it; Base, Count, Producer and Sequence
	// matter.
	format.Entry
}

// Stand reports for each mark whether its batch is still there, or was trimmed;
// another one in its place is none. It reads linearizably, and takes a request
// for each 64 marks. The error is that of a request, or wraps
// messages.ErrTopicDeleted when the partition of a mark is gone.
func (l *Log) Stand(ctx context.Context, t messages.TopicInfo, marks []Mark) ([]bool, error) {
	stand := make([]bool, 0, len(marks))
	err := inTurn(l.limits, places, marks, func(some []Mark) error {
		now, err := l.stand(ctx, t, some)
		stand = append(stand, now...)
		return err
	})
	return stand, err
}

func (l *Log) stand(ctx context.Context, t messages.TopicInfo, marks []Mark) ([]bool, error) {
	byPartition := func(a, b Mark) int { return a.Partition - b.Partition }
	low, high := slices.MinFunc(marks, byPartition).Partition, slices.MaxFunc(marks, byPartition).Partition
	ops := []clientv3.Op{clientv3.OpGet(l.space.LogStart(t.ID, low), clientv3.WithRange(l.space.LogStart(t.ID, high)+"\x00"))}
	for _, m := range marks {
		ops = append(ops, clientv3.OpGet(l.space.IndexEntry(t.ID, m.Partition, m.Base)))
	}
	op := fmt.Sprintf("look whether the log of %q is the same", t.Name)
	resp, err := l.do(ctx, op, nil, ops, nil)
	if err != nil {
		return nil, err
	}
	starts := byKey(kvsOf(resp, 0))
	stand := make([]bool, len(marks))
	for i, m := range marks {
		p := l.Partition(t, m.Partition)
		start, ok, err := p.parseStart(starts[p.startKey()])
		if err == nil && !ok {
			err = p.gone("look at")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		e, ok, err := p.one(kvsOf(resp, i+1))
		// What does not decode is damaged, and not another one.
		stand[i] = err != nil || ok && e.IsOf(m.Entry) || !ok && m.Base < start
	}
	return stand, nil
}
