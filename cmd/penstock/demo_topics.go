package main

// The promise of topics, shown: producers and a group at work while members
// join, leave and die; nothing is lost, and only what the dead one had not
// committed is handled twice.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

const (
	demoTopic      = "lines"
	demoGroup      = "readers"
	demoPartitions = 4
	demoProducers  = 2
	// demoPace is how long the producers take for everything, did they not have
	// to wait for the group: so that they are at work when members come and go.
	demoPace = 4 * time.Second
	demoTick = 20 * time.Millisecond
	// demoLook is how often etcd is asked how the group is.
	demoLook = 100 * time.Millisecond
)

// topicStage is the processes at work and the books.
type topicStage struct {
	*demo
	rt        *penstock.Runtime
	producers crew[int]
	members   crew[handled]
	victim    *castMember
	dismissed []*castMember // may end
	put       map[*castMember]int
	tally     *topicTally
	bar       progress
	began     time.Time
	// goal is how far the producers were told to go, allowed how far they may be.
	goal, allowed int
	looked        time.Time
}

func (c *demo) runTopics(ctx context.Context, rt *penstock.Runtime, file string) error {
	working, cancel := c.working(ctx)
	defer cancel()
	t, err := rt.CreateTopic(working, demoTopic, penstock.TopicConfig{Partitions: demoPartitions})
	if err != nil {
		return err
	}
	c.say("topic       %s of %d partitions", t.Name(), demoPartitions)
	s := &topicStage{
		demo: c, rt: rt, producers: newCrew(parseCount), members: newCrew(parseHandled),
		put: make(map[*castMember]int), tally: newTopicTally(c.messages),
	}
	defer s.members.close()
	defer s.producers.close()
	res := &topicResult{}
	s.bar = c.progress(int64(c.messages), "handled")
	err = s.play(working, file, res)
	s.bar.stop()
	if err != nil {
		return err
	}
	if !c.keep {
		// Whatever a member still had to say is counted.
		s.dismissed = s.members.members
		if err := s.members.end(s.hearMember); err != nil {
			return err
		}
	}
	res.Put = s.committed()
	res.fill(s.tally, s.began)
	d, err := rt.DescribeTopic(working, demoTopic)
	if err != nil {
		return err
	}
	res.Stored = viewDescription(d).Records
	if err := c.showTopics(res); err != nil {
		return err
	}
	if c.keep {
		c.kept(ctx, "topic describe "+demoTopic)
	}
	return res.verdict(c.messages)
}

func (c *demo) showTopics(res *topicResult) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(res)
	}
	_, err := fmt.Fprintf(c.out, "%-8s %s\n", demoGroup, res)
	return err
}

// play is the piece: two members and the producers at work, a third member, the
// first one leaves, the second one dies.
func (s *topicStage) play(ctx context.Context, file string, res *topicResult) error {
	all := s.messages
	first, err := s.join(ctx, "1")
	if err != nil {
		return err
	}
	if s.victim, err = s.join(ctx, "2"); err != nil {
		return err
	}
	if err := s.until(ctx, s.settled(ctx, 2)); err != nil {
		return err
	}
	if err := s.produce(ctx, file); err != nil {
		return err
	}
	s.began = time.Now()
	s.allowed = all / 4
	if err := s.until(ctx, s.hasPut(all/8)); err != nil {
		return err
	}

	s.allowed = all / 2
	if _, err := s.join(ctx, "3"); err != nil {
		return err
	}
	if err := s.until(ctx, s.settled(ctx, 3), s.hasPut(all*3/8)); err != nil {
		return err
	}

	s.allowed = all * 3 / 4
	s.act("member %s leaves after %d records", first.name(), first.own)
	s.dismissed = append(s.dismissed, first)
	first.stdin.Close()
	if err := s.until(ctx, s.settled(ctx, 2), s.hasPut(all*5/8)); err != nil {
		return err
	}

	g, err := s.rt.DescribeGroup(ctx, demoTopic, demoGroup)
	if err != nil {
		return err
	}
	for _, p := range g.Partitions {
		s.tally.floor = append(s.tally.floor, p.Committed)
	}
	s.dismissed = append(s.dismissed, s.victim)
	if err := s.victim.cmd.Process.Kill(); err != nil {
		return err
	}
	s.allowed = all
	if err := s.until(ctx, s.ended(s.victim)); err != nil {
		return err
	}
	res.Killed = killed{s.victim.name(), s.victim.cmd.Process.Pid, s.victim.own}
	s.act("%s", res.Killed)
	if err := s.until(ctx, s.hasPut(all), s.settled(ctx, 1)); err != nil {
		return err
	}
	if err := s.producers.end(s.hearProducer); err != nil {
		return err
	}
	return s.until(ctx, s.allHandled(ctx))
}

