package props

// What a producer has taken and etcd has not decided yet, and the replies in order.

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

// puts are those whose replies are due, by who asked. They outlive the incarnations of
// the actor, and the actor: what was taken is decided by etcd, whoever is there. Safe
// for concurrent use.
type puts struct {
	mu  sync.Mutex
	due map[string][]*put // in the order of the questions
	// missed are the errors of messages that nobody waits for: for the next PutsFlushed.
	missed []error
}

// mostMissed is how many errors wait for the next PutsFlushed; of more, the first.
const mostMissed = 8

// put is one Put.
type put struct {
	asker   *actor.PID // may be nil
	results []messages.PutResult
	known   []atomic.Bool // of results; nil where each comes once
	left    atomic.Int64  // results to come
	decided bool          // mu of puts
}

func newPuts() *puts { return &puts{due: make(map[string][]*put)} }

// begin notes a Put of n messages. Where code of the user's has a part in them, a middleware
// that panicked after it had passed its message on has that fail, and so has one that did
// not return before the actor's end; its record's result may come as well: the first counts.
func (q *puts) begin(asker *actor.PID, n int, user bool) *put {
	p := &put{asker: asker, results: make([]messages.PutResult, n)}
	if user {
		p.known = make([]atomic.Bool, n)
	}
	p.left.Store(int64(n))
	if asker != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.due[asker.String()] = append(q.due[asker.String()], p)
	}
	return p
}

// withdraw forgets a Put that begin noted last.
func (q *puts) withdraw(p *put) {
	if p.asker == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	key := p.asker.String()
	q.due[key] = slices.DeleteFunc(q.due[key], func(x *put) bool { return x == p })
	if len(q.due[key]) == 0 {
		delete(q.due, key)
	}
}

// refused notes that a message was not taken.
func (q *puts) refused(system *actor.ActorSystem, p *publish, i int, err error) {
	if p.asker == nil {
		q.unheard(err)
		return
	}
	q.result(system, p.put, i, messages.PutResult{Partition: -1, Offset: -1, Err: err})
}

// unheard notes an error that nobody waits for.
func (q *puts) unheard(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.missed) < mostMissed {
		q.missed = append(q.missed, err)
	}
}

// heard returns what nobody waited for.
func (q *puts) heard() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := errors.Join(q.missed...)
	q.missed = nil
	return err
}

// result notes what became of one message, and replies to those whose turn it is.
func (q *puts) result(system *actor.ActorSystem, p *put, i int, r messages.PutResult) {
	if p.known != nil && !p.known[i].CompareAndSwap(false, true) {
		return
	}
	p.results[i] = r
	if p.left.Add(-1) == 0 {
		q.decide(system, p)
	}
}

// decide notes that a Put has all of its results.
func (q *puts) decide(system *actor.ActorSystem, p *put) {
	if p.asker == nil {
		return
	}
	key := p.asker.String()
	q.mu.Lock()
	defer q.mu.Unlock()
	p.decided = true
	due := q.due[key]
	for len(due) > 0 && due[0].decided {
		system.Root.Send(due[0].asker, due[0].reply())
		due[0] = nil
		due = due[1:]
	}
	if len(due) == 0 {
		delete(q.due, key)
		return
	}
	q.due[key] = due
}

// reply is what the asker is told.
func (p *put) reply() *messages.PutDone {
	var errs []error
	var last error
	for i := range p.results {
		err := p.results[i].Err
		if err == nil || err == last { //nolint:errorlint // the very same value is meant
			continue // an append that failed has one error for all its records
		}
		last = err
		if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	return &messages.PutDone{Results: p.results, Err: errors.Join(errs...)}
}
