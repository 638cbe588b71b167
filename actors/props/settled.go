package props

// What becomes of the messages of one Publish that asks to be told.

import (
	"errors"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

// mostCauses is how many different causes one *messages.Settled has; of more, the first.
const mostCauses = 8

// settling outlives the actor that accepts: what it accepted is settled, whoever is there.
// It is safe for concurrent use.
type settling struct {
	mu     sync.Mutex
	known  bool // count is
	told   bool // who asked
	count  int  // accepted
	over   int  // of them, settled
	acked  int  // of them, by every group
	causes []error
}

// settled notes what became of one message, and replies when that was the last.
func (s *settling) settled(system *actor.ActorSystem, asker *actor.PID, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over++
	switch {
	case cause == nil:
		s.acked++
	case len(s.causes) < mostCauses && !slices.ContainsFunc(s.causes, func(e error) bool { return e.Error() == cause.Error() }):
		s.causes = append(s.causes, cause)
	}
	s.reply(system, asker)
}

// accepted notes that no more are accepted than count. A nil settling has nobody to tell.
func (s *settling) accepted(system *actor.ActorSystem, asker *actor.PID, count int) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.count = true, count
	s.reply(system, asker)
}

// reply tells who asked, once. A middleware that panicked over a message may have passed it
// on before: that is settled, and not counted as accepted. mu is held.
func (s *settling) reply(system *actor.ActorSystem, asker *actor.PID) {
	if !s.known || s.told || s.over < s.count {
		return
	}
	s.told = true
	system.Root.Send(asker, &messages.Settled{Acked: min(s.acked, s.count), Err: errors.Join(s.causes...)})
}
