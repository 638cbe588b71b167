package demo

// The processes of a demo, seen from the one that started them.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// castMember is one process.
type castMember struct {
	group, id string
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	ready     chan error // gets one
	own       int        // reports so far
	gone      bool       // its output has ended
}

func (m *castMember) name() string { return m.group + "/" + m.id }

// crew is processes that report in lines, each of which parse reads.
type crew[R any] struct {
	parse   func(line string) (R, error)
	members []*castMember
	reports chan reported[R]
}

func newCrew[R any](parse func(line string) (R, error)) crew[R] {
	return crew[R]{parse: parse, reports: make(chan reported[R], 4096)}
}

// reported is a line of a member; nil means that its output ended.
type reported[R any] struct {
	from *castMember
	line *R
	err  error
}

// add starts this program as one more member, and a reader of what it says.
func (c *crew[R]) add(a *cli.App, group, id string, args ...string) (*castMember, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args = append(args, "--etcd", a.Etcd.Endpoints, "--etcd-timeout", "30s", "--prefix", a.Etcd.Prefix)
	for range a.Verbose {
		args = append(args, "-v")
	}
	m := &castMember{group: group, id: id, cmd: exec.Command(self, args...), ready: make(chan error, 1)}
	m.cmd.Stderr = a.Err
	if err := c.begin(m); err != nil {
		return nil, fmt.Errorf("start %s: %w", m.name(), err)
	}
	return m, nil
}

func (c *crew[R]) begin(m *castMember) (err error) {
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	c.members = append(c.members, m)
	go func() {
		in := bufio.NewReaderSize(stdout, 64<<10)
		if first, err := in.ReadString('\n'); err != nil || first != readyLine+"\n" {
			m.ready <- fmt.Errorf("%s ended before it was ready", m.name())
		} else {
			m.ready <- nil
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				// What a killed member had half written it had not finished.
				c.reports <- reported[R]{from: m}
				return
			}
			r, err := c.parse(line[:len(line)-1])
			c.reports <- reported[R]{from: m, line: &r, err: err}
		}
	}()
	return nil
}

// awaitReady waits until members have said that they are.
func awaitReady(ctx context.Context, members ...*castMember) error {
	for _, m := range members {
		select {
		case err := <-m.ready:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return cli.Incompletef("%s was not ready: %v", m.name(), context.Cause(ctx))
		}
	}
	return nil
}

// take enters one report in the books of its member, and returns it; nil when
// the member's output has ended.
func (c *crew[R]) take(r reported[R]) (*R, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.line == nil:
		r.from.gone = true
		return nil, nil
	}
	r.from.own++
	return r.line, nil
}

// end lets the members end in order, and gives each of their last words to
// hear.
func (c *crew[R]) end(hear func(reported[R]) error) error {
	for _, m := range c.members {
		m.stdin.Close()
	}
	late := time.NewTimer(cli.DrainFor)
	defer late.Stop()
	for slices.ContainsFunc(c.members, func(m *castMember) bool { return !m.gone }) {
		select {
		case r := <-c.reports:
			if err := hear(r); err != nil {
				return err
			}
		case <-late.C:
			return cli.Incompletef("a member does not end")
		}
	}
	return nil
}

// close ends the processes that still run, at once.
func (c *crew[R]) close() {
	for _, m := range c.members {
		m.stdin.Close()
		_ = m.cmd.Process.Kill() // it has ended by itself, most likely
	}
	for _, m := range c.members {
		for !m.gone {
			r := <-c.reports
			r.from.gone = r.from.gone || r.line == nil
		}
		_ = m.cmd.Wait() // how it ended does not matter any more
	}
}

func endedEarly(m *castMember) error { return fmt.Errorf("%s ended in the middle", m.name()) }
