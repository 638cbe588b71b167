package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// A log in another process: what it is asked goes to its standard input, what
// it answers comes from its standard output, one JSON object a line each. So
// it can stay out of this module and still take turns with ours.

// call is what is asked.
type call struct {
	Op    operation `json:"op"`
	Size  int       `json:"size,omitempty"`
	Count uint64    `json:"count,omitempty"`
}

type operation string

const (
	put     operation = "put"
	consume operation = "consume"
)

// answer is a timing, or why there is none.
type answer struct {
	Timing
	Error string `json:"error,omitempty"`
}

// Serve answers calls until in ends, or ctx does between two of them.
func Serve(ctx context.Context, in io.Reader, out io.Writer, log Log) error {
	calls, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var c call
		if err := calls.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what to measure: %w", err)
		}
		var a answer
		err := context.Cause(ctx)
		if err == nil {
			a.Timing, err = perform(ctx, log, c)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("tell a result: %w", err)
		}
	}
}

func perform(ctx context.Context, log Log, c call) (Timing, error) {
	switch c.Op {
	case put:
		return log.Put(ctx, c.Size, c.Count)
	case consume:
		return log.Consume(ctx)
	default:
		return Timing{}, fmt.Errorf("operation %q: there are %q and %q", c.Op, put, consume)
	}
}

type remote struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Remote runs a program that serves a log. The end of ctx kills it. errs gets
// what it says on standard error.
func Remote(ctx context.Context, program string, errs io.Writer) (Log, error) {
	r := &remote{cmd: exec.CommandContext(ctx, program)}
	r.cmd.Stderr = errs
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(out)
	return r, r.cmd.Start()
}

func (r *remote) Put(ctx context.Context, size int, count uint64) (Timing, error) {
	return r.ask(ctx, call{Op: put, Size: size, Count: count})
}

func (r *remote) Consume(ctx context.Context) (Timing, error) {
	return r.ask(ctx, call{Op: consume})
}

func (r *remote) ask(ctx context.Context, c call) (Timing, error) {
	if err := json.NewEncoder(r.in).Encode(c); err != nil {
		return Timing{}, fmt.Errorf("the peer is gone: %w", err)
	}
	var a answer
	line, err := r.out.ReadBytes('\n')
	if err != nil {
		return Timing{}, errors.Join(fmt.Errorf("the peer is gone: %w", err), context.Cause(ctx))
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return Timing{}, fmt.Errorf("the peer answers %q: %w", line, err)
	}
	if a.Error != "" {
		return Timing{}, fmt.Errorf("the peer: %s", a.Error)
	}
	return a.Timing, nil
}

func (r *remote) Close() error {
	err := r.in.Close()
	return errors.Join(err, r.cmd.Wait())
}
