package commitlog

// Compaction: a partition is read in pages, records of many batches are erased at once,
// and it is noted how far that has come. Which records these are is the caller's to say.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// ErrOtherLog says that a write was refused because the log is not the one any more that
// it was decided upon: etcd was set back, or somebody else changed what was compared.
var ErrOtherLog = errors.New("the log is not what it was when this was decided")

// Stored is a batch as it stood in etcd when it was read.
type Stored struct {
	Entry format.Entry
	Batch *format.Batch
	// Bytes is what entry and body take.
	Bytes int

	value string // of the entry
	body  int64  // the ModRevision of the body's key; 0 where the entry has the body
}

// Basis is what a compaction rests on: how far the last pass has come, and the last batch
// of what was read since. Each write compares both, by value. So one that was decided upon
// in a log that is gone, because etcd was set back, erases nothing: a log that still has
// the batch has all that was before it.
type Basis struct {
	format.Compacted
	value string // as it stands in etcd; "" where there is none
	last  Stored // Batch is nil for none
}

// RestOn adds the last batch of what was read.
func (b *Basis) RestOn(last Stored) { b.last = last }

// Compacted reads how far the compaction of the partition has come. Errors:
// messages.ErrCorrupt, ErrUnavailable, ErrDenied.
func (p *Partition) Compacted(ctx context.Context) (Basis, error) {
	resp, err := p.log.get(ctx, "read how far "+p.String()+" is compacted", p.compactedKey())
	if err != nil || len(resp.Kvs) == 0 {
		return Basis{}, err
	}
	value := resp.Kvs[0].Value
	c, err := format.ParseCompacted(p.compactedKey(), value)
	return Basis{Compacted: c, value: string(value)}, err
}

// Compacted reads how far the compaction of each partition of a topic has come, in one
// request: by partition, with an error that wraps messages.ErrCorrupt for one whose value
// makes no sense. Errors: messages.ErrUnavailable, ErrDenied.
func (l *Log) Compacted(ctx context.Context, t messages.TopicInfo) (all []format.Compacted, faults []error, err error) {
	prefix := l.space.AllCompacted(t.ID)
	resp, err := l.get(ctx, "read how far "+t.Name+" is compacted", prefix, clientv3.WithPrefix(), clientv3.WithLimit(messages.MaxPartitions))
	if err != nil {
		return nil, nil, err
	}
	all, faults = make([]format.Compacted, t.Config.Partitions), make([]error, t.Config.Partitions)
	for _, kv := range resp.Kvs {
		if k, ok := l.space.Parse(string(kv.Key)); ok && k.Partition < len(all) {
			all[k.Partition], faults[k.Partition] = format.ParseCompacted(string(kv.Key), kv.Value)
		}
	}
	return all, faults, nil
}

func (p *Partition) compactedKey() string { return p.log.space.Compacted(p.topic.ID, p.p) }

// guards are that b still stands.
func (b *Basis) guards(p *Partition) []clientv3.Cmp {
	guards := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(p.compactedKey()), "=", 0)}
	if b.value != "" {
		guards[0] = clientv3.Compare(clientv3.Value(p.compactedKey()), "=", b.value)
	}
	if b.last.Batch != nil {
		guards = append(guards, clientv3.Compare(clientv3.Value(p.indexKey(b.last.Entry.Base)), "=", b.last.value))
	}
	return guards
}

// NoteCompacted notes how far the compaction has come, which b then says. Errors:
// ErrNotKeeper, ErrOtherLog, messages.ErrTopicDeleted, ErrUnavailable, ErrDenied,
// ErrNoSpace; after an unknown outcome b is to be read again.
func (p *Partition) NoteCompacted(ctx context.Context, o Office, b *Basis) error {
	const op = "note how far is compacted"
	value := b.Value(max(1, rand.Uint64()))
	guards := append(append(p.log.holds(o), p.log.lives(p.topic)), b.guards(p)...)
	resp, err := p.log.do(ctx, op+" "+p.String(), guards, []clientv3.Op{clientv3.OpPut(p.compactedKey(), value)}, p.refused(o))
	switch {
	case err != nil:
		return err
	case resp.Succeeded:
		b.value = value
		return nil
	}
	if err := p.whyRefused(op, o, resp); err != nil {
		return err
	}
	return fmt.Errorf("%s %s: %w", op, p, ErrOtherLog)
}

