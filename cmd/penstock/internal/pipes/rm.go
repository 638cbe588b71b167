package pipes

// Groups of destinations are removed here; they are made by who joins.

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

type rm struct {
	*cli.App
	json bool
}

// Rm returns the command rm.
func Rm(a *cli.App) *cobra.Command {
	c := rm{App: a}
	cmd := &cobra.Command{
		Use:   "rm DEST GROUP",
		Short: "Remove a group of a destination",
		Long: `Rm removes the group GROUP of the destination DEST, without asking: one that is kept
forever, or whose time to be kept is not over. A group with members is refused, with
code 1. Running senders give up what is queued for the group, and log how much;
senders that waited for room in it continue.`,
		Example:           "  penstock rm orders billing",
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeDestination(a, completeGroupOf(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *rm) run(ctx context.Context, dest, group string) error {
	if err := errors.Join(keys.ValidateName("destination", dest), keys.ValidateName("group", group)); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		err := rt.DeleteGroup(ctx, dest, group)
		if errors.Is(err, penstock.ErrGroupLive) {
			return fmt.Errorf("%w: stop them first", err)
		}
		if err != nil {
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Destination string `json:"destination"`
				Deleted     string `json:"deleted"`
			}{dest, group})
		}
		c.Say("removed group %s of %s", group, dest)
		return nil
	})
}
