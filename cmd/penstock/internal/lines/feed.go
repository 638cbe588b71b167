package lines

// The way from a stream to a sender or a topic, and how it ends.

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Each gives lines to take until the input or ctx ends, or take fails, and returns
// how many were taken. Where ctx ended first it is an error of cli.Incompletef.
func Each(ctx context.Context, in *Reader, take func(line []byte) error) (taken int, err error) {
	type item struct {
		line []byte
		err  error
	}
	items := make(chan item, 256)
	go func() { // a read of standard input cannot be cancelled
		defer close(items)
		for {
			line, err := in.Next()
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
			return taken, cli.Incompletef("stopped reading after %d lines: %v", taken, context.Cause(ctx))
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
				return taken, cli.Incompletef("stopped at line %d: %v", taken+1, err)
			case err != nil:
				return taken, fmt.Errorf("line %d: %w", taken+1, err)
			}
			taken++
		}
	}
}

// Flusher is a destination or a topic.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Flush waits until what was taken has been acked or committed: after a signal for
// cli.DrainFor more, after --timeout no longer.
func Flush(ctx context.Context, f Flusher) error {
	err := f.Flush(ctx)
	for errors.Is(err, penstock.ErrNoMember) && ctx.Err() == nil {
		err = f.Flush(ctx) // what is queued ends with this process: wait for a member
	}
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), cli.ErrTimeout) {
		finishing, cancel := cli.Finishing(ctx)
		defer cancel()
		err = f.Flush(finishing)
	}
	if err != nil && ctx.Err() != nil {
		return cli.Incompletef("%v", err)
	}
	return err
}