// Stands reports whether b is still what the log is. Errors: messages.ErrUnavailable,
// ErrDenied.
func (p *Partition) Stands(ctx context.Context, b *Basis) (bool, error) {
	resp, err := p.log.do(ctx, "look whether "+p.String()+" is the same", b.guards(p), nil, nil)
	return err == nil && resp.Succeeded, err
}

const (
	// pageEntries and pageBodies are how many batches a page has at most: small ones, and
	// such with bodies of their own.
	pageEntries, pageBodies = 128, 4
	// erasedTogether and erasedBytes bound a transaction that erases records of several
	// batches.
	erasedTogether, erasedBytes = 40, 1 << 20
)

// Pager reads a partition batch by batch, some at a time.
type Pager struct {
	p     *Partition
	at    int64
	width int64 // of offsets, in which a page is looked for
}

// Pager begins at an offset where a batch begins, or at the end.
func (p *Partition) Pager(at int64) *Pager { return &Pager{p: p, at: at, width: window} }

// At is where the next page begins.
func (g *Pager) At() int64 { return g.at }

// Next reads the next batches, of one revision of etcd and linearizably: none at the end.
// Errors: those of Entries.
func (g *Pager) Next(ctx context.Context) ([]Stored, error) {
	p, op := g.p, "read the batches of "+g.p.String()
	n := min(pageEntries, p.log.limits.of(pages))
	resp, err := p.log.do(ctx, op, nil, []clientv3.Op{
		clientv3.OpGet(p.startKey()),
		clientv3.OpGet(p.indexKey(g.at), clientv3.WithRange(p.indexKey(g.at+g.width)), clientv3.WithLimit(int64(n))),
		clientv3.OpGet(p.bodyKey(g.at), clientv3.WithRange(p.bodyKey(g.at+g.width)), clientv3.WithLimit(int64(min(n, pageBodies)))),
	}, nil)
	if p.log.limits.fewer(pages, n, err) {
		return g.Next(ctx)
	}
	if err != nil {
		return nil, err
	}
	start, ok, err := p.parseStart(kvsOf(resp, 0))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", op, err)
	case !ok:
		return nil, p.gone(op)
	case g.at < start:
		return nil, fmt.Errorf("%s at %d: %w", op, g.at, &TrimmedError{Start: start})
	}
	page, err := p.stored(g.at, kvsOf(resp, 1), kvsOf(resp, 2))
	if len(page) == 0 {
		if err == nil && g.width < window { // the next batch may begin later
			g.width = window
			return g.Next(ctx)
		}
		return nil, err
	}
	next := page[len(page)-1].Entry.End()
	// As wide as what is wanted takes, if batches stay as they are.
	g.width = min(int64(n)*(next-g.at)/int64(len(page))+1, pageKeys*window)
	g.at = next
	return page, nil
}

// stored puts batches from base on together, as far as there are bodies for them.
func (p *Partition) stored(at int64, entries, bodies []*mvccpb.KeyValue) (page []Stored, err error) {
	for _, kv := range entries {
		e, err := p.parse(kv)
		switch {
		case err != nil:
			return page, err
		case e.Base != at:
			return page, p.corrupt(at, "there is no index entry, and the next one is at %d", e.Base)
		}
		s := Stored{Entry: e, Bytes: len(kv.Value), value: string(kv.Value)}
		body := e.Body
		if body == nil {
			for len(bodies) > 0 && string(bodies[0].Key) < p.bodyKey(e.Base) {
				bodies = bodies[1:]
			}
			switch {
			case len(bodies) == 0 && len(page) > 0:
				return page, nil // in the next page
			case len(bodies) == 0 || string(bodies[0].Key) != p.bodyKey(e.Base):
				return page, p.corrupt(e.Base, "there is an index entry and no batch")
			}
			body, s.body = bodies[0].Value, bodies[0].ModRevision
			s.Bytes += len(body)
		}
		if s.Batch, err = format.OpenBody(e.Base, body); err == nil {
			err = e.Describes(s.Batch)
		}
		if err != nil {
			return page, p.corrupt(e.Base, "%v", err)
		}
		page = append(page, s)
		at = e.End()
	}
	return page, nil
}

// Erasing is what becomes of one page.
type Erasing struct {
	// Records were erased, of so many Batches. Bytes is how many less these take.
	Records, Batches, Bytes int
}

