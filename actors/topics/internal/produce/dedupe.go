package produce

// Batches with ids: before one is sent, what the topic has already is taken out of it.
//
//	taken ──the window is known──▶ sifted ──nothing is there already──▶ sealed for that end
//	  ▲        (else it is read)     └─ some is ─▶ parts: what is there is told, the rest
//	  └──────────────────────────────────────────── begins again

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors/topics/internal/window"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Sight is shown a log backwards from its end: see commitlog.Sight.
type Sight interface {
	Begin(end format.LogEnd)
	Wants(e format.Entry) bool
	Sees(b *format.Batch) bool
}

// BackFunc shows s the batches before the end of the log, the newest first; doubt asks
// etcd for the end in any case. It waits for an etcd that is away until ctx ends. The
// next append goes behind the end that was shown. See commitlog.Appender.Back.
type BackFunc = func(ctx context.Context, doubt bool, s Sight) error

// stale is how long what etcd said of the end is good enough to answer with where a
// record is: an etcd that was set back may have lost it since.
const stale = time.Second

// Dedupe gives a what it reads the window of ids with, before Run. Without it records
// with ids are put like others.
func (a *Accumulator) Dedupe(back BackFunc) { a.back = back }

// dedupes reports whether the records of s are to be looked for in the topic.
func (a *Accumulator) dedupes(s *shipment) bool {
	cfg := a.info().Config
	if a.back == nil || s.named == 0 || cfg.DedupeWindow <= 0 {
		return false
	}
	a.window.Set(cfg)
	return true
}

// sift seals s, if nothing of it is in the topic; else it has it told where that is,
// and puts the rest back in front. behind: the log has more than the window. again says that s is not to be sent. An error that
// is not ctx's cause is why s cannot be put.
func (a *Accumulator) sift(ctx context.Context, s *shipment, behind bool) (again bool, err error) {
	for doubt := false; ; doubt, behind = true, false {
		if !a.window.Known() || behind || doubt {
			if err := a.readBack(ctx, doubt); err != nil {
				return false, err
			}
		}
		var parts *parts
		var serr error
		if s.sealed != nil {
			var raw []byte
			if raw, serr = s.sealed.Records(); serr == nil {
				parts, serr = a.divide(s, raw)
			}
		} else {
			s.peek(func(raw []byte) { parts, serr = a.divide(s, raw) })
		}
		switch {
		case serr != nil:
			return false, fmt.Errorf("%w: %w", errMemory, serr)
		case parts == nil:
			if s.sealed == nil {
				if err := a.seal(s); err != nil {
					return false, fmt.Errorf("%w: %w", errMemory, err)
				}
			}
			end := a.window.End()
			s.sealed.Only = &end
			return false, nil
		case !doubt && len(parts.firsts) > 0 && time.Since(a.window.Sure()) > stale:
			parts.free()
			continue
		}
		a.part(s, parts)
		return true, nil
	}
}

// errMemory: records changed in memory. It ends Run.
var errMemory = errors.New("look for ids")

// sifted is the end of a sift that s is not to be sent after.
func (a *Accumulator) sifted(ctx context.Context, s *shipment, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errMemory):
		return err
	}
	a.lose(s, a.wrap(fmt.Errorf("look for ids that are there: %w", err)))
	if errors.Is(err, messages.ErrTopicDeleted) {
		a.Close(err)
	}
	return nil
}

// behind is for a sealed batch that was not put, because the log has more by now.
func (a *Accumulator) behind(ctx context.Context, s *shipment) error {
	if !a.dedupes(s) {
		s.sealed.Only = nil
		return nil
	}
	_, err := a.sift(ctx, s, true)
	return a.sifted(ctx, s, err)
}

// remember notes that s is in the log.
func (a *Accumulator) remember(s *shipment) {
	if s.named > 0 && s.sealed.Only == nil { // put without a look
		a.window.Forget()
		return
	}
	a.window.Landed(s.sealed, s.ids, time.Now())
}

// readBack brings the window up to the end of the log.
func (a *Accumulator) readBack(ctx context.Context, doubt bool) error {
	g := a.window.Glance(time.Now())
	if err := a.back(ctx, doubt, g); err != nil {
		return err
	}
	return g.Learn()
}

// parts are what a batch comes to.
type parts struct {
	fresh  *draft  // not in the topic; nil for nothing
	known  *draft  // in the topic
	firsts []int64 // where
	twins  *draft  // with an id that stands before it in the batch: they wait for its fate
}

func (p *parts) free() {
	for _, d := range []*draft{p.fresh, p.known, p.twins} {
		if d != nil {
			d.drop()
		}
	}
}

// divide divides the records of s, given in one piece, or returns nil when all are
// new. Then s.ids are theirs.
func (a *Accumulator) divide(s *shipment, raw []byte) (*parts, error) {
	now := time.Now().UnixNano()
	ids, err := window.IDs(raw, s.ids[:0])
	s.ids = ids
	if err != nil {
		return nil, err
	}
	const knownPart, twinPart = 1, 2
	var which map[int64]uint8 // by record; nil while all are new
	mark := func(record int64, part uint8) {
		if which == nil {
			which = make(map[int64]uint8)
		}
		which[record] = part
	}
	var firsts []int64
	seen := make(map[window.Hash]struct{}, len(ids))
	for _, id := range ids {
		first, known := a.window.Find(id.Hash, now)
		_, twin := seen[id.Hash]
		switch {
		case known:
			mark(id.Record(), knownPart)
			firsts = append(firsts, first)
		case twin:
			mark(id.Record(), twinPart)
		default:
			seen[id.Hash] = struct{}{}
		}
	}
	if which == nil {
		return nil, nil
	}
	p := &parts{firsts: firsts}
	drafts := [3]**draft{&p.fresh, &p.known, &p.twins}
	err = s.each(raw, func(record int64, bytes []byte, r *messages.Payload, of *slot) {
		d := drafts[which[record]]
		if *d == nil {
			*d = newDraft()
		}
		(*d).take(bytes, r, of)
	})
	if err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

// part replaces s, which nobody has and nobody will have, by its parts.
func (a *Accumulator) part(s *shipment, p *parts) {
	if s.sealed != nil {
		s.sealed.Free()
	} else {
		s.drop()
	}
	a.mu.Lock()
	if a.flight != s {
		a.mu.Unlock()
		p.free()
		return // close was faster, and told everybody
	}
	a.flight = nil
	var front []*draft
	for _, d := range []*draft{p.fresh, p.twins} {
		if d != nil {
			front = append(front, d)
		}
	}
	a.full = append(front, a.full...)
	if p.known != nil {
		known := &shipment{draft: p.known, firsts: p.firsts, spare: spareAll}
		a.decided = append(a.decided, known)
		a.stats.Duplicates += uint64(known.count)
		known.drop()
	}
	s.users.Store(1)
	s.spare = spareAll
	s.recycle()
	a.mu.Unlock()
	a.tell()
}
