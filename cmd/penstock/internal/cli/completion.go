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

// Nothing offers nothing: there is no further argument, and it is no file either.
func Nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// Then leaves further arguments to the shell, as d says.
func Then(d cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) { return nil, d }
}

// CompleteFlag offers the words that the flag name of cmd takes.
func CompleteFlag(cmd *cobra.Command, name string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag, or it has words already
	}
}

// Offer offers what list returns, which it gives a runtime of its own. The shell
// filters what it gets.
func (a *App) Offer(ctx context.Context, list func(context.Context, *penstock.Runtime) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.Within(ctx, func(ctx context.Context, a *App) (names []string, err error) {
		err = a.Visit(ctx, func(ctx context.Context, rt *penstock.Runtime) (err error) {
			names, err = list(ctx, rt)
			return err
		})
		return names, err
	})
}

// Within offers what ask returns, and waits no longer than TabPatience, even if ask
// does not obey its context: the process ends afterwards. The App that ask gets has
// an empty standard input, so that nobody is asked for a password.
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