// EraseFrom erases the records that gone reports of neighbouring batches, all that are in
// one transaction or none of them. turn is
// called before each transaction, with about as many bytes as its records have, unpacked. Errors: those of
// turn and of Erase, and ErrOtherLog when b does not stand any more; some may be erased
// then.
func (p *Partition) EraseFrom(ctx context.Context, o Office, b *Basis, page []Stored, gone func(offset int64, r *messages.Payload) bool, turn func(bytes int) error) (done Erasing, err error) {
	var some []rewriting
	bytes, unpacked := 0, 0
	flush := func() error {
		if len(some) == 0 {
			return nil
		}
		if err := turn(unpacked); err != nil {
			return err
		}
		e, err := p.rewrite(ctx, o, b, some)
		done.Records, done.Batches, done.Bytes = done.Records+e.Records, done.Batches+e.Batches, done.Bytes+e.Bytes
		some, bytes, unpacked = some[:0], 0, 0
		return err
	}
	for i := range page {
		r, err := format.Erase(page[i].Entry, page[i].Batch, gone, p.topic.Config.Compression, max(1, rand.Uint64()))
		if err != nil {
			return done, p.corrupt(page[i].Entry.Base, "%v", err)
		}
		if r == nil {
			continue
		}
		size := len(page[i].value) + len(r.Value) + len(r.Body)
		if len(some) == erasedTogether || len(some) > 0 && bytes+size > erasedBytes {
			if err := flush(); err != nil {
				return done, err
			}
		}
		some, bytes, unpacked = append(some, rewriting{&page[i], r}), bytes+size, unpacked+max(size, len(page[i].Batch.Raw))
	}
	return done, flush()
}

// rewriting is a batch and what it is to be.
type rewriting struct {
	of *Stored
	to *format.Rewritten
}

// rewrite writes batches again that compare as they were read.
func (p *Partition) rewrite(ctx context.Context, o Office, b *Basis, some []rewriting) (done Erasing, err error) {
	const op = "erase records of"
	first := some[0].of.Entry.Base
	guards := append(append(p.log.holds(o), p.log.lives(p.topic)), b.guards(p)...)
	guards = append(guards, clientv3.Compare(clientv3.Value(p.startKey()), "<", keys.Offset(first+1)))
	var then []clientv3.Op
	for _, r := range some {
		base := r.of.Entry.Base
		guards = append(guards, clientv3.Compare(clientv3.Value(p.indexKey(base)), "=", r.of.value))
		then = append(then, clientv3.OpPut(p.indexKey(base), string(r.to.Value)))
		if r.to.Body != nil {
			guards = append(guards, clientv3.Compare(clientv3.ModRevision(p.bodyKey(base)), "=", r.of.body))
			then = append(then, clientv3.OpPut(p.bodyKey(base), string(r.to.Body)))
		}
	}
	resp, err := p.log.do(ctx, op+" "+p.String(), guards, then, p.refused(o))
	if isLimit(err) != "" && len(some) > 1 {
		for _, half := range [][]rewriting{some[:len(some)/2], some[len(some)/2:]} {
			e, err := p.rewrite(ctx, o, b, half)
			done.Records, done.Batches, done.Bytes = done.Records+e.Records, done.Batches+e.Batches, done.Bytes+e.Bytes
			if err != nil {
				return done, err
			}
		}
		return done, nil
	}
	if err != nil {
		return done, err
	}
	if !resp.Succeeded {
		if err := p.whyRefused(op, o, resp); err != nil {
			return done, err
		}
		return done, fmt.Errorf("%s %s: %w", op, p, ErrOtherLog)
	}
	for _, r := range some {
		done.Records += r.to.Erased
		done.Batches++
		done.Bytes += r.of.Bytes
		r.of.rewritten(r.to, resp.Header.Revision)
		done.Bytes -= r.of.Bytes
		if b.last.Batch != nil && b.last.Entry.Base == r.of.Entry.Base {
			b.last.value = r.of.value
		}
	}
	return done, nil
}

// rewritten is that s stands there as r, since a revision.
func (s *Stored) rewritten(r *format.Rewritten, revision int64) {
	s.value, s.Bytes = string(r.Value), len(r.Value)+len(r.Body)
	if r.Body != nil {
		s.body = revision
	}
}
