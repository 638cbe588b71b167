package demo

// The members of the demo of pipes, and the books on what they report.

import (
	"context"
	"time"
)

// pipesRun is the members at work and what they have done.
type pipesRun struct {
	processes[report]
	tallies map[string]*tally
	began   time.Time
}

// startMembers starts the members and waits until all of them have joined. What it
// returns is to be closed, also on an error.
func (c *demo) startMembers(ctx context.Context) (*pipesRun, error) {
	s := &pipesRun{processes: newProcesses(parseReport), tallies: make(map[string]*tally)}
	for _, g := range groupNames {
		s.tallies[g] = newTally(c.messages)
		for _, id := range memberIDs {
			if _, err := s.add(c.App, g, id, "demo-member", destName, g, id); err != nil {
				return s, err
			}
		}
	}
	if err := awaitReady(ctx, s.members...); err != nil {
		return s, err
	}
	for _, m := range s.members {
		c.Say("member      %s (pid %d)", m.name(), m.cmd.Process.Pid)
	}
	return s, nil
}

// hear enters one report.
func (s *pipesRun) hear(r reported[report]) error {
	line, err := s.take(r)
	if err != nil || line == nil {
		return err
	}
	return s.tallies[r.from.group].add(*line, time.Now())
}

// reportedAll reports whether every group has had every message.
func (s *pipesRun) reportedAll(messages int) bool {
	for _, t := range s.tallies {
		if t.distinct < messages {
			return false
		}
	}
	return true
}

// handled is the progress over all groups.
func (s *pipesRun) handled() (n int) {
	for _, t := range s.tallies {
		n += t.distinct
	}
	return n
}

// results fills res in and returns it.
func (s *pipesRun) results(sent int, res *Result) *Result {
	res.Sent = sent
	for g, t := range s.tallies {
		res.Groups[g] = t.result(sent, s.began)
	}
	return res
}

// over lets the members leave, in order, and counts their last words.
func (s *pipesRun) over(res *Result) error {
	if err := s.end(s.hear); err != nil {
		return err
	}
	s.results(res.Sent, res)
	return nil
}
