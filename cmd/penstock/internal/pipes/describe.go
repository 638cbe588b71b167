package pipes

// What etcd has of one destination.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages/keys"
)

type describe struct {
	*cli.App
	json bool
}

// Describe returns the command describe.
func Describe(a *cli.App) *cobra.Command {
	c := describe{App: a}
	cmd := &cobra.Command{
		Use:   "describe DEST",
		Short: "Show a destination's senders, groups and members",
		Long: `Describe shows the destination DEST as of one revision of etcd: who sends, where
and since when, the settings of each group, and its members. For a group without
members it says until when etcd keeps it, if that is not forever.

A process that died is shown until its lease ends. A destination that nothing stands
for is refused, with code 1.`,
		Example: `  penstock describe orders
  penstock describe orders --json | jq -r '.groups[].members[].host'`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeDestination(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *describe) run(ctx context.Context, dest string) error {
	if err := keys.ValidateName("destination", dest); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeDestination(ctx, dest)
		if err != nil {
			return err
		}
		if d.Err != nil {
			c.Say("warning: %s", cli.Clean(d.Err.Error()))
		}
		v := inventory.DestinationOf(d)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		return v.Print(c.Out)
	})
}
