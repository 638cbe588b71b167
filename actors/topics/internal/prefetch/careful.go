package prefetch

// What an owner does that comes after one which ended without a release: a record may have
// ended its process, and may end this one.

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// suspects is how many records behind what is committed such an owner hands out, so that
	// the next one knows where to look.
	suspects = 1024
	// takeovers is after how many of them in a row, without progress, records are handed out
	// one at a time.
	takeovers = 2
)

// errDied is why a record is a dead letter that was never handled to an end.
var errDied = errors.New("the process that handled it has ended each time, or lost the partition")

// TakenOver is the progress with which an owner begins at an offset whose predecessor has
// ended without a release. It is to be written before a record is handed out.
func TakenOver(offset int64, p format.Progress) format.Progress {
	p.Takeovers++
	if p.Takeovers >= takeovers {
		p.Careful = max(p.Careful, bound(offset, p))
	}
	return p
}

// bound is where the records end that may be handed out before the next commit.
func bound(offset int64, p format.Progress) int64 {
	if n := len(p.Done); n > 0 {
		offset = p.Done[n-1].To
	}
	return offset + suspects
}

// setLimit notes what etcd has of a claim.
func (b *Buffer) setLimit(c *Claim, offset int64, p format.Progress) {
	c.behindTold = false
	if c.limit != math.MaxInt64 {
		c.limit = bound(offset, p)
	}
}

// single reports whether a claim's records are handed out one at a time, each death
// written first.
func (b *Buffer) single(c *Claim) bool {
	return b.working && !b.cfg.ManualCommit && c.ahead.Careful > 0 && c.at() < c.ahead.Careful
}

// limited reports whether nothing from an offset on is handed out before the next commit.
func (b *Buffer) limited(c *Claim, offset int64) bool { return b.working && offset >= c.limit }

// tellBehind asks for a commit when a claim waits for one that would say something.
func (b *Buffer) tellBehind(c *Claim) {
	next := c.at()
	if c.window != nil {
		next = c.window.Next()
	}
	if _, due := b.position(c); due && !c.behindTold && b.limited(c, next) {
		c.behindTold = true
		c.tell(Behind{})
	}
}

// mayDie notes that the process may end over a record, before it is handed out alone.
func (h *hand) mayDie() {
	h.single = true
	h.e.Deaths++
	h.c.changed++
}

// lives takes mayDie back. The buffer's lock is held.
func (h *hand) lives() {
	if h.single {
		h.e.Deaths--
		h.c.changed++
	}
}

// persists has a death written that is noted. It returns false when that is not possible:
// then the record is given back.
func (c *Consumption) persists(ctx context.Context, h *hand) bool {
	if !h.single || c.buffer.cfg.Persist == nil {
		return true
	}
	err := c.buffer.cfg.Persist(ctx)
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		h.returned()
	default:
		h.released()
	}
	return false
}

// Share is a share of the Of records that were finished last: from 0, which is none, to 1.
type Share struct {
	Least float64
	Of    int
}

// Tripped is what was too much: Run dead letters in a row, or Letters of the last Of
// records, which is 0 then.
type Tripped struct{ Run, Letters, Of int }

// share counts the dead letters among the records that were finished last. Once they are
// too many, it begins again. It is safe for concurrent use.
type share struct {
	Share
	mu      sync.Mutex
	ring    []bool // a dead letter or not, the oldest at next once it is full
	next    int
	letters int // in ring
}

func newShare(s Share) *share {
	if s.Of == 0 {
		return nil
	}
	return &share{Share: s, ring: make([]bool, 0, s.Of)}
}

// finished takes n records that became dead letters, or were handled, and returns how many
// of the last ones are dead letters when these are too many, else 0.
func (s *share) finished(n int, letter bool) (tooMany int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range min(n, s.Of) {
		if len(s.ring) < s.Of {
			s.ring = append(s.ring, false)
		}
		if s.ring[s.next] {
			s.letters--
		}
		if s.ring[s.next] = letter; letter {
			s.letters++
		}
		s.next = (s.next + 1) % s.Of
	}
	if len(s.ring) < s.Of || float64(s.letters) < s.Least*float64(s.Of) {
		return 0
	}
	tooMany = s.letters
	s.ring, s.next, s.letters = s.ring[:0], 0, 0
	return tooMany
}

// buried counts a dead letter.
func (b *Buffer) buried() {
	if n := b.inARow.Add(1); b.cfg.Breaker > 0 && n%int64(b.cfg.Breaker) == 0 {
		b.cfg.Trip(Tripped{Run: int(n)})
	}
	b.outcome(1, true)
}

// handled notes that n records were handled: the dead letters were at fault, and not what
// handles them.
func (b *Buffer) handled(n int) {
	if b.cfg.Breaker > 0 && b.inARow.Load() != 0 {
		b.inARow.Store(0)
	}
	b.outcome(n, false)
}

func (b *Buffer) outcome(n int, letter bool) {
	if b.share == nil {
		return
	}
	if letters := b.share.finished(n, letter); letters > 0 {
		b.cfg.Trip(Tripped{Letters: letters, Of: b.share.Of})
	}
}

// diedOver reports whether a record is a dead letter because processes ended over it.
func (c *Consumption) diedOver(rec messages.Record) bool {
	cfg := &c.buffer.cfg
	return cfg.MaxAttempts > 0 && rec.Deaths > 0 && rec.Attempt-1+rec.Deaths >= cfg.MaxAttempts
}
