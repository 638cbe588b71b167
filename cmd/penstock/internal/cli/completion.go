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

// NoCompletion offers nothing: there is no further argument, and it is no file either.
func NoCompletion(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// LeaveToShell leaves further arguments to the shell, as d says.
func LeaveToShell(d cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) { return nil, d }
}

// CompleteFlag offers the words that the flag name of cmd takes.
func CompleteFlag(cmd *cobra.Command, name string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag, or it has words already
	}
}

// CompleteFromRuntime offers what list returns, which it gives a runtime of its own.
// The shell filters what it gets.
func (a *App) CompleteFromRuntime(ctx context.Context, list func(context.Context, *penstock.Runtime) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.Complete(ctx, func(ctx context.Context, a *App) (names []string, err error) {
		err = a.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) (err error) {
			names, err = list(ctx, rt)
			return err
		})
		return names, err
	})
}

// Complete offers what ask returns, and waits no longer than TabPatience, even if
// ask does not obey its context: the process ends afterwards. The App that ask gets has
// an empty standard input, so that nobody is asked for a password.
func (a *App) Complete(ctx context.Context, ask func(context.Context, *App) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
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
