package main

// A member of the demo, in a process of its own. It reports each message on
// standard output before it acks it, so that what the killed one did is known:
// a message whose report is missing was not acked either.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
)

// demoTTL is the lease of the demo's processes: a machine that is busy for a
// moment must not lose it.
const demoTTL = 5 * time.Second

// demoReady is a member's first line.
const demoReady = "ready"

var errParentEnded = errors.New("the demo ended")

func (a *app) demoMemberCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo-member DEST GROUP ID",
		Short:   "Be a member of the demo",
		Example: "  penstock demo-member lines billing 1 --etcd 127.0.0.1:2379",
		Hidden:  true,
		Args:    between(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runDemoMember(cmd.Context(), args[0], args[1], args[2])
		},
	}
	a.etcd.add(cmd.Flags())
	return cmd
}

func (a *app) runDemoMember(ctx context.Context, dest, group, id string) error {
	ctx, cancel := a.untilInputEnds(ctx)
	defer cancel(nil)
	return a.demoPart(ctx, func(rt *penstock.Runtime) error {
		m, err := rt.Join(ctx, dest, group, penstock.MemberID(id))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.out, demoReady); err != nil {
			return err
		}
		p := pump{member: m, out: a.out, encode: func(dst []byte, d *penstock.Delivery) []byte {
			n, err := numberOf(d.Value)
			if err != nil {
				return append(dst, "a message that is none\n"...) // the parent says so
			}
			return appendReport(dst, report{n, d.Redelivered})
		}}
		_, err = p.run(ctx)
		return err
	})
}

// demoPart runs a part of a demo in a runtime of its own.
func (a *app) demoPart(ctx context.Context, part func(rt *penstock.Runtime) error) error {
	// Ctrl-C is for the demo, which ends its parts by closing their input.
	signal.Ignore(os.Interrupt)
	ctx = context.WithoutCancel(ctx)
	rt, err := a.start(ctx, penstock.LeaseTTL(demoTTL))
	if err != nil {
		return err
	}
	return errors.Join(part(rt), a.stop(ctx, rt))
}

// untilInputEnds is a context that lives as long as the demo does.
func (a *app) untilInputEnds(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		_, _ = io.Copy(io.Discard, a.in) // however it ends, the demo is over
		cancel(errParentEnded)
	}()
	return ctx, cancel
}
