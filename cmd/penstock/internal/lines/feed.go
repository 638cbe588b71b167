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

// eachLine gives lines to take until the input or ctx ends, or take fails, and
// answers how many were taken.
func Each(ctx context.Context, in *lineReader, take func(line []byte) error) (taken int, err error) {
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

// flusher is a destination or a topic.
type flusher interface {
	Flush(ctx context.Context) error
}

// Flush waits for the end of what was taken; after a signal a little longer,
// after --timeout not.
func Flush(ctx context.Context, f flusher) error {
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
