package pipes

// What became of the messages of a send.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// outcome is what became of the messages of a send. Groups differ: each number is
// that of the group that had most of it.
type outcome struct {
	sent             int // accepted
	unacked          int // not acked in time
	dropped, givenUp int // by a group's policy; with a group that was removed, or a sender that was replaced
}

// acked is how many messages every group acked, at least.
func (o outcome) acked() int { return max(0, o.sent-o.unacked-o.dropped-o.givenUp) }

func (o outcome) String() string {
	s := fmt.Sprintf("sent %d acked %d", o.sent, o.acked())
	if o.dropped > 0 {
		s += fmt.Sprintf(" dropped %d", o.dropped)
	}
	if o.givenUp > 0 {
		s += fmt.Sprintf(" given up %d", o.givenUp)
	}
	return s
}

// err is what an outcome adds to the error with which the sending ended. What is
// lost is a failure; what may yet have been acked is incomplete.
func (o outcome) err(ended error) error {
	var errs []error
	if o.dropped > 0 {
		errs = append(errs, fmt.Errorf("%d messages were dropped by a full group: %w", o.dropped, cli.ErrLost))
	}
	if o.givenUp > 0 {
		errs = append(errs, fmt.Errorf("%d messages were given up: their group or their sender is gone: %w", o.givenUp, cli.ErrLost))
	}
	if o.unacked > 0 && cli.CodeOf(ended) != cli.ExitIncomplete {
		errs = append(errs, cli.Incompletef("%d messages were not acked by every group", o.unacked))
	}
	return errors.Join(errs...)
}

// losses counts what groups lost: dropped by their policy, or given up with a
// group or the sender.
type losses struct{ dropped, givenUp perGroup }

// perGroup is a number for each group. It is safe for concurrent use.
type perGroup struct {
	mu    sync.Mutex
	group map[string]int
}

// watchLosses follows the events of a destination until rt stops, and says what
// holds up a Send.
func watchLosses(a *cli.App, rt *penstock.Runtime, dest string) *losses {
	l := &losses{}
	events := rt.Events(context.Background())
	go func() {
		for e := range events {
			if e, ok := e.(messages.SendBlocked); ok && e.Destination == dest {
				a.Say("waiting: %s", waitingFor(e))
			}
			l.hear(e)
		}
	}()
	return l
}

// hear takes one event. A process that sends has one destination.
func (l *losses) hear(e penstock.Event) {
	switch e := e.(type) {
	case messages.MessagesDropped:
		l.dropped.add(e.Group, e.Count)
	case messages.GroupRemoved:
		l.givenUp.add(e.Group, e.Unsent)
	}
}

func waitingFor(e messages.SendBlocked) string {
	switch {
	case len(e.Missing) > 0:
		return fmt.Sprintf("groups of %s that it requires are missing: %s", e.Destination, strings.Join(e.Missing, ", "))
	case e.Group == "":
		return fmt.Sprintf("no group of %s has joined yet", e.Destination)
	}
	return fmt.Sprintf("group %s of %s is full", e.Group, e.Destination)
}

func (p *perGroup) add(group string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group == nil {
		p.group = make(map[string]int)
	}
	p.group[group] += n
}

// most is the number of the group that has most.
func (p *perGroup) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	for _, n := range p.group {
		most = max(most, n)
	}
	return most
}
