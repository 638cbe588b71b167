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

// process is one child.
type process struct {
	group, id string
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	ready     chan error // gets one
	reported  int        // reports so far
	gone      bool       // its output has ended
}

func (m *process) name() string { return m.group + "/" + m.id }

// processes are those that report in lines, each of which parse reads.
type processes[R any] struct {
	parse   func(line string) (R, error)
	members []*process
	reports chan reported[R]
}

func newProcesses[R any](parse func(line string) (R, error)) processes[R] {
	return processes[R]{parse: parse, reports: make(chan reported[R], 4096)}
}

// reported is a line of a member; nil means that its output ended.
type reported[R any] struct {
	from *process
	line *R
	err  error
}

// add starts this program as one more member, and a reader of what it says.
func (ps *processes[R]) add(a *cli.App, group, id string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args = append(args, "--etcd", a.Etcd.Endpoints, "--etcd-timeout", "30s", "--prefix", a.Etcd.Prefix)
	for range a.Verbose {
		args = append(args, "-v")
	}
	m := &process{group: group, id: id, cmd: exec.Command(self, args...), ready: make(chan error, 1)}
	m.cmd.Stderr = a.Err
	if err := ps.begin(m); err != nil {
		return nil, fmt.Errorf("start %s: %w", m.name(), err)
	}
	return m, nil
}

func (ps *processes[R]) begin(m *process) (err error) {
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
	ps.members = append(ps.members, m)
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
				ps.reports <- reported[R]{from: m}
				return
			}
			r, err := ps.parse(line[:len(line)-1])
			ps.reports <- reported[R]{from: m, line: &r, err: err}
		}
	}()
	return nil
}

// awaitReady waits until members have said that they are.
func awaitReady(ctx context.Context, members ...*process) error {
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
func (ps *processes[R]) take(r reported[R]) (*R, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.line == nil:
		r.from.gone = true
		return nil, nil
	}
	r.from.reported++
	return r.line, nil
}

// end lets the members end in order, and gives each of their last words to
// hear.
func (ps *processes[R]) end(hear func(reported[R]) error) error {
	for _, m := range ps.members {
		m.stdin.Close()
	}
	late := time.NewTimer(cli.DrainFor)
	defer late.Stop()
	for slices.ContainsFunc(ps.members, func(m *process) bool { return !m.gone }) {
		select {
		case r := <-ps.reports:
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
func (ps *processes[R]) close() {
	for _, m := range ps.members {
		m.stdin.Close()
		_ = m.cmd.Process.Kill() // it has ended by itself, most likely
	}
	for _, m := range ps.members {
		for !m.gone {
			r := <-ps.reports
			r.from.gone = r.from.gone || r.line == nil
		}
		_ = m.cmd.Wait() // how it ended does not matter any more
	}
}

func endedEarly(m *process) error { return fmt.Errorf("%s ended in the middle", m.name()) }
