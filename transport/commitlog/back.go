package commitlog

// Reading a partition backwards from its end: what a window of ids is made of.

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Sight is shown the batches before an end, the newest first. Its methods are called by
// one goroutine, and keep nothing that they are given but e.Value.
type Sight interface {
	// Begin comes first, and once more whenever the reading begins again because the
	// log moved: what was shown before is void.
	Begin(end format.LogEnd)
	// Wants reports whether the batch of e is to be shown, and what lies before it.
	Wants(e format.Entry) bool
	// Sees is shown a batch, of those wanted, and reports whether it wants more.
	Sees(b *format.Batch) bool
}

const (
	// backBytes and backBatches bound one read of bodies.
	backBytes, backBatches = 2 << 20, 64
	// backEntries is how many entries one request asks for.
	backEntries = 512
)

// Back shows s the batches before the end of the partition, the newest first, until s
// wants no more or the first valid offset is reached. The end is linearizable: every
// append that returned before is shown. It takes two requests to find the end, one for
// each 512 entries, and one for each 64 bodies or 2 MiB.
//
// Errors: those of Fetch without a *TrimmedError, which ends the reading in order. An
// error that wraps messages.ErrUnavailable also says that the log moved several times:
// call it again.
func (p *Partition) Back(ctx context.Context, s Sight) error {
	_, err := p.back(ctx, nil, s)
	return err
}

// Back is Partition.Back from the end that the appender knows; when it knows none, or
// that is not the end of what is there, it is looked for. The next Append goes behind
// the end that s was shown last, unless others append meanwhile. doubt asks etcd for
// the end in any case.
func (a *Appender) Back(ctx context.Context, doubt bool, s Sight) error {
	var known *format.LogEnd
	if a.knows == theEnd && !doubt {
		known = &a.end
	}
	end, err := a.p.back(ctx, known, s)
	if err != nil {
		a.knows = nothing
		return err
	}
	a.learn(end)
	return nil
}

// back begins at an end that is known, or looks for it.
func (p *Partition) back(ctx context.Context, known *format.LogEnd, s Sight) (end format.LogEnd, err error) {
	for range tries {
		if known != nil {
			end, known = *known, nil
		} else if _, end, err = p.bounds(ctx); err != nil {
			return end, err
		}
		s.Begin(end)
		b := backwards{p: p, end: end, at: end.Offset, width: backEntries}
		if err = b.run(ctx, s); !errors.Is(err, errMoved) && !errors.Is(err, messages.ErrLogRolledBack) {
			return end, err
		}
	}
	return end, fmt.Errorf("read %s backwards: %w: %w", p, messages.ErrUnavailable, err)
}

// errMoved: the end that the reading began at is not that of the log.
var errMoved = errors.New("the log moved")

// backwards is one reading.
type backwards struct {
	p     *Partition
	end   format.LogEnd
	at    int64 // what is before was not shown yet
	width int64 // of offsets, of the next page
}

func (b *backwards) run(ctx context.Context, s Sight) error {
	for {
		page, more, err := b.page(ctx)
		if err != nil {
			return err
		}
		var wanted []format.Entry // the newest last
		for i := len(page) - 1; i >= 0; i-- {
			if !s.Wants(page[i]) {
				more = false
				break
			}
			wanted = page[i:]
		}
		for len(wanted) > 0 {
			n := portion(wanted)
			batches, err := b.p.Fetch(ctx, wanted[len(wanted)-n:])
			var trimmed *TrimmedError
			if errors.As(err, &trimmed) {
				return nil // and so is what lies before
			}
			if err != nil {
				return err
			}
			if len(batches) < n { // the client takes no larger response: a part of them
				batches, err = b.fewer(ctx, wanted[len(wanted)-n:])
				if err != nil {
					return err
				}
			}
			for i := len(batches) - 1; i >= 0; i-- {
				if !s.Sees(batches[i]) {
					return nil
				}
			}
			wanted = wanted[:len(wanted)-n]
		}
		if !more {
			return nil
		}
	}
}

// fewer reads batches one by one.
func (b *backwards) fewer(ctx context.Context, entries []format.Entry) (all []*format.Batch, err error) {
	for _, e := range entries {
		one, err := b.p.Fetch(ctx, []format.Entry{e})
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

// portion is how many of the last entries are read at once.
func portion(entries []format.Entry) (n int) {
	for bytes := 0; n < len(entries) && n < backBatches; n++ {
		bytes += entries[len(entries)-1-n].Bytes
		if n > 0 && bytes > backBytes {
			break
		}
	}
	return n
}

// page returns the entries before b.at, as far as one request shows them, and whether
// there may be more before them.
func (b *backwards) page(ctx context.Context) (page []format.Entry, more bool, err error) {
	p := b.p
	for {
		limit := p.log.limits.of(pages)
		from := max(0, b.at-b.width)
		resp, err := p.log.do(ctx, "read the index of "+p.String(), nil, []clientv3.Op{
			clientv3.OpGet(p.startKey()),
			clientv3.OpGet(p.indexKey(from), clientv3.WithRange(p.indexKey(b.at)), clientv3.WithLimit(int64(limit))),
		}, nil)
		if p.log.limits.fewer(pages, limit, err) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		start, ok, err := p.parseStart(kvsOf(resp, 0))
		switch {
		case err != nil:
			return nil, false, err
		case !ok:
			return nil, false, p.gone("read")
		case start >= b.at:
			return nil, false, nil
		}
		kvs := kvsOf(resp, 1)
		if len(kvs) >= limit && b.width > 1 { // there may be more behind
			b.width = max(1, b.width/4)
			continue
		}
		if len(kvs) == 0 {
			atEnd, far := b.at == b.end.Offset, from == 0 || b.width >= window
			switch {
			case atEnd && (far || b.end.Last >= from):
				return nil, false, errMoved
			case far:
				return nil, false, p.corrupt(b.at, "no batch ends there")
			}
			b.width = min(4*b.width, window)
			continue
		}
		for _, kv := range kvs {
			e, err := p.parse(kv)
			if err != nil {
				return nil, false, err
			}
			if e.Base >= start {
				page = append(page, e)
			}
		}
		if len(page) == 0 {
			return nil, false, nil // what is there is trimmed
		}
		return page, page[0].Base > start, b.chains(page, from)
	}
}

// chains checks that a page leads up to b.at, and sets b before it.
func (b *backwards) chains(page []format.Entry, from int64) error {
	at := b.at
	for i := len(page) - 1; i >= 0; i-- {
		e := page[i]
		if at == b.end.Offset && !e.LogEnd().Is(b.end) {
			return errMoved
		}
		if e.End() != at {
			return b.p.corrupt(at, "no batch ends there, the one before ends at %d", e.End())
		}
		at = e.Base
	}
	// As wide as so many entries take, if batches stay as they are.
	b.width = min(max(backEntries*(b.at-from)/int64(len(page)), 1), 4*window)
	b.at = at
	return nil
}
