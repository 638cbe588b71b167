package demo

// The processes of the demo of topics at work, and what is waited for.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// topicsRun is the processes at work and what they have done.
type topicsRun struct {
	*demo
	rt        *penstock.Runtime
	producers processes[int]
	members   processes[handled]
	victim    *process
	mayEnd    []*process // whose end is no fault
	put       map[*process]int
	tally     *topicTally
	bar       cli.Progress
	began     time.Time
	// goal is how far the producers were told to go, allowed how far they may be.
	goal, allowed int
	looked        time.Time
}

// condition is asked now and then whether it holds.
type condition func() (bool, error)

// until keeps the books and the producers going until all conditions have held,
// one after the other.
func (s *topicsRun) until(ctx context.Context, conditions ...condition) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for len(conditions) > 0 {
		select {
		case r := <-s.members.reports:
			if err := s.hearMember(r); err != nil {
				return err
			}
		case r := <-s.producers.reports:
			if err := s.hearProducer(r); err != nil {
				return err
			}
		case <-tick.C:
			if err := s.raiseGoal(); err != nil {
				return err
			}
			held, err := conditions[0]()
			if err != nil {
				return err
			}
			if held {
				conditions = conditions[1:]
			}
		case <-ctx.Done():
			return cli.Incompletef("%d of %d records put, %d handled: %v", s.committed(), s.messages, s.tally.distinct, context.Cause(ctx))
		}
	}
	return nil
}

// raiseGoal lets the producers put a little more, where they may.
func (s *topicsRun) raiseGoal() error {
	s.bar.At(int64(s.tally.distinct))
	step := max(1, s.messages/int(pace/tickEvery))
	goal := min(s.goal+step, s.allowed)
	if goal == s.goal {
		return nil
	}
	s.goal = goal
	for _, p := range s.producers.members {
		if err := sayGoal(p.stdin, goal); err != nil {
			return fmt.Errorf("tell %s to continue: %w", p.name(), err)
		}
	}
	return nil
}

func (s *topicsRun) hearMember(r reported[handled]) error {
	h, err := s.members.take(r)
	if err != nil {
		return err
	}
	if h == nil {
		if !slices.Contains(s.mayEnd, r.from) {
			return endedEarly(r.from)
		}
		return nil
	}
	by := bySurvivor
	if r.from == s.victim {
		by = byVictim
	}
	return s.tally.add(*h, by, time.Now())
}

func (s *topicsRun) hearProducer(r reported[int]) error {
	n, err := s.producers.take(r)
	if err != nil {
		return err
	}
	if n != nil {
		s.put[r.from] = *n
		return nil
	}
	if s.goal < s.messages {
		return endedEarly(r.from)
	}
	return nil
}

// committed is how many records the producers have put, as they report.
func (s *topicsRun) committed() (n int) {
	for _, p := range s.put {
		n += p
	}
	return n
}

func isReady(m *process) condition {
	return func() (bool, error) {
		select {
		case err := <-m.ready:
			return true, err
		default:
			return false, nil
		}
	}
}

func (s *topicsRun) ended(m *process) condition {
	return func() (bool, error) { return m.gone, nil }
}

// hasPut holds when so many records were put. The last few are told when the
// producers end.
func (s *topicsRun) hasPut(n int) condition {
	if n == s.messages {
		return func() (bool, error) { return s.goal == n, nil }
	}
	return func() (bool, error) { return s.committed() >= n || s.goal == s.allowed, nil }
}

// settled holds when the group has so many members, and every partition is
// owned by one of them.
func (s *topicsRun) settled(ctx context.Context, members int) condition {
	return s.group(ctx, func(g penstock.GroupInfo) bool {
		if len(g.Members) != members {
			return false
		}
		var owners []string
		for _, p := range g.Partitions {
			if !slices.ContainsFunc(g.Members, func(m messages.GroupMember) bool { return m.ID == p.Owner }) {
				return false
			}
			if !slices.Contains(owners, p.Owner) {
				owners = append(owners, p.Owner)
			}
		}
		return len(owners) == min(members, partitionCount)
	})
}

// allHandled holds when every record was reported, or when the group has
// committed all and what is missing has had time to be reported: it is lost.
func (s *topicsRun) allHandled(ctx context.Context) condition {
	var late <-chan time.Time
	committed := s.group(ctx, func(g penstock.GroupInfo) bool { return g.Lag == 0 })
	return func() (bool, error) {
		select {
		case <-late:
			return true, nil
		default:
		}
		if s.tally.distinct == s.messages || late != nil {
			return s.tally.distinct == s.messages, nil
		}
		done, err := committed()
		if done {
			late = time.After(settleFor)
		}
		return false, err
	}
}

// group asks etcd, not too often, how the group is. That there is no such group yet
// is no error.
func (s *topicsRun) group(ctx context.Context, is func(penstock.GroupInfo) bool) condition {
	return func() (bool, error) {
		if time.Since(s.looked) < lookEvery {
			return false, nil
		}
		s.looked = time.Now()
		g, err := s.rt.DescribeConsumerGroup(ctx, topicName, topicGroup)
		if errors.Is(err, penstock.ErrNoGroup) {
			return false, nil
		}
		return err == nil && is(g), err
	}
}
