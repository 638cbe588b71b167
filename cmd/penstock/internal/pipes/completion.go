package pipes

// Destinations and their groups, offered at the tab key.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

// completeDestination offers destinations for the first argument; next completes
// the rest.
func completeDestination(a *cli.App, next cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next(cmd, args, begun)
		}
		return offerOf(cmd.Context(), a, func(inv *inventory.Inventory) (names []string) {
			for _, d := range inv.Destinations {
				names = append(names, d.Name)
			}
			return names
		})
	}
}

// completeGroupOf offers the groups of the destination before it.
func completeGroupOf(a *cli.App) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offerOf(cmd.Context(), a, func(inv *inventory.Inventory) (names []string) {
			for _, g := range inv.Destination(args[0]).Groups {
				names = append(names, g.Name)
			}
			return names
		})
	}
}

// offerOf picks from what etcd shows of destinations.
func offerOf(ctx context.Context, a *cli.App, pick func(*inventory.Inventory) []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.Complete(ctx, func(ctx context.Context, a *cli.App) ([]string, error) {
		s, client, err := a.Client()
		if err != nil {
			return nil, err
		}
		defer client.Close()
		kvs, _, err := discovery.List(ctx, client, keys.Space(s.Prefix).Dests())
		if err != nil {
			return nil, err
		}
		return pick(inventory.Of(keys.Space(s.Prefix), kvs)), nil
	})
}
