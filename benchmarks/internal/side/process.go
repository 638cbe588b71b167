package side

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// A process that is asked.

type process struct {
	what string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startProcess begins an end of a system. The end of ctx ends it.
func startProcess(ctx context.Context, program, system string, r role, errs io.Writer) (*process, error) {
	p := &process{what: fmt.Sprintf("%s %s", system, r), cmd: exec.CommandContext(ctx, program, command, system, string(r))}
	p.cmd.Stderr = errs
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = grace
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// ask waits for the answer. An end of ctx leaves it behind: then the process can only be
// closed.
func (p *process) ask(ctx context.Context, c call) (answer, error) {
	var a answer
	done := make(chan error, 1)
	go func() { done <- p.exchange(c, &a) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%s: %s: %w", p.what, c.Op, context.Cause(ctx))
	}
	if err == nil {
		err = a.fault()
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w", p.what, err)
	}
	return a, nil
}

func (p *process) exchange(c call, a *answer) error {
	if err := json.NewEncoder(p.in).Encode(c); err != nil {
		return fmt.Errorf("it is gone: %w", err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it is gone: %w", err)
	}
	if err := json.Unmarshal(line, a); err != nil {
		return fmt.Errorf("it answers %.200q: %w", line, err)
	}
	return nil
}

// close has the process end, and ends it when it does not.
func (p *process) close() error {
	stuck := time.AfterFunc(grace, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	err := errors.Join(p.in.Close(), p.cmd.Wait())
	if err != nil {
		err = fmt.Errorf("%s: %w", p.what, err)
	}
	return err
}
