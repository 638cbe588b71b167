package cli

// The frame around every command: arguments, help, and the exit code.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Run performs a command line of root and returns its exit code. It blocks until
// the command is over; the end of ctx is the signal to end it in order.
func (a *App) Run(ctx context.Context, root *cobra.Command, args []string) ExitCode {
	a.frame(root)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var said *saidError
	if err != nil && !errors.As(err, &said) {
		a.Complain(err)
		var usage *usageError
		if errors.As(err, &usage) {
			a.Say("see \"%s --help\"", cmd.CommandPath())
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return ExitIncomplete // a signal ended what was begun
	}
	return CodeOf(err)
}

// frame gives root what all its commands have in common.
func (a *App) frame(root *cobra.Command) {
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetUsageTemplate(root.UsageTemplate() + "\n" + exitCodes + "\n")
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(nil)
		fmt.Fprint(a.Out, wrap(text.String(), a.columns(a.Out)))
	})
	root.SetHelpCommand(helpCommand())
	root.PersistentFlags().CountVarP(&a.Verbose, "verbose", "v", "log what happens to standard error; -vv also each failed message")
}

// helpCommand is cobra's, but that an unknown command is a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(about.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
				if i < 0 {
					return Subcommand(about, []string{name})
				}
				about = about.Commands()[i]
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// Subcommand refuses arguments of a command that has commands of its own, and
// suggests the nearest of these.
func Subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return Usagef("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return Usagef("there is no command %q", args[0])
}

// Between accepts from low to high arguments.
func Between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < low:
			return Usagef("arguments are missing (%d): want %q", low-n, cmd.UseLine())
		case n > high:
			return Usagef("too many arguments, from %q on: want %q", args[high], cmd.UseLine())
		}
		return nil
	}
}

// FileOf returns the second argument, a file; "-", standard input, without one.
func FileOf(args []string) string {
	if len(args) < 2 {
		return "-"
	}
	return args[1]
}
