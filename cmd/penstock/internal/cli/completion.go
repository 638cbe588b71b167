package cli

// What a shell offers at the tab key. A shell waits meanwhile, so nothing is asked
// for longer than TabPatience, and nobody for a password.

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
)

// TabPatience is how long etcd may take for all that one Tab asks.
const TabPatience = 300 * time.Millisecond

// Nothing is offered: there is no further argument, and it is no file either.
func Nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// Then leaves the further arguments to the shell.
func Then(d cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) { return nil, d }
}

// CompleteFlag offers the words that a flag takes.
func CompleteFlag(cmd *cobra.Command, name string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is there, and has none
	}
}

// Offer asks a runtime of its own. The shell filters what it gets.
func (a *App) Offer(ctx context.Context, list func(context.Context, *penstock.Runtime) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.Within(ctx, func(ctx context.Context, a *App) (names []string, err error) {
		err = a.Visit(ctx, func(ctx context.Context, rt *penstock.Runtime) (err error) {
			names, err = list(ctx, rt)
			return err
		})
		return names, err
	})
}

// Within asks for no longer than TabPatience, whatever does not obey its context:
// the process ends afterwards.
func (a *App) Within(ctx context.Context, ask func(context.Context, *App) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	asking, cancel := context.WithTimeout(ctx, TabPatience)
	defer cancel()
	quiet := *a
	quiet.In = strings.NewReader("")
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
