package main

// The members of the demo, seen from the process that started them.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// stage is the members at work and the books on what they report.
type stage struct {
	members []*demoMember
	reports chan reported
	tallies map[string]*tally
	began   time.Time
}

// demoMember is one process.
type demoMember struct {
	group, id string
	cmd       *exec.Cmd
	stdin     io.Closer
	own       int  // reports so far
	gone      bool // its output has ended
}

func (m *demoMember) name() string { return m.group + "/" + m.id }

// reported is a line of a member; nil means that its output ended.
type reported struct {
	from *demoMember
	line *report
	err  error
}

// cast starts the members and waits until all of them have joined. The stage it
// answers is to be closed, also on an error.
func (c *demo) cast(ctx context.Context, endpoint string) (*stage, error) {
	s := &stage{reports: make(chan reported, 4096), tallies: make(map[string]*tally)}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	ready := make(chan error, len(demoGroups)*len(demoMembers))
	for _, g := range demoGroups {
		s.tallies[g] = newTally(c.messages)
		for _, id := range demoMembers {
			args := []string{"demo-member", demoDest, g, id, "--etcd", endpoint, "--etcd-timeout", "30s", "--prefix", "/penstock"}
			for range c.verbose {
				args = append(args, "-v")
			}
			m := &demoMember{group: g, id: id, cmd: exec.Command(self, args...)}
			m.cmd.Stderr = c.err
			if err := s.begin(m, ready); err != nil {
				return s, fmt.Errorf("start member %s: %w", m.name(), err)
			}
		}
	}
	for range s.members {
		select {
		case err := <-ready:
			if err != nil {
				return s, err
			}
		case <-ctx.Done():
			return s, incompletef("the members were not ready: %v", context.Cause(ctx))
		}
	}
	for _, m := range s.members {
		c.say("member      %s (pid %d)", m.name(), m.cmd.Process.Pid)
	}
	return s, nil
}

// begin starts one member and a reader of what it says.
func (s *stage) begin(m *demoMember, ready chan<- error) error {
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	m.stdin = stdin
	s.members = append(s.members, m)
	go func() {
		in := bufio.NewReaderSize(stdout, 64<<10)
		if first, err := in.ReadString('\n'); err != nil || first != demoReady+"\n" {
			ready <- fmt.Errorf("member %s ended before it was ready", m.name())
		} else {
			ready <- nil
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				// What a killed member had half written it had not acked.
				s.reports <- reported{from: m}
				return
			}
			r, err := parseReport(line[:len(line)-1])
			s.reports <- reported{from: m, line: &r, err: err}
		}
	}()
	return nil
}

// close ends the processes that still run, at once.
func (s *stage) close() {
	for _, m := range s.members {
		m.stdin.Close()
		_ = m.cmd.Process.Kill() // it has ended by itself, most likely
	}
	for _, m := range s.members {
		for !m.gone {
			r := <-s.reports
			r.from.gone = r.from.gone || r.line == nil
		}
		_ = m.cmd.Wait() // how it ended does not matter any more
	}
}

// take enters one report.
func (s *stage) take(r reported) error {
	switch {
	case r.err != nil:
		return r.err
	case r.line == nil:
		r.from.gone = true
		return nil
	}
	r.from.own++
	return s.tallies[r.from.group].add(*r.line, time.Now())
}

// reportedAll tells whether every group has had every message.
func (s *stage) reportedAll(messages int) bool {
	for _, t := range s.tallies {
		if t.distinct < messages {
			return false
		}
	}
	return true
}

// handled is the progress over all groups.
func (s *stage) handled() (n int) {
	for _, t := range s.tallies {
		n += t.distinct
	}
	return n
}

// results fills res in and answers it.
func (s *stage) results(sent int, res *result) *result {
	res.Sent = sent
	for g, t := range s.tallies {
		res.Groups[g] = t.result(sent, s.began)
	}
	return res
}

// end lets the members leave, in order, and counts their last words.
func (s *stage) end(res *result) error {
	for _, m := range s.members {
		m.stdin.Close()
	}
	late := time.NewTimer(drainFor)
	defer late.Stop()
	for slices.ContainsFunc(s.members, func(m *demoMember) bool { return !m.gone }) {
		select {
		case r := <-s.reports:
			if err := s.take(r); err != nil {
				return err
			}
		case <-late.C:
			return incompletef("a member does not end")
		}
	}
	s.results(res.Sent, res)
	return nil
}
