package main

// The way from a stream to a sender or a topic, and how it ends.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/penstock-io/penstock"
)

// fileOf is the second argument, a file; standard input without one.
func fileOf(args []string) string {
	if len(args) < 2 {
		return "-"
	}
	return args[1]
}

// open opens a file to be read; "-" is standard input.
func (a *app) open(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(a.in), nil
	}
	return os.Open(file)
}

// errTimeout is the cause of a context that --timeout ended.
var errTimeout = incompletef("time ran out")

// limited ends ctx after a timeout; 0 does not.
func limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}

// eachLine gives lines to take until the input or ctx ends, or take fails, and
// answers how many were taken.
func eachLine(ctx context.Context, in *lineReader, take func(line []byte) error) (taken int, err error) {
	type item struct {
		line []byte
		err  error
	}
	items := make(chan item, 256)
	go func() { // a read of standard input cannot be cancelled
		defer close(items)
		for {
			line, err := in.next()
			if errors.Is(err, io.EOF) {
				return
			}
			select {
			case items <- item{line, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return taken, incompletef("stopped reading after %d lines: %v", taken, context.Cause(ctx))
		case i, ok := <-items:
			if !ok && ctx.Err() == nil {
				return taken, nil
			}
			if !ok {
				continue
			}
			if i.err != nil {
				return taken, i.err
			}
			err := take(i.line)
			switch {
			case err != nil && ctx.Err() != nil:
				return taken, incompletef("stopped at line %d: %v", taken+1, err)
			case err != nil:
				return taken, fmt.Errorf("line %d: %w", taken+1, err)
			}
			taken++
		}
	}
}

// flusher is a destination or a topic.
type flusher interface {
	Flush(ctx context.Context) error
}

// flush waits for the end of what was taken; after a signal a little longer,
// after --timeout not.
func flush(ctx context.Context, f flusher) error {
	err := f.Flush(ctx)
	for errors.Is(err, penstock.ErrNoMember) && ctx.Err() == nil {
		err = f.Flush(ctx) // what is queued ends with this process: wait for a member
	}
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout) {
		finishing, cancel := finishing(ctx)
		defer cancel()
		err = f.Flush(finishing)
	}
	if err != nil && ctx.Err() != nil {
		return incompletef("%v", err)
	}
	return err
}
