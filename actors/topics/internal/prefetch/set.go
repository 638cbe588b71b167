package prefetch

// What a transaction has in hand: records of several claims, which are finished by it or
// not at all.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Set is what a transaction has in hand, until Landed, Back or Forfeit. One goroutine
// uses it.
type Set struct {
	// Records are in order for each partition.
	Records []messages.Record

	buffer  *Buffer
	cursors []*cursor
	stakes  []Stake
}

// Stake is a claim that a transaction stands on.
type Stake struct {
	Claim *Claim
	// Position is where the transaction moves the claim; with Offset -1 it does not.
	Position format.Position
	// From, FromBase and FromProgress are where the claim is.
	From, FromBase int64
	FromProgress   format.Progress
}

// TakeSet waits for at least one record, and takes at most limit, of at most so many
// partitions. It lets its caller in as a reader, which what ends the set lets out. Errors
// are those of Poll.
func (b *Buffer) TakeSet(ctx context.Context, limit, partitions int) (*Set, error) {
	if limit < 1 {
		return nil, fmt.Errorf("take %d records: %w", limit, messages.ErrInvalid)
	}
	if err := b.Begin(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			err = cmp.Or(b.Cause(), err)
		}
		return nil, err
	}
	s := &Set{buffer: b}
	if err := s.fill(ctx, limit, partitions); err != nil {
		b.Finish()
		return nil, err
	}
	return s, nil
}

func (s *Set) fill(ctx context.Context, limit, partitions int) error {
	b := s.buffer
	for len(s.Records) == 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cur, err := b.take(ctx)
		switch {
		case err != nil:
			return err
		case cur == nil:
			return messages.ErrClosed
		}
		for cur != nil {
			if s.from(cur, limit); len(s.Records) >= limit || len(s.cursors) >= partitions {
				break
			}
			cur, _, _ = b.tryTake()
		}
	}
	return nil
}

// from takes the records of one cursor, batch by batch.
func (s *Set) from(cur *cursor, limit int) {
	had := len(s.Records)
	err := cur.skip()
	for err == nil && len(s.Records) < limit {
		var rec messages.Record
		var ok bool
		cur.out = -1
		if ok, err = cur.next(&rec); ok {
			s.Records = append(s.Records, rec)
		} else if err != nil || !cur.onward() {
			break
		}
	}
	cur.out = -1
	switch {
	case len(s.Records) > had:
		s.cursors = append(s.cursors, cur)
	case err != nil:
		s.buffer.stall(cur, err)
	default:
		s.buffer.put(cur)
	}
}

// onward goes to the next batch of the claim, if that is there and the claim is not
// wanted elsewhere.
func (cur *cursor) onward() bool {
	c := cur.c
	c.buffer.mu.Lock()
	defer c.buffer.mu.Unlock()
	if len(cur.rest) > 0 || c.look.Load() {
		return false
	}
	i := slices.Index(c.queue, cur.batch) + 1
	if i < 1 || i >= len(c.queue) || c.queue[i].Base != cur.offset {
		return false
	}
	cur.batch, cur.rest = c.queue[i], c.queue[i].Raw
	return true
}

// Stakes are the claims of the set, and where they move when the records given are
// finished with those before them; nil is all. No commit may be under way, and none of
// these claims is due to be committed until the set ends. The error wraps
// messages.ErrInvalid for a record that is not of the set, and messages.ErrFenced when a
// claim is lost.
func (s *Set) Stakes(acked []messages.Record) ([]Stake, error) {
	b := s.buffer
	last, err := s.acked(acked)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cur := range s.cursors {
		c := cur.c
		if b.claims[c.Partition] != c {
			return nil, Target{Partition: c.Partition, fence: c.Fence}.fenced()
		}
		to := Stake{Claim: c, From: c.at(), Position: format.Position{Partition: c.Partition, Fence: c.Fence, Offset: -1, Base: -1, Known: c.known}}
		to.FromBase, to.FromProgress = max(c.begins(to.From), 0), c.standing(to.From)
		switch at, named := last[c.Partition]; {
		case named && at+1 < cur.offset:
			to.Position = c.positionAt(at + 1)
		case named, acked == nil:
			to.Position = c.positionAt(cur.offset)
		}
		s.stakes = append(s.stakes, to)
	}
	for i := range s.stakes {
		s.stakes[i].Claim.staked = true
	}
	return s.stakes, nil
}

// acked is the last offset by partition of records, which must be of the set.
func (s *Set) acked(recs []messages.Record) (map[int]int64, error) {
	last := make(map[int]int64, 1)
	for _, r := range recs {
		if !slices.ContainsFunc(s.Records, func(x messages.Record) bool {
			return x.Topic == r.Topic && x.Partition == r.Partition && x.Offset == r.Offset && x.Fence == r.Fence
		}) {
			return nil, fmt.Errorf("ack of topic %q, partition %d, offset %d: %w: the transaction was not given that record", r.Topic, r.Partition, r.Offset, messages.ErrInvalid)
		}
		if at, ok := last[r.Partition]; !ok || r.Offset > at {
			last[r.Partition] = r.Offset
		}
	}
	return last, nil
}

