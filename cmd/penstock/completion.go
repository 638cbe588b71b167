package main

// What a shell offers at the tab key: destinations, topics, their groups, and the
// words that flags take. A shell waits meanwhile, so nothing is asked for longer
// than tabPatience, and nobody for a password.

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

// tabPatience is how long etcd may take for all that one Tab asks.
const tabPatience = 300 * time.Millisecond

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

// completeDestination offers destinations for the first argument; next completes
// the rest.
func (a *app) completeDestination(next cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next(cmd, args, begun)
		}
		return a.offerOf(cmd.Context(), func(inv *inventory) (names []string) {
			for _, d := range inv.Destinations {
				names = append(names, d.Name)
			}
			return names
		})
	}
}

// completePipeGroup offers the groups of the destination before it.
func (a *app) completePipeGroup(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.offerOf(cmd.Context(), func(inv *inventory) (names []string) {
		for _, g := range inv.destination(args[0]).Groups {
			names = append(names, g.Name)
		}
		return names
	})
}

// completeFlag offers the words that a flag takes.
func completeFlag(cmd *cobra.Command, name string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is there, and has none
	}
}

// offer asks a runtime of its own. The shell filters what it gets.
func (a *app) offer(ctx context.Context, list func(context.Context, *penstock.Runtime) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.within(ctx, func(ctx context.Context, a *app) (names []string, err error) {
		err = a.visit(ctx, func(ctx context.Context, rt *penstock.Runtime) (err error) {
			names, err = list(ctx, rt)
			return err
		})
		return names, err
	})
}

// offerOf picks from what etcd shows of destinations.
func (a *app) offerOf(ctx context.Context, pick func(*inventory) []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.within(ctx, func(ctx context.Context, a *app) ([]string, error) {
		s, client, err := a.client()
		if err != nil {
			return nil, err
		}
		defer client.Close()
		kvs, _, err := discovery.List(ctx, client, keys.Space(s.prefix).Dests())
		if err != nil {
			return nil, err
		}
		return pick(inventoryOf(keys.Space(s.prefix), kvs)), nil
	})
}

// within asks for no longer than tabPatience, whatever does not obey its context:
// the process ends afterwards.
func (a *app) within(ctx context.Context, ask func(context.Context, *app) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	asking, cancel := context.WithTimeout(ctx, tabPatience)
	defer cancel()
	quiet := *a
	quiet.in = strings.NewReader("")
	type answer struct {
		names []string
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		names, err := ask(asking, &quiet)
		answered <- answer{names, err}
	}()
	var got answer
	select {
	case got = <-answered:
	case <-asking.Done():
		got.err = context.Cause(asking)
	}
	if got.err != nil {
		cobra.CompDebugln(got.err.Error(), false) // a shell has no place for it
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.Clone(got.names), cobra.ShellCompDirectiveNoFileComp
}
