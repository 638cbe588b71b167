package asks

// The requests that wait for replies, and how each group's outcome finds its request.

import (
	"crypto/rand"
	"encoding/binary"
	"sync"

	"github.com/penstock-io/penstock/messages"
)

// Table is what one destination waits for. The zero Table is empty. It is safe for
// concurrent use.
type Table struct {
	mu      sync.Mutex
	waiting map[uint64]*Ask
}

// Ask is one request.
type Ask struct {
	// Number is what the reply names. It is random, so that only who got the request can
	// reply: a member of the group cannot guess those of the others.
	Number uint64
	// Outcomes has one from each group, in the order in which they come. It is never closed.
	Outcomes <-chan Outcome

	outcomes chan Outcome
	groups   []string // those without an outcome
}

// Outcome is what a request came to in one group: a reply, or Err.
type Outcome struct {
	messages.Reply
	Err error
}

// Begin makes a request to groups, each of which is named once.
func (t *Table) Begin(groups []string) *Ask {
	out := make(chan Outcome, len(groups))
	a := &Ask{Outcomes: out, outcomes: out, groups: append([]string(nil), groups...)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = make(map[uint64]*Ask)
	}
	for a.Number == 0 || t.waiting[a.Number] != nil {
		var b [8]byte
		rand.Read(b[:])
		a.Number = binary.LittleEndian.Uint64(b[:])
	}
	t.waiting[a.Number] = a
	return a
}

// Settle gives a request the outcome of one group, and reports whether that was awaited.
// A group's first outcome counts. It does not block, and keeps o's bytes when it returns
// true.
func (t *Table) Settle(number uint64, group string, o Outcome) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.waiting[number]
	if a == nil {
		return false
	}
	for i, g := range a.groups {
		if g != group {
			continue
		}
		a.groups[i] = a.groups[len(a.groups)-1]
		a.groups = a.groups[:len(a.groups)-1]
		if len(a.groups) == 0 {
			delete(t.waiting, number)
		}
		o.Group = group
		a.outcomes <- o // there is room for each group's
		return true
	}
	return false
}

// Forget ends a request, whatever it came to. Later outcomes are awaited no more.
func (t *Table) Forget(a *Ask) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, a.Number)
}

// Waiting is how many requests wait.
func (t *Table) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}
