package topics

// Topics and their groups, offered at the tab key.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// completeTopic offers topics for the first argument; next completes the rest.
func completeTopic(a *cli.App, next cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next(cmd, args, begun)
		}
		return a.CompleteFromRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) (names []string, err error) {
			topics, err := rt.ListTopics(ctx)
			for _, t := range topics {
				names = append(names, t.Name)
			}
			return names, err
		})
	}
}

// completeGroup offers the groups of the topic before it.
func completeGroup(a *cli.App) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.CompleteFromRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) ([]string, error) {
			return rt.ListConsumerGroups(ctx, args[0])
		})
	}
}
