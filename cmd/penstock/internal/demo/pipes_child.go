package demo

// A member of the demo of pipes, in a process of its own. It reports each message
// on standard output before it acks it, so that what the killed one did is known:
// a message whose report is missing was not acked either.

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

// Member returns the hidden command demo-member.
func Member(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo-member DEST GROUP ID",
		Short:   "Be a member of the demo",
		Example: "  penstock demo-member lines billing 1 --etcd 127.0.0.1:2379",
		Hidden:  true,
		Args:    cli.Between(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMember(cmd.Context(), a, args[0], args[1], args[2])
		},
	}
	a.Etcd.Add(cmd.Flags())
	return cmd
}

func runMember(ctx context.Context, a *cli.App, dest, group, id string) error {
	ctx, cancel := untilInputEnds(ctx, a)
	defer cancel(nil)
	return runChild(ctx, a, func(rt *penstock.Runtime) error {
		m, err := rt.Join(ctx, dest, group, penstock.MemberID(id))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.Out, readyLine); err != nil {
			return err
		}
		p := lines.Pump{Member: m, Out: a.Out, Encode: func(dst []byte, d *penstock.Delivery) []byte {
			n, err := numberOf(d.Value)
			if err != nil {
				return append(dst, "a message that is none\n"...) // the parent says so
			}
			return appendReport(dst, report{n, d.Redelivered})
		}}
		_, err = p.Run(ctx)
		return err
	})
}
