package actors

// The callbacks of CommitAsync, in the order of the calls. They wait here and
// not in the actor's mailbox, so that each is called however the subscription
// ends, and a commit for each record costs one message for each round. There is
// room for so many: while etcd is away nothing else would stop them.

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/penstock-io/penstock/messages"
)

// MaxCommitsWaiting is how many calls of CommitAsync with a callback can wait for
// it in a subscription; one that is about several partitions counts for each.
const MaxCommitsWaiting = 1 << 16

// asyncCommits outlives the incarnations of the subscription's actor.
type asyncCommits struct {
	emit  func(string, []byte) // of a callback that panicked: with what, and where
	mu    sync.Mutex
	asked wordState
	held  int // of MaxCommitsWaiting
	// waiting are not written, decided are to be told. closed is why nothing
	// is taken any more.
	waiting, decided []*asyncCommit
	closed           error
	telling          tellState
}

// wordState says whether the actor has yet to hear that something waits.
type wordState uint8

const (
	noWord wordState = iota
	wordSent
)

// tellState says whether somebody is calling callbacks.
type tellState uint8

const (
	notTelling tellState = iota
	isTelling
)

// asyncCommit is one call with a callback.
type asyncCommit struct {
	wishes []wish
	done   func(error)
	err    error
}

func (c *asyncCommit) weight() int { return max(1, len(c.wishes)) }

// commitWanted asks for a commit of everything that is due.
type commitWanted struct{}

// full tells whether no more calls are taken now.
func (q *asyncCommits) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held >= MaxCommitsWaiting
}

// add takes a call in; done may be nil. It answers whether the actor is to be
// told. When nothing is committed any more the call is decided by that, and
// tell is for the caller to call.
func (q *asyncCommits) add(c *asyncCommit) (tell, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.done != nil {
		q.held += c.weight()
	}
	if q.closed != nil {
		if c.done != nil {
			c.err = q.closed
			q.decided = append(q.decided, c)
		}
		return false, true
	}
	if c.done != nil {
		q.waiting = append(q.waiting, c)
	}
	tell = q.asked == noWord
	q.asked = wordSent
	return tell, false
}

// take answers who waits for the commit that begins now.
func (q *asyncCommits) take() []*asyncCommit {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = noWord
	taken := q.waiting
	q.waiting = nil
	return taken
}

// decide hands over what became of calls, and answers whether tell is to be
// called.
func (q *asyncCommits) decide(calls []*asyncCommit) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.decided = append(q.decided, calls...)
	return len(q.decided) > 0 && q.telling == notTelling
}

// close decides everything that waits, and takes nothing more.
func (q *asyncCommits) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = err
	}
	for _, c := range q.waiting {
		c.err = q.closed
	}
	q.decided = append(q.decided, q.waiting...)
	q.waiting = nil
}

// tell calls what was decided, one after the other, until there is no more or
// ctx ends. One goroutine at a time does.
func (q *asyncCommits) tell(ctx context.Context) {
	q.mu.Lock()
	if q.telling == isTelling {
		q.mu.Unlock()
		return
	}
	q.telling = isTelling
	locked := true
	defer func() { // also when a callback ends the goroutine
		if !locked {
			q.mu.Lock()
		}
		q.telling = notTelling
		q.mu.Unlock()
	}()
	for len(q.decided) > 0 && ctx.Err() == nil {
		c := q.decided[0]
		q.decided[0] = nil
		q.decided = q.decided[1:]
		q.held -= c.weight()
		q.mu.Unlock()
		locked = false
		q.call(c)
		q.mu.Lock()
		locked = true
	}
}

// call is one callback; what it does wrong harms nobody else.
func (q *asyncCommits) call(c *asyncCommit) {
	returned := false
	defer func() {
		if !returned {
			q.emit(fmt.Sprint(recover()), debug.Stack())
		}
	}()
	c.done(c.err)
	returned = true
}

// tellAsync lets the callbacks be called by hosted work.
func (a *subscription) tellAsync(calls []*asyncCommit) {
	if q := &a.sub.async; q.decide(calls) {
		a.host.Run("tell of commits", func(ctx context.Context) error {
			q.tell(ctx)
			return nil
		})
	}
}

// fate is what became of a call.
func (c *asyncCommit) fate(err error, where string) {
	if err != nil {
		c.err = fmt.Errorf("%s: %w", where, err)
	}
}

// panicked tells of a callback that did.
func (s *Subscription) panicked(with string, stack []byte) {
	s.eng.hub.emit(messages.HandlerPanicked{Destination: s.cfg.Topic, Group: s.cfg.Group, Value: with, Stack: string(stack)})
}
