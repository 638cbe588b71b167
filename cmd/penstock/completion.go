package main

// What a shell offers at the tab key: names of topics and groups.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
)

// nothing is offered: there is no further argument, and it is no file either.
func nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// then leaves the further arguments to the shell.
func then(d cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) { return nil, d }
}

// completeTopic offers topics for the first argument; next completes the rest.
func (a *app) completeTopic(next cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next(cmd, args, begun)
		}
		return a.offer(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) (names []string, err error) {
			topics, err := rt.ListTopics(ctx)
			for _, t := range topics {
				names = append(names, t.Name)
			}
			return names, err
		})
	}
}

// completeGroup offers the groups of the topic before it.
func (a *app) completeGroup(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.offer(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) ([]string, error) {
		return rt.ListGroups(ctx, args[0])
	})
}

// offer asks etcd. The shell filters what it gets.
func (a *app) offer(ctx context.Context, list func(context.Context, *penstock.Runtime) ([]string, error)) (names []cobra.Completion, d cobra.ShellCompDirective) {
	err := a.visit(ctx, func(ctx context.Context, rt *penstock.Runtime) (err error) {
		names, err = list(ctx, rt)
		return err
	})
	if err != nil {
		cobra.CompDebugln(err.Error(), false) // a shell has no place for it
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
