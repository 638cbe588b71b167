package pipes

// What remains of destinations is removed here: their groups, which are made by who joins
// or declares them.

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
		Use:   "rm DEST [GROUP]",
		Short: "Remove a group of a destination, or what remains of a destination",
		Long: `Rm removes the group GROUP of the destination DEST, without asking: one that is kept
forever, or whose time to be kept is not over. A group with members is refused, with
code 1. Running senders give up what is queued for the group, and log how much;
senders that waited for room in it continue.

Without GROUP it removes all groups of a destination that has no live sender and no
live member, and names them; nothing of the destination is left then. One that has a
sender or a member is refused, with code 1, and keeps all of its groups.`,
		Example: `  penstock rm orders billing
  penstock rm orders`,
		Args:              cli.Between(1, 2),
		ValidArgsFunction: completeDestination(a, completeGroupOf(a)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.all(cmd.Context(), args[0])
			}
			return c.run(cmd.Context(), args[0], args[1])
		},
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
		if err := remove(ctx, rt, dest, group); err != nil {
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

func remove(ctx context.Context, rt *penstock.Runtime, dest, group string) error {
	err := rt.DeleteGroup(ctx, dest, group)
	if errors.Is(err, penstock.ErrGroupLive) {
		return fmt.Errorf("%w: stop them first", err)
	}
	return err
}

// all removes what remains of a destination.
func (c *rm) all(ctx context.Context, dest string) error {
	if err := keys.ValidateName("destination", dest); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeDestination(ctx, dest)
		if err == nil {
			err = deserted(d)
		}
		if err != nil {
			return err
		}
		removed := []string{}
		for _, g := range d.Groups {
			err := remove(ctx, rt, dest, g.Name)
			if errors.Is(err, penstock.ErrNoGroup) {
				continue // etcd was faster
			}
			if err != nil {
				return err
			}
			removed = append(removed, g.Name)
			if !c.json {
				c.Say("removed group %s of %s", g.Name, dest)
			}
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Destination string   `json:"destination"`
				Groups      []string `json:"groups"`
			}{dest, removed})
		}
		c.Say("nothing is left of %s", dest)
		return nil
	})
}

// deserted is an error that names who is in a destination.
func deserted(d penstock.DestinationInfo) error {
	for _, s := range d.Senders {
		return fmt.Errorf("destination %q has a sender, %s at %s: stop it first", d.Name, s.ID, cli.Clean(s.Host))
	}
	for _, g := range d.Groups {
		for _, m := range g.Members {
			return fmt.Errorf("destination %q: %w: %s of %s at %s: stop it first", d.Name, penstock.ErrGroupLive, m.ID, g.Name, cli.Clean(m.Host))
		}
	}
	return nil
}
