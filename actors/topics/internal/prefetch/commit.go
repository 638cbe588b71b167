package prefetch

// What of a buffer is to be committed.

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Due are the positions to be committed: of every claim that is further than
// etcd knows.
func (b *Buffer) Due() (out []format.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.claims {
		if at, ok := b.position(c); ok {
			out = append(out, c.positionAt(at))
		}
	}
	return out
}

// position is what is to be written for a claim, if anything.
func (b *Buffer) position(c *Claim) (int64, bool) {
	if c.staked {
		return 0, false
	}
	at := c.asked
	if !b.cfg.ManualCommit {
		at = max(at, c.at())
	}
	if at < 0 && !c.elsewhere {
		at = c.committed
	}
	return at, at >= 0 && (at != c.committed || c.changed != c.stands)
}

// positionAt is where the claim is, to be written over what is known of.
func (c *Claim) positionAt(offset int64) format.Position {
	c.sent = c.changed
	return format.Position{
		Partition: c.Partition, Fence: c.Fence, Offset: offset, Base: max(c.begins(offset), 0), // every log began at 0
		Known: c.known, Sought: c.elsewhere, Progress: c.standing(offset),
	}
}

// Last is the position of a claim that is being released, -1 when etcd has it.
func (b *Buffer) Last(c *Claim) format.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, due := b.position(c); due {
		return c.positionAt(at)
	}
	return format.Position{Partition: c.Partition, Fence: c.Fence, Offset: -1, Base: -1}
}

// Wrote notes that etcd has a position.
func (b *Buffer) Wrote(p format.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counters.Commits++
	if c := b.claims[p.Partition]; c != nil && c.Fence == p.Fence {
		b.wrote(c, p)
	}
}

// wrote notes that etcd has a position of a claim. The buffer's lock is held.
func (b *Buffer) wrote(c *Claim, p format.Position) {
	c.committed, c.known, c.stands = p.Offset, p.Known, c.sent
	c.elsewhere = c.elsewhere && !p.Sought
	c.doneThere = p.Progress.Count()
	if c.window == nil {
		c.ahead = c.ahead.From(p.Offset)
	}
	c.forget()
	b.setLimit(c, p.Offset, p.Progress)
	b.offer(c)
}

// Target is what somebody wants committed: everything before an offset, under the
// claim with a fence. Ask makes it.
type Target struct {
	Partition int

	fence, offset int64
	seeks         uint64 // of the claim, when it was asked for
}

func (t Target) fenced() error {
	return fmt.Errorf("partition %d, fence %d: %w", t.Partition, t.fence, messages.ErrFenced)
}

// Ask marks records to be committed, or all that is finished, and returns what
// that comes to. fenced is for records whose partition is not owned under their
// fence any more, while the others are asked for. With err nothing is asked for:
// among the records are some that this subscription has not handed out.
func (b *Buffer) Ask(recs []messages.Record) (targets []Target, fenced, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(recs) == 0 {
		for _, c := range b.claims {
			c.asked = c.at()
			targets = append(targets, Target{c.Partition, c.Fence, c.asked, c.seeks})
		}
		return targets, nil, nil
	}
	if b.cfg.Concurrency > 0 {
		return nil, nil, fmt.Errorf("partition %d, offset %d: %w: with Concurrency a commit up to a record would take those before it along that are not finished; commit without records what is finished",
			recs[0].Partition, recs[0].Offset, messages.ErrInvalid)
	}
	last := make(map[*Claim]int64, 1)
	for i := range recs {
		r := &recs[i]
		if err := b.fault(r); err != nil {
			return nil, nil, err
		}
		c := b.claims[r.Partition]
		if c == nil || c.Fence != r.Fence {
			fenced = Target{Partition: r.Partition, fence: r.Fence}.fenced()
			continue
		}
		last[c] = max(last[c], r.Offset+1)
	}
	for c, at := range last {
		c.asked = at
		targets = append(targets, Target{c.Partition, c.Fence, at, c.seeks})
	}
	return targets, fenced, nil
}

// fault is why a record cannot be one that this subscription has handed out, or
// nil. Of a claim that was lost only the fence is known.
func (b *Buffer) fault(r *messages.Record) error {
	fences, owned := b.fences[r.Partition]
	c := b.claims[r.Partition]
	switch {
	case r.Topic != b.cfg.Topic:
		return fmt.Errorf("a record of topic %q: %w: this is a subscription to %q", r.Topic, messages.ErrInvalid, b.cfg.Topic)
	case r.Fence <= 0:
		return fmt.Errorf("partition %d, offset %d: %w: a record without a fence was handed out by no subscription", r.Partition, r.Offset, messages.ErrInvalid)
	case !owned:
		return fmt.Errorf("partition %d, offset %d, fence %d: %w: this subscription has never owned the partition", r.Partition, r.Offset, r.Fence, messages.ErrInvalid)
	case r.Fence < fences[0] || r.Fence > fences[1]:
		return fmt.Errorf("partition %d, offset %d, fence %d: %w: another subscription handed it out, this one has owned the partition under fences from %d to %d",
			r.Partition, r.Offset, r.Fence, messages.ErrInvalid, fences[0], fences[1])
	case c == nil || c.Fence != r.Fence:
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

// AskedBack returns when the first of claims was asked back.
func (b *Buffer) AskedBack(claims []*Claim) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := claims[0].wantedOut
	for _, c := range claims[1:] {
		if c.wantedOut.Before(first) {
			first = c.wantedOut
		}
	}
	return first
}

// AskFor marks all that is finished of claims to be committed.
func (b *Buffer) AskFor(claims []*Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range claims {
		c.asked = c.at()
	}
}

// Unmet returns an error for targets whose claim was lost, or moved by a Seek,
// before they were written.
func (b *Buffer) Unmet(targets []Target) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, t := range targets {
		c, past := b.claims[t.Partition], b.past[t.Partition]
		switch {
		case c != nil && c.Fence == t.fence && c.seeks != t.seeks && c.committed < t.offset:
			errs = append(errs, fmt.Errorf("partition %d, offset %d: %w: it was not written before a Seek moved the partition", t.Partition, t.offset, messages.ErrOffsetOutOfRange))
		case c != nil && c.Fence == t.fence, past.fence == t.fence && past.offset >= t.offset:
		default:
			errs = append(errs, t.fenced())
		}
	}
	return errors.Join(errs...)
}
