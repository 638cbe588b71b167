package demo

// The promise of topics, shown: producers and a group at work while members
// join, leave and die; nothing is lost, and only what the dead one had not
// committed is handled twice.

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/penstock-io/penstock"
)

const (
	topicName      = "lines"
	topicGroup     = "readers"
	partitionCount = 4
	producerCount  = 2
	// pace is how long the producers take for everything where they need not wait
	// for the group: so that they are at work when members come and go.
	pace      = 4 * time.Second
	tickEvery = 20 * time.Millisecond
	// lookEvery is how often etcd is asked how the group is.
	lookEvery = 100 * time.Millisecond
)

func (c *demo) runTopics(ctx context.Context, rt *penstock.Runtime, file string) error {
	working, cancel := c.working(ctx)
	defer cancel()
	t, err := rt.CreateTopic(working, topicName, penstock.TopicConfig{Partitions: partitionCount})
	if err != nil {
		return err
	}
	c.Say("topic       %s of %d partitions", t.Name(), partitionCount)
	s := &topicsRun{
		demo: c, rt: rt, producers: newProcesses(parseCount), members: newProcesses(parseHandled),
		put: make(map[*process]int), tally: newTopicTally(c.messages),
	}
	defer s.members.close()
	defer s.producers.close()
	res := &TopicResult{}
	s.bar = c.Progress(int64(c.messages), "handled")
	err = s.scenario(working, file, res)
	s.bar.Stop()
	if err != nil {
		return err
	}
	if !c.keep {
		// Whatever a member still had to say is counted.
		s.mayEnd = s.members.members
		if err := s.members.end(s.hearMember); err != nil {
			return err
		}
	}
	res.Put = s.committed()
	res.fill(s.tally, s.began)
	d, err := rt.DescribeTopic(working, topicName)
	if err != nil {
		return err
	}
	for _, p := range d.Partitions {
		res.Stored += p.End - p.Start
	}
	if err := c.showTopics(res); err != nil {
		return err
	}
	if c.keep {
		c.kept(ctx, "topic describe "+topicName)
	}
	return res.Verdict(c.messages)
}

func (c *demo) showTopics(res *TopicResult) error {
	if c.json {
		return json.NewEncoder(c.Out).Encode(res)
	}
	_, err := fmt.Fprintf(c.Out, "%-8s %s\n", topicGroup, res)
	return err
}

// scenario is: two members and the producers at work, a third member, the
// first one leaves, the second one dies.
func (s *topicsRun) scenario(ctx context.Context, file string, res *TopicResult) error {
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
	s.announce("member %s leaves after %d records", first.name(), first.reported)
	s.mayEnd = append(s.mayEnd, first)
	first.stdin.Close()
	if err := s.until(ctx, s.settled(ctx, 2), s.hasPut(all*5/8)); err != nil {
		return err
	}

	g, err := s.rt.DescribeConsumerGroup(ctx, topicName, topicGroup)
	if err != nil {
		return err
	}
	for _, p := range g.Partitions {
		s.tally.floor = append(s.tally.floor, p.Committed)
	}
	s.mayEnd = append(s.mayEnd, s.victim)
	if err := s.victim.cmd.Process.Kill(); err != nil {
		return err
	}
	s.allowed = all
	if err := s.until(ctx, s.ended(s.victim)); err != nil {
		return err
	}
	res.Killed = Killed{s.victim.name(), s.victim.cmd.Process.Pid, s.victim.reported}
	s.announce("%s", res.Killed)
	if err := s.until(ctx, s.hasPut(all), s.settled(ctx, 1)); err != nil {
		return err
	}
	if err := s.producers.end(s.hearProducer); err != nil {
		return err
	}
	return s.until(ctx, s.allHandled(ctx))
}

// announce says what happens next.
func (s *topicsRun) announce(format string, args ...any) {
	s.bar.Stop()
	s.step(format, args...)
}

// join starts a member and waits until it has joined.
func (s *topicsRun) join(ctx context.Context, id string) (*process, error) {
	m, err := s.members.add(s.App, topicGroup, id, "demo-consumer", topicName, topicGroup)
	if err != nil {
		return nil, err
	}
	if err := s.until(ctx, isReady(m)); err != nil {
		return nil, err
	}
	s.announce("member %s joined (pid %d)", m.name(), m.cmd.Process.Pid)
	return m, nil
}

// produce starts the producers and waits until they can put.
func (s *topicsRun) produce(ctx context.Context, file string) error {
	for i := range producerCount {
		args := []string{"demo-producer", topicName, strconv.Itoa(i), strconv.Itoa(producerCount)}
		if file != "" {
			args = append(args, file)
		}
		m, err := s.producers.add(s.App, "producer", strconv.Itoa(i+1), args...)
		if err != nil {
			return err
		}
		if err := s.until(ctx, isReady(m)); err != nil {
			return err
		}
		s.Say("producer    %s (pid %d)", m.name(), m.cmd.Process.Pid)
	}
	return nil
}
