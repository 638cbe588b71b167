package main

// Billing, and the books that outlive it.

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
)

// billing charges each order and acks it.
type billing struct {
	books *ledger
	every int
}

func (b *billing) Receive(ctx actor.Context) {
	d, ok := ctx.Message().(*penstock.Delivery)
	if !ok {
		return
	}
	if b.books.delivered()%b.every == 0 {
		b.books.crash()
		panic("on purpose") // what is not acked is delivered again
	}
	b.books.charge(string(d.Value))
	d.Ack()
}

// ledger is what would be a database. An order that comes twice is charged once.
type ledger struct {
	mu                              sync.Mutex
	charged                         map[string]bool
	deliveries, crashes, dismissals int
}

func newLedger() *ledger { return &ledger{charged: make(map[string]bool)} }

// delivered counts a delivery and returns its number.
func (l *ledger) delivered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries++
	return l.deliveries
}

func (l *ledger) charge(order string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.charged[order] = true
}

func (l *ledger) crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crashes++
}

func (l *ledger) dismissal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dismissals++
}

func (l *ledger) sum() (charged, crashes, dismissals int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.charged), l.crashes, l.dismissals
}
