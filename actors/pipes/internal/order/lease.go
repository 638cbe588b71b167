package order

// Until when a member may hand out what a sender sent it.

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// HandsOutFor is how long a member may hand out after it sent a ping that the sender
	// has repeated.
	HandsOutFor = 2 * time.Second
	// GivenUpAfter is how long after such a ping came the sender waits before it gives to
	// others what was out. The difference is for clocks that run unequally.
	GivenUpAfter = 3 * time.Second
	// PingEvery is how often a member sends such a ping.
	PingEvery = HandsOutFor / 4
)

// Lease is a member's, on one link. It is safe for concurrent use.
type Lease struct {
	mu     sync.Mutex
	number uint64
	sent   [16]time.Time // when the last pings were sent, by number
	began  atomic.Pointer[beginning]
	asked  atomic.Bool // somebody was told that the lease is over, since it was renewed
}

// beginning is when a lease began, by both clocks: the one that only goes forward may stand
// while the machine is suspended.
type beginning struct {
	at  time.Time
	day int64 // the time of day, in nanoseconds
}

// Ping notes that a ping is sent now, and returns its number.
func (l *Lease) Ping(now time.Time) (number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	l.sent[l.number%uint64(len(l.sent))] = now
	return l.number
}

// Heard notes that the sender has heard the ping of that number. It reports whether
// somebody was told that the lease is over, and it is not any more. A number that was not
// sent, or long ago, says nothing.
func (l *Lease) Heard(number uint64, now time.Time) (renewed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number == 0 || number > l.number || l.number-number >= uint64(len(l.sent)) {
		return false
	}
	at := l.sent[number%uint64(len(l.sent))]
	if was := l.began.Load(); was != nil && !at.After(was.at) {
		return false
	}
	l.began.Store(&beginning{at, at.UnixNano()})
	return l.valid(now) && l.asked.Swap(false)
}

// Valid reports whether the member may hand out. Where it may not, the next Heard that
// renews the lease says so: of a call at the same time one sees the other.
func (l *Lease) Valid(now time.Time) bool {
	if l.valid(now) {
		return true
	}
	l.asked.Store(true)
	return l.valid(now)
}

func (l *Lease) valid(now time.Time) bool {
	from := l.began.Load()
	return from != nil && now.Sub(from.at) < HandsOutFor && now.UnixNano()-from.day < int64(HandsOutFor)
}

// Heard is what a sender knows of a member's lease.
type Heard struct {
	number uint64
	at     time.Time
}

// Ping notes a ping of the member. It reports whether the number is to be repeated.
func (h *Heard) Ping(number uint64, now time.Time) bool {
	if number <= h.number {
		return false
	}
	h.number, h.at = number, now
	return true
}

// Number is the one to repeat.
func (h *Heard) Number() uint64 { return h.number }

// Over is when the member's lease is over for sure: the zero Time when it never had one.
func (h *Heard) Over() time.Time {
	if h.number == 0 {
		return time.Time{}
	}
	return h.at.Add(GivenUpAfter)
}
