package quota

// The gate before appends.

import (
	"context"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// State is how a gate stands.
type State string

// The states of a gate.
const (
	Open   State = "open"   // everything passes
	Slowed State = "slowed" // appends wait for grants
	Shut   State = "shut"   // appends are refused
)

const (
	// patience is how long an append waits for a grant before it is refused, and glance
	// how long for a look.
	patience, glance = 5 * time.Second, time.Second
	// freshLook is how old the look behind a refusal may be.
	freshLook = 100 * time.Millisecond
	// slowCommit is from where on appends are spaced: etcd is behind with its disk.
	slowCommit, longestPace = time.Second, time.Second
)

// Gate decides for one process. Make it with NewGate.
type Gate struct {
	wanted chan struct{} // rung when a look is wanted; holds one ring

	mu      sync.Mutex
	now     func() time.Time
	state   State
	sees    bool // a look has succeeded, and none has failed since
	at      time.Time
	size    Size
	left    int64 // of the grant
	own     int64 // put since the look
	writers int64
	latency time.Duration // of appends, a moving average
	counts  Counts
	looked  chan struct{} // closed by the next look
}

// Counts are what a gate has done since it was made.
type Counts struct {
	Size
	// Waited and Refused are appends.
	Waited, Refused uint64
}

// NewGate makes a gate that nobody has looked for yet.
func NewGate() *Gate {
	return &Gate{wanted: make(chan struct{}, 1), now: time.Now, state: Open, looked: make(chan struct{})}
}

// Wanted is rung when somebody waits for a look, or the last one is old.
func (g *Gate) Wanted() <-chan struct{} { return g.wanted }

func (g *Gate) ring() {
	select {
	case g.wanted <- struct{}{}:
	default:
	}
}

// Looked takes what a look has shown, and returns the states before and after it, and
// when the next look is due.
func (g *Gate) Looked(s Size) (before, after State, next time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before = g.state
	if g.sees {
		g.writers = writers(s.Quota, g.writers, max(s.File-g.size.File, s.InUse-g.size.InUse), g.own)
	}
	g.writers = max(g.writers, fewestWriters(s.Quota))
	room := Room(s)
	g.left = grant(room, g.writers)
	switch {
	case room <= 0:
		g.state = Shut
	case s.Quota > 0 && room < s.Quota/4:
		g.state = Slowed
	default:
		g.state = Open
	}
	g.sees, g.at, g.size, g.own = true, g.now(), s, 0
	g.counts.Size = s
	g.heard()
	return before, g.state, interval(s)
}

// Blind notes that a look failed: everything passes until one succeeds.
func (g *Gate) Blind() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sees, g.state, g.at = false, Open, g.now()
	g.heard()
}

// heard wakes who waits for a look. mu is held.
func (g *Gate) heard() {
	close(g.looked)
	g.looked = make(chan struct{})
}

// Took notes how long an append took that etcd has committed.
func (g *Gate) Took(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latency += (d - g.latency) / 8
}

// Counts returns the counts so far, and what the last look has shown.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// admission is the answer to who asks.
type admission struct {
	wait   time.Duration   // ask again after so long at most
	looked <-chan struct{} // or when this is closed
	err    error
}

// admit asks whether a batch may be sent, for an append that has waited so long for it.
func (g *Gate) admit(bytes int, waited time.Duration) admission {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, age := int64(bytes), g.now().Sub(g.at)
	switch {
	case g.at.IsZero(): // nobody has looked yet
		g.ring()
		if waited < glance {
			return admission{wait: glance, looked: g.looked}
		}
		return admission{}
	case !g.sees:
		if age > farInterval {
			g.ring()
		}
		return admission{}
	case age > freshLook && (g.state != Open || age > interval(g.size)):
		g.ring()
		if g.state != Open && waited < glance {
			return admission{wait: glance, looked: g.looked}
		}
	}
	if n <= g.left || g.own == 0 && g.state != Shut && 8*int64(amplification*float64(n)) < Room(g.size) {
		g.left -= n
		g.own += n
		return admission{}
	}
	if g.state == Shut || waited > patience {
		g.counts.Refused++
		return admission{err: &messages.QuotaError{InUse: g.size.InUse, Size: g.size.File, Quota: g.size.Quota}}
	}
	g.ring()
	return admission{wait: farInterval, looked: g.looked}
}

// Pass waits until a batch may be sent, or ctx ends, whose cause it returns. A batch that
// may not be sent is a *messages.QuotaError.
func (g *Gate) Pass(ctx context.Context, bytes int) error {
	began := g.now()
	for asked := 0; ; asked++ {
		a := g.admit(bytes, g.now().Sub(began))
		if a.err != nil {
			return a.err
		}
		if a.wait == 0 {
			break
		}
		if asked == 0 {
			g.mu.Lock()
			g.counts.Waited++
			g.mu.Unlock()
		}
		if err := pause(ctx, a.wait, a.looked); err != nil {
			return err
		}
	}
	if d := g.pace(); d > 0 {
		return pause(ctx, d, nil)
	}
	return nil
}

// pace is how long an append waits because those before took long.
func (g *Gate) pace() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.latency <= slowCommit {
		return 0
	}
	return min(g.latency-slowCommit, longestPace)
}

// pause waits, until something is closed at most.
func pause(ctx context.Context, d time.Duration, looked <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-looked:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
