package demo

// What the demo of pipes sends, and when it kills.

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/penstock-io/penstock"
)

// sender is what sends in the demo of pipes.
type sender struct {
	dest     *penstock.Destination
	lines    []string
	messages int
	victim   *os.Process
	started  chan struct{} // to be closed when the victim is at work
	killing  chan struct{} // closed just before the kill
	sent     atomic.Int64
	over     chan struct{} // closed at the end, after err is set
	err      error
}

func newSender(d *penstock.Destination, lines []string, messages int, victim *os.Process) *sender {
	return &sender{
		dest: d, lines: lines, messages: messages, victim: victim,
		started: make(chan struct{}), killing: make(chan struct{}), over: make(chan struct{}),
	}
}

// run sends everything, kills the victim on the way, and waits for the acks.
func (s *sender) run(ctx context.Context) {
	defer close(s.over)
	for n := range s.messages {
		if n == pauseAt(s.messages) {
			select {
			case <-s.started:
			case <-ctx.Done():
			}
		}
		if n == killAt(s.messages) {
			close(s.killing)
			if s.err = s.victim.Kill(); s.err != nil {
				return
			}
		}
		if s.err = s.dest.Send(ctx, penstock.Message{Value: numbered(s.lines, n)}); s.err != nil {
			return
		}
		s.sent.Add(1)
	}
	s.err = s.dest.Flush(ctx)
}

func (s *sender) hasKilled() bool {
	select {
	case <-s.killing:
		return true
	default:
		return false
	}
}
