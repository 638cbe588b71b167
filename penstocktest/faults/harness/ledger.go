package harness

// Who handled what.

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

// Ledger is who handled which message, how often.
type Ledger struct {
	mu      sync.Mutex
	counts  map[int]int
	by      map[string]int
	total   int
	changed chan struct{} // closed when something is entered; nil when nobody waits
}

// NewLedger makes an empty one.
func NewLedger() *Ledger { return &Ledger{counts: make(map[int]int), by: make(map[string]int)} }

// Enter writes down that who handled message id.
func (l *Ledger) Enter(who string, id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[id]++
	l.by[who]++
	l.total++
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Tally is a ledger at one moment: how many messages were handled, in how many
// handlings, and how many of these were whose.
type Tally struct {
	Distinct, Total int
	By              map[string]int
}

// Tally returns what the ledger says now.
func (l *Ledger) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Tally{len(l.counts), l.total, maps.Clone(l.by)}
}

// Await waits until enough is true, and returns the tally for which it is.
func (l *Ledger) Await(t *testing.T, what string, enough func(Tally) bool) Tally {
	t.Helper()
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		now := Tally{len(l.counts), l.total, maps.Clone(l.by)}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if enough(now) {
			return now
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%s: not within %s; so far %+v", what, Patience, now)
		}
	}
}

// Has reports whether the messages from..to-1 were all handled.
func (l *Ledger) Has(from, to int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := from; id < to; id++ {
		if l.counts[id] == 0 {
			return false
		}
	}
	return true
}

// Complete checks that each of the n messages was handled, and that no more
// than spare handlings were repetitions.
func (l *Ledger) Complete(t *testing.T, n, spare int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for id := range n {
		if l.counts[id] == 0 {
			if lost++; lost <= 5 {
				t.Errorf("message %d of %d was accepted and never handled", id, n)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d accepted messages were lost", lost)
	}
	if repeated := l.total - len(l.counts); repeated > spare {
		t.Errorf("%d messages were handled again, at most %d may be", repeated, spare)
	}
}

// Handle enters every delivery of m, until m leaves or the test ends.
func (l *Ledger) Handle(t *testing.T, who string, m *penstock.Member) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for msg, err := range m.Messages(ctx) {
			if err != nil {
				return
			}
			l.Enter(who, Number(msg))
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
