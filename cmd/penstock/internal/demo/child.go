package demo

// What the child processes of both demos have in common.

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// leaseTTL is the lease of the demo's processes: a machine that is busy for a
// moment must not lose it.
const leaseTTL = 5 * time.Second

// readyLine is a member's first line.
const readyLine = "ready"

var errParentEnded = errors.New("the demo ended")

// runChild runs what a child does in a runtime of its own.
func runChild(ctx context.Context, a *cli.App, work func(rt *penstock.Runtime) error) error {
	// Ctrl-C is for the demo, which ends its children by closing their input.
	signal.Ignore(os.Interrupt)
	ctx = context.WithoutCancel(ctx)
	rt, err := a.Start(ctx, penstock.LeaseTTL(leaseTTL))
	if err != nil {
		return err
	}
	return errors.Join(work(rt), a.Stop(ctx, rt))
}

// untilInputEnds is a context that lives as long as the demo does.
func untilInputEnds(ctx context.Context, a *cli.App) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		_, _ = io.Copy(io.Discard, a.In) // however it ends, the demo is over
		cancel(errParentEnded)
	}()
	return ctx, cancel
}
