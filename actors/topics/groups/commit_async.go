package groups

// The callbacks of CommitAsync, in the order of the calls. They wait here and
// not in the actor's mailbox, so that each is called however the subscription
// ends, and a commit for each record costs one message for each round. There is
// room for so many: while etcd is away, or a callback does not return, nothing
// else would stop them.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
)

// MaxCommitsWaiting is how many calls of CommitAsync with a callback can wait for
// it in a subscription; one that is about several partitions counts for each.
const MaxCommitsWaiting = 1 << 16

// asyncCommits outlives the incarnations of the subscription's actor.
type asyncCommits struct {
	emit func(string, []byte)     // of a callback that panicked: with what, and where
	host func(usercode.Callbacks) // has call called on a goroutine of its own
	of   func() string            // names the commits
	sub  *Subscription            // whose they are

	mu    sync.Mutex
	asked wordState
	held  int // of MaxCommitsWaiting
	// unwritten are not known to be in etcd, decided are to be told. closed is why
	// nothing is taken any more.
	unwritten, decided []*asyncCommit
	closed             error
	hosted             hostState
	calmed             chan struct{} // closed when there is no more to tell; nil when nobody waits
}

// wordState says whether the actor has yet to hear that something waits.
type wordState uint8

const (
	noWord wordState = iota
	wordSent
)

// hostState says whether a goroutine calls, or was asked for.
type hostState uint8

const (
	notHosted hostState = iota
	isHosted
	hostEnded // with something left to call
)

// asyncCommit is one call with a callback.
type asyncCommit struct {
	targets []prefetch.Target
	done    func(error)
	err     error
}

func (c *asyncCommit) weight() int { return max(1, len(c.targets)) }

// commitWanted asks for a commit of everything that is due.
type commitWanted struct{}

// full reports whether no more calls are taken now.
func (q *asyncCommits) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held >= MaxCommitsWaiting
}

// add takes a call in; done may be nil. It reports whether the actor is to be
// told. When nothing is committed any more done is called at once, or behind those
// that have yet to be called.
func (q *asyncCommits) add(c *asyncCommit) (tell bool) {
	q.mu.Lock()
	if q.closed != nil {
		c.err = errors.Join(c.err, q.closed)
		behind := c.done != nil && q.hosted == isHosted
		if behind {
			q.held += c.weight()
			q.decided = append(q.decided, c)
		}
		q.mu.Unlock()
		if c.done != nil && !behind {
			q.tell(c)
		}
		return false
	}
	defer q.mu.Unlock()
	if c.done != nil {
		q.held += c.weight()
		q.unwritten = append(q.unwritten, c)
	}
	tell = q.asked == noWord
	q.asked = wordSent
	return tell
}

// take returns who waits for the commit that begins now.
func (q *asyncCommits) take() []*asyncCommit {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = noWord
	taken := q.unwritten
	q.unwritten = nil
	return taken
}

// waits reports whether somebody waits for a commit that has not begun.
func (q *asyncCommits) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.unwritten) > 0
}

// decide hands over what became of calls, to be told.
func (q *asyncCommits) decide(calls []*asyncCommit) {
	q.mu.Lock()
	begin := q.queue(calls)
	q.mu.Unlock()
	if begin {
		q.host(q)
	}
}

// queue is decide with mu held. It returns whether call is to be hosted.
func (q *asyncCommits) queue(calls []*asyncCommit) (begin bool) {
	q.decided = append(q.decided, calls...)
	if begin = len(q.decided) > 0 && q.hosted == notHosted; begin {
		q.hosted = isHosted
	}
	return begin
}

// close decides everything that waits, and takes nothing more. Both are one step:
// who comes then is told behind them.
func (q *asyncCommits) close(err error) {
	q.mu.Lock()
	if q.closed == nil {
		q.closed = err
	}
	for _, c := range q.unwritten {
		c.err = errors.Join(c.err, q.closed)
	}
	begin := q.queue(q.unwritten)
	q.unwritten = nil
	q.mu.Unlock()
	if begin {
		q.host(q)
	}
}

// Call calls what was decided, one after the other, until there is no more or
// ctx ends.
func (q *asyncCommits) Call(ctx context.Context) {
	for {
		q.mu.Lock()
		switch {
		case len(q.decided) == 0:
			q.hosted = notHosted
			if q.calmed != nil {
				close(q.calmed)
				q.calmed = nil
			}
			q.mu.Unlock()
			return
		case ctx.Err() != nil:
			q.hosted = hostEnded
			q.mu.Unlock()
			return
		}
		q.hosted = isHosted
		c := q.decided[0]
		q.decided[0] = nil
		q.decided = q.decided[1:]
		q.held -= c.weight()
		q.mu.Unlock()
		q.tell(c)
	}
}

// tell is one callback; what it does wrong harms nobody else.
func (q *asyncCommits) tell(c *asyncCommit) {
	returned := false
	defer func() {
		if !returned {
			q.emit(fmt.Sprint(recover()), debug.Stack())
		}
	}()
	c.done(c.err)
	returned = true
}

// over waits until all that was decided is told, or ctx ends.
func (q *asyncCommits) over(ctx context.Context) error {
	q.mu.Lock()
	if q.hosted == notHosted {
		q.mu.Unlock()
		return nil
	}
	if q.calmed == nil {
		q.calmed = make(chan struct{})
	}
	calmed := q.calmed
	q.mu.Unlock()
	select {
	case <-calmed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", q.Waiting(), context.Cause(ctx))
	}
}

// Waiting says what is left to tell.
func (q *asyncCommits) Waiting() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hosted == notHosted {
		return nil
	}
	return fmt.Errorf("%s: a callback has not returned, and %d wait for it", q.of(), len(q.decided))
}

// Run describes the callbacks.
func (q *asyncCommits) Run() *usercode.Run { return q.sub.buffer.Run("a callback of CommitAsync") }

// fate is what became of a call.
func (c *asyncCommit) fate(err error, where string) {
	if err != nil {
		c.err = fmt.Errorf("%s: %w", where, err)
	}
}

// panicked emits that a callback panicked.
func (s *Subscription) panicked(with string, stack []byte) {
	s.env.Events.Emit(messages.HandlerPanicked{Destination: s.cfg.Topic, Group: s.cfg.Group, Value: with, Stack: string(stack)})
}
