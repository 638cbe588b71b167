package sendq

// Waiting until what was accepted is settled.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// memberPatience is how long a Flush waits for a member of a group that has none
// linked, once all other groups have acked. A member that restarts is back by then.
const memberPatience = 10 * time.Second

// Flush waits until everything accepted before the call is settled, in every
// group it was accepted for. What was given up with a group since the flush
// before is an error, once; what was given up with the destination always is.
func (q *Queue) Flush(ctx context.Context) error {
	if err := q.Settled(ctx, memberPatience); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.losses.groups
	q.losses.groups = 0
	switch {
	case q.losses.closed > 0:
		return fmt.Errorf("flush %q: %w: %w", q.name, messages.ErrClosed, q.abandonedError(lost))
	case lost > 0:
		return fmt.Errorf("flush %q: %w", q.name, &messages.AbandonedError{Messages: lost, Where: "groups that were removed"})
	}
	return nil
}

// Settled waits until what was accepted before the call is acked or given up, or
// ctx ends. Once only groups are left that have no link and no exhausted message, it
// waits for patience at most, and returns messages.ErrNoMember; 0 is without limit.
func (q *Queue) Settled(ctx context.Context, patience time.Duration) error {
	type goal struct {
		b   *Backlog
		seq uint64
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var goals []goal
	for _, b := range q.backlogs {
		goals = append(goals, goal{b, b.accepted})
	}
	linked := func(g goal) bool { return len(g.b.links)+len(g.b.exhausted) > 0 }
	var alone *time.Timer // runs while nobody who is left has a link
	defer func() {
		if alone != nil {
			alone.Stop()
		}
	}()
	for {
		goals = slices.DeleteFunc(goals, func(g goal) bool { return g.b.done(g.seq) || !slices.Contains(q.backlogs, g.b) })
		if len(goals) == 0 {
			return nil
		}
		var over <-chan time.Time
		switch {
		case patience == 0:
		case !slices.ContainsFunc(goals, linked):
			if alone == nil {
				alone = time.NewTimer(patience)
			}
			over = alone.C
		case alone != nil:
			alone.Stop()
			alone = nil
		}
		if q.moved == nil {
			q.moved = make(chan struct{})
		}
		moved := q.moved
		q.flushing++
		q.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-over:
			err = messages.ErrNoMember
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		q.mu.Lock()
		q.flushing--
		if err != nil {
			return fmt.Errorf("flush %q: %s: %w", q.name, q.laggards(), err)
		}
	}
}

// laggards says who has not acked how much, for people.
func (q *Queue) laggards() string {
	const most = 3
	var parts []string
	more := 0
	for _, b := range q.backlogs {
		switch {
		case b.count == 0:
		case len(parts) == most:
			more++
		case len(b.links) == 0:
			parts = append(parts, fmt.Sprintf("group %q, which has no member linked, has not acked %d messages", b.Group, b.count))
		default:
			parts = append(parts, fmt.Sprintf("group %q has not acked %d messages", b.Group, b.count))
		}
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("%d more groups neither", more))
	}
	return strings.Join(parts, ", ")
}

func (q *Queue) unsettled() (n int) {
	for _, b := range q.backlogs {
		n += b.count
	}
	return n
}

// Pending is how much was accepted and is not settled, over all groups.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unsettled()
}
