package harness

// Numbered messages, one by one and at a steady pace.

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

// Send sends the messages from..to-1.
func Send(t *testing.T, d *penstock.Destination, from, to int) {
	t.Helper()
	ctx := Context(t)
	for id := from; id < to; id++ {
		if err := d.Send(ctx, Numbered(id)); err != nil {
			t.Fatal(err)
		}
	}
}

// Numbered is the message of that number.
func Numbered(id int) penstock.Message {
	return penstock.Message{Value: strconv.AppendInt(nil, int64(id), 10)}
}

// Number is the number of a message that Numbered made.
func Number(d penstock.Delivery) int {
	id, err := strconv.Atoi(string(d.Value))
	if err != nil {
		panic(err)
	}
	return id
}

// Load sends numbered messages at a steady pace until it is stopped.
type Load struct {
	stopping chan struct{}
	stop     sync.Once // closes stopping
	done     chan struct{}

	mu   sync.Mutex
	next int
	err  error
}

// everyTick is how often a load sends.
const everyTick = 2 * time.Millisecond

// PerTick is how many messages a load sends at once: some thousand a second.
const PerTick = 4

// StartLoad starts a load on d, which ends with t at the latest.
func StartLoad(t *testing.T, d *penstock.Destination) *Load { return StartLoadOf(t, d, Numbered) }

// StartLoadOf is StartLoad of the messages that message makes of their numbers.
func StartLoadOf(t *testing.T, d *penstock.Destination, message func(int) penstock.Message) *Load {
	l := &Load{stopping: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		defer cancel()
		tick := time.NewTicker(everyTick)
		defer tick.Stop()
		for {
			select {
			case <-l.stopping:
				return
			case <-tick.C:
			}
			for range PerTick {
				if err := d.Send(ctx, message(l.accepted())); err != nil {
					l.fail(err)
					return
				}
				l.accept()
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.stop.Do(func() { close(l.stopping) })
		<-l.done
	})
	return l
}

func (l *Load) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (l *Load) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
}

func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Stop ends the load and returns how many messages were accepted.
func (l *Load) Stop(t *testing.T) int {
	t.Helper()
	l.stop.Do(func() { close(l.stopping) })
	select {
	case <-l.done:
	case <-time.After(Patience):
		t.Fatal("a Send of the load did not return")
	}
	if l.err != nil {
		t.Fatal("send: ", l.err)
	}
	return l.accepted()
}

// Settle ends the load, waits until all of it was handled and acked, and returns
// how many messages it was.
func Settle(t *testing.T, load *Load, d *penstock.Destination, l *Ledger) (n int) {
	t.Helper()
	n = load.Stop(t)
	l.Await(t, fmt.Sprintf("all of %d messages", n), func(now Tally) bool { return now.Distinct >= n })
	if err := d.Flush(Context(t)); err != nil {
		t.Fatal(err)
	}
	return n
}
