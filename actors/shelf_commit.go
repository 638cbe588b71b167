package actors

// What of a shelf is to be committed.

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// due are the positions to be committed: of every claim that is further than
// etcd knows.
func (s *shelf) due() (out []format.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		if at, ok := s.position(c); ok {
			out = append(out, c.positionAt(at))
		}
	}
	return out
}

// position is what is to be written for a claim, if anything.
func (s *shelf) position(c *claim) (int64, bool) {
	at := c.asked
	if !s.cfg.ManualCommit {
		at = max(at, c.at())
	}
	return at, at >= 0 && at != c.committed
}

// positionAt is where the claim is, to be written over what is known of.
func (c *claim) positionAt(offset int64) format.Position {
	return format.Position{
		Partition: c.p, Fence: c.fence, Offset: offset, Base: max(c.begins(offset), 0), // every log began at 0
		Known: c.known, Sought: c.elsewhere,
	}
}

// last is the position of a claim that is being released, -1 when etcd has it.
func (s *shelf) last(c *claim) format.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, due := s.position(c); due {
		return c.positionAt(at)
	}
	return format.Position{Partition: c.p, Fence: c.fence, Offset: -1, Base: -1}
}

// wrote notes what etcd has.
func (s *shelf) wrote(p format.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters.Commits++
	if c := s.claims[p.Partition]; c != nil && c.fence == p.Fence {
		c.committed, c.known = p.Offset, p.Known
		c.elsewhere = c.elsewhere && !p.Sought
	}
}

// wish is what somebody wants committed: everything before an offset, under the
// claim with a fence.
type wish struct {
	partition     int
	fence, offset int64
	seeks         uint64 // of the claim, when it was asked for
}

func (w wish) fenced() error {
	return fmt.Errorf("partition %d, fence %d: %w", w.partition, w.fence, messages.ErrFenced)
}

// ask marks records to be committed, or all that is finished, and returns what
// that comes to. fenced is for records whose partition is not owned under their
// fence any more, while the others are asked for. With err nothing is asked for:
// among the records are some that this subscription has not handed out.
func (s *shelf) ask(recs []messages.Record) (wishes []wish, fenced, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(recs) == 0 {
		for _, c := range s.claims {
			c.asked = c.at()
			wishes = append(wishes, wish{c.p, c.fence, c.asked, c.seeks})
		}
		return wishes, nil, nil
	}
	last := make(map[*claim]int64, 1)
	for i := range recs {
		r := &recs[i]
		if err := s.fault(r); err != nil {
			return nil, nil, err
		}
		c := s.claims[r.Partition]
		if c == nil || c.fence != r.Fence {
			fenced = wish{partition: r.Partition, fence: r.Fence}.fenced()
			continue
		}
		last[c] = max(last[c], r.Offset+1)
	}
	for c, at := range last {
		c.asked = at
		wishes = append(wishes, wish{c.p, c.fence, at, c.seeks})
	}
	return wishes, fenced, nil
}

// fault is why a record cannot be one that this subscription has handed out, or
// nil. Of a claim that was lost only the fence is known.
func (s *shelf) fault(r *messages.Record) error {
	fences, owned := s.fences[r.Partition]
	c := s.claims[r.Partition]
	switch {
	case r.Topic != s.cfg.Topic:
		return fmt.Errorf("a record of topic %q: %w: this is a subscription to %q", r.Topic, messages.ErrInvalid, s.cfg.Topic)
	case r.Fence <= 0:
		return fmt.Errorf("partition %d, offset %d: %w: a record without a fence was handed out by no subscription", r.Partition, r.Offset, messages.ErrInvalid)
	case !owned:
		return fmt.Errorf("partition %d, offset %d, fence %d: %w: this subscription has never owned the partition", r.Partition, r.Offset, r.Fence, messages.ErrInvalid)
	case r.Fence < fences[0] || r.Fence > fences[1]:
		return fmt.Errorf("partition %d, offset %d, fence %d: %w: another subscription handed it out, this one has owned the partition under fences from %d to %d",
			r.Partition, r.Offset, r.Fence, messages.ErrInvalid, fences[0], fences[1])
	case c == nil || c.fence != r.Fence:
		return nil
	}
	switch handed := c.handed.Load(); {
	case handed == 0:
		return fmt.Errorf("partition %d, offset %d: %w: nothing was handed out since the partition was claimed", r.Partition, r.Offset, messages.ErrOffsetOutOfRange)
	case r.Offset < c.lowest || r.Offset >= handed:
		return fmt.Errorf("partition %d, offset %d: %w: give a record that was handed out, the offsets are from %d to %d",
			r.Partition, r.Offset, messages.ErrOffsetOutOfRange, c.lowest, handed-1)
	}
	return nil
}

// askedBack answers when the first of claims was asked back.
func (s *shelf) askedBack(claims []*claim) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := claims[0].wantedOut
	for _, c := range claims[1:] {
		if c.wantedOut.Before(first) {
			first = c.wantedOut
		}
	}
	return first
}

// askFor marks all that is finished of claims to be committed.
func (s *shelf) askFor(claims []*claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range claims {
		c.asked = c.at()
	}
}

// unmet answers an error for wishes whose claim was lost, or moved by a Seek, before
// they were written.
func (s *shelf) unmet(wishes []wish) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, w := range wishes {
		c, past := s.claims[w.partition], s.past[w.partition]
		switch {
		case c != nil && c.fence == w.fence && c.seeks != w.seeks && c.committed < w.offset:
			errs = append(errs, fmt.Errorf("partition %d, offset %d: %w: it was not written before a Seek moved the partition", w.partition, w.offset, messages.ErrOffsetOutOfRange))
		case c != nil && c.fence == w.fence, past.fence == w.fence && past.offset >= w.offset:
		default:
			errs = append(errs, w.fenced())
		}
	}
	return errors.Join(errs...)
}