// act tells what happens next.
func (s *topicStage) act(format string, args ...any) {
	s.bar.stop()
	s.tell(format, args...)
}

// join starts a member and waits until it has joined.
func (s *topicStage) join(ctx context.Context, id string) (*castMember, error) {
	m, err := s.members.add(s.app, demoGroup, id, "demo-consumer", demoTopic, demoGroup)
	if err != nil {
		return nil, err
	}
	if err := s.until(ctx, isReady(m)); err != nil {
		return nil, err
	}
	s.act("member %s joined (pid %d)", m.name(), m.cmd.Process.Pid)
	return m, nil
}

// produce starts the producers and waits until they can put.
func (s *topicStage) produce(ctx context.Context, file string) error {
	for i := range demoProducers {
		args := []string{"demo-producer", demoTopic, strconv.Itoa(i), strconv.Itoa(demoProducers)}
		if file != "" {
			args = append(args, file)
		}
		m, err := s.producers.add(s.app, "producer", strconv.Itoa(i+1), args...)
		if err != nil {
			return err
		}
		if err := s.until(ctx, isReady(m)); err != nil {
			return err
		}
		s.say("producer    %s (pid %d)", m.name(), m.cmd.Process.Pid)
	}
	return nil
}

// condition is asked now and then whether it holds.
type condition func() (bool, error)

// until keeps the books and the producers going until all conditions have held,
// one after the other.
func (s *topicStage) until(ctx context.Context, conditions ...condition) error {
	tick := time.NewTicker(demoTick)
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
			if err := s.goOn(); err != nil {
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
			return incompletef("%d of %d records put, %d handled: %v", s.committed(), s.messages, s.tally.distinct, context.Cause(ctx))
		}
	}
	return nil
}

// goOn lets the producers put a little more, where they may.
func (s *topicStage) goOn() error {
	s.bar.at(int64(s.tally.distinct))
	step := max(1, s.messages/int(demoPace/demoTick))
	goal := min(s.goal+step, s.allowed)
	if goal == s.goal {
		return nil
	}
	s.goal = goal
	for _, p := range s.producers.members {
		if err := sayGoal(p.stdin, goal); err != nil {
			return fmt.Errorf("tell %s to go on: %w", p.name(), err)
		}
	}
	return nil
}

func (s *topicStage) hearMember(r reported[handled]) error {
	h, err := s.members.take(r)
	if err != nil {
		return err
	}
	if h == nil {
		if !slices.Contains(s.dismissed, r.from) {
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

func (s *topicStage) hearProducer(r reported[int]) error {
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

func endedEarly(m *castMember) error { return fmt.Errorf("%s ended in the middle", m.name()) }

// committed is how many records the producers have put, as they tell.
func (s *topicStage) committed() (n int) {
	for _, p := range s.put {
		n += p
	}
	return n
}

func isReady(m *castMember) condition {
	return func() (bool, error) {
		select {
		case err := <-m.ready:
			return true, err
		default:
			return false, nil
		}
	}
}

func (s *topicStage) ended(m *castMember) condition {
	return func() (bool, error) { return m.gone, nil }
}

// hasPut holds when so many records were put. The last few are told when the
// producers end.
func (s *topicStage) hasPut(n int) condition {
	if n == s.messages {
		return func() (bool, error) { return s.goal == n, nil }
	}
	return func() (bool, error) { return s.committed() >= n || s.goal == s.allowed, nil }
}

// settled holds when the group has so many members, and every partition is
// owned by one of them.
func (s *topicStage) settled(ctx context.Context, members int) condition {
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
		return len(owners) == min(members, demoPartitions)
	})
}

// allHandled holds when every record was reported, or when the group has
// committed all and what is missing has had time to be reported: it is lost.
func (s *topicStage) allHandled(ctx context.Context) condition {
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

// group asks etcd, not too often, how the group is. A group that is not there
// yet is no error.
func (s *topicStage) group(ctx context.Context, is func(penstock.GroupInfo) bool) condition {
	return func() (bool, error) {
		if time.Since(s.looked) < demoLook {
			return false, nil
		}
		s.looked = time.Now()
		g, err := s.rt.DescribeGroup(ctx, demoTopic, demoGroup)
		if errors.Is(err, penstock.ErrNoGroup) {
			return false, nil
		}
		return err == nil && is(g), err
	}
}
