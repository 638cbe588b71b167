package main

// What was handled, to prove that nothing was twice and nothing was missed.

import (
	"context"
	"sync"

	"github.com/penstock-io/penstock"
)

// ledger counts the records of all members. Offsets of a partition follow one
// another, so the next one is all there is to know of it.
type ledger struct {
	mu      sync.Mutex
	next    map[int]int64 // by partition
	handled int64
	strange int64
	wanted  int64
	reached chan struct{} // closed when wanted are handled; nil while nobody waits
}

func newLedger() *ledger { return &ledger{next: make(map[int]int64)} }

func (l *ledger) note(r penstock.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Offset != l.next[r.Partition] {
		l.strange++
	}
	l.next[r.Partition] = r.Offset + 1
	l.handled++
	l.tell()
}

// tell is called with mu held.
func (l *ledger) tell() {
	if l.reached != nil && l.handled >= l.wanted {
		close(l.reached)
		l.reached = nil
	}
}

func (l *ledger) total() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handled
}

// outOfTurn is how many records came twice, or after a gap.
func (l *ledger) outOfTurn() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.strange
}

// await waits until n records are handled, or ctx ends. It is called once.
func (l *ledger) await(ctx context.Context, n int64) error {
	reached := make(chan struct{})
	l.mu.Lock()
	l.wanted, l.reached = n, reached
	l.tell()
	l.mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