// Landed ends a set whose transaction was written, and returns how many records it has
// finished. known are the ModRevisions of the offsets, by stake.
func (s *Set) Landed(known []int64) (finished int) {
	b := s.buffer
	b.mu.Lock()
	for i, to := range s.stakes {
		c, cur := to.Claim, s.cursors[i]
		if c.staked = false; to.Position.Offset < 0 {
			continue
		}
		finished += s.before(to)
		b.counters.Commits++
		// Finished first: what is further than committed is due.
		if cur.c.finished.CompareAndSwap(cur.done, to.Position.Offset) {
			cur.done = to.Position.Offset
			c.asked = max(c.asked, to.Position.Offset)
		}
		to.Position.Known = known[i]
		b.wrote(c, to.Position)
	}
	b.mu.Unlock()
	s.end(b.put)
	return finished
}

// before is how many records of the set a stake finishes.
func (s *Set) before(to Stake) (n int) {
	for i := range s.Records {
		if r := &s.Records[i]; r.Partition == to.Position.Partition && r.Offset < to.Position.Offset {
			n++
		}
	}
	return n
}

// Back ends a set whose transaction was not written: the records are handed out again.
// With failed they come after a delay, as after a handler that failed. known are the
// ModRevisions of the offsets, by stake, if the attempt has changed them.
func (s *Set) Back(failed bool, known []int64) {
	b := s.buffer
	b.mu.Lock()
	for i, to := range s.stakes {
		c := to.Claim
		c.staked = false
		if i < len(known) && to.Position.Offset >= 0 && known[i] != c.known && b.claims[c.Partition] == c {
			c.known, c.committed = known[i], to.From
		}
	}
	b.mu.Unlock()
	if failed {
		s.end(func(cur *cursor) { b.failed(cur, cur.done, 0) })
		return
	}
	s.end(b.put)
}

// Forfeit ends a set of whose transaction nothing is known: the claims are over here, so
// that nothing of them is handed out before they are given up. It returns them.
func (s *Set) Forfeit(cause error) (claims []*Claim) {
	for _, cur := range s.cursors {
		s.buffer.Remove(cur.c, cause)
		claims = append(claims, cur.c)
	}
	s.end(s.buffer.put)
	return claims
}

func (s *Set) end(put func(*cursor)) {
	for _, cur := range s.cursors {
		cur.out = -1
		put(cur)
	}
	s.cursors = nil
	s.buffer.Finish()
}

// Burial is a record in hand that a transaction is to finish: a dead letter. After Stake it
// hears of the end by Landed, Back or Forfeit.
type Burial struct {
	in    mover
	rec   messages.Record
	stake Stake
}

// mover is a holding whose record a transaction can finish.
type mover interface {
	holding
	claim() *Claim
	// moves is where its claim would be, if the record at an offset were finished. It returns
	// false when the record is not in hand any more. The buffer's lock is held.
	moves(offset int64) (format.Position, bool)
	// land notes that it is finished, and committed. The buffer's lock is held.
	land(offset int64)
}

func (cur *cursor) land(offset int64) {
	if cur.c.finished.CompareAndSwap(cur.done, offset+1) {
		cur.done = offset + 1
	}
	cur.out = -1
}

func (h *hand) land(int64) {
	if h.w == h.c.window && !h.landed {
		h.c.buffer.finished(h.c, h.w, h.e)
	}
	h.landed = true
}

func (cur *cursor) claim() *Claim { return cur.c }

func (cur *cursor) moves(offset int64) (format.Position, bool) {
	return cur.c.positionAt(offset + 1), cur.c.cursor == cur && cur.c.finished.Load() == cur.done
}

func (h *hand) claim() *Claim { return h.c }

func (h *hand) moves(int64) (format.Position, bool) {
	c := h.c
	if h.w != c.window {
		return format.Position{}, false
	}
	floor, base, progress := h.w.Without(h.e)
	if base < 0 {
		base = max(c.begins(floor), 0)
	}
	p := c.positionAt(floor)
	progress.Takeovers, progress.Careful = c.ahead.Takeovers, c.ahead.Careful
	p.Base, p.Progress = base, c.stood(floor, progress)
	return p, true
}

// Stake is the claim of the record, and where it moves. No commit may be under way, and the
// claim is not due to be committed until the burial ends. The error wraps
// messages.ErrFenced when the claim is lost, or was moved by a Seek.
func (d *Burial) Stake() (Stake, error) {
	c := d.in.claim()
	b := c.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.claims[c.Partition] != c {
		return Stake{}, Target{Partition: c.Partition, fence: c.Fence}.fenced()
	}
	from := c.at()
	d.stake = Stake{Claim: c, From: from, FromBase: max(c.begins(from), 0), FromProgress: c.standing(from)}
	p, ok := d.in.moves(d.rec.Offset)
	if !ok {
		return Stake{}, Target{Partition: c.Partition, fence: c.Fence}.fenced()
	}
	d.stake.Position = p
	c.staked = true
	return d.stake, nil
}

// Landed notes that the transaction was written; known is the ModRevision of the offset.
func (d *Burial) Landed(known int64) {
	c := d.stake.Claim
	b := c.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	c.staked = false
	b.counters.Commits++
	d.stake.Position.Known = known
	d.in.land(d.rec.Offset) // first: what is further than committed is due
	b.wrote(c, d.stake.Position)
	c.changed++ // what was finished meanwhile is not in it
}

// Back notes that it was not written, and what the offset's ModRevision is now.
func (d *Burial) Back(known int64) {
	c := d.stake.Claim
	b := c.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	c.staked = false
	if known != c.known && b.claims[c.Partition] == c {
		c.known, c.committed = known, d.stake.From
		c.changed++
	}
}

// Forfeit ends a claim of which it is not known where it was moved, and returns it.
func (d *Burial) Forfeit(cause error) *Claim {
	d.stake.Claim.buffer.Remove(d.stake.Claim, cause)
	return d.stake.Claim
}
