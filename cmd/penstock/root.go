package main

// The frame around every command.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/term"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/pb"
)

// drainFor is how long a command finishes what it took after a signal.
const drainFor = 10 * time.Second

// app is what every command has.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	verbose  int
	etcd     etcdFlags
}

// run performs one command line and answers its exit code. It blocks until the
// command is over; the end of ctx is the signal to end it in order.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, env func(string) string) exitCode {
	a := &app{in: in, out: out, err: errs, env: env}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	var said *saidError
	if err != nil && !errors.As(err, &said) {
		a.complain(err)
		var usage *usageError
		if errors.As(err, &usage) {
			a.say("see \"%s --help\"", cmd.CommandPath())
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return exitIncomplete // a signal ended what was begun
	}
	return codeOf(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Send and receive messages, keep topics, and look around",
		Long: `Penstock carries messages straight from senders to the members of groups, where
etcd only keeps who is where (send, recv, ls, rm), and keeps topics, which are
durable, partitioned logs in etcd with consumer groups (topic, put, sub, group).
Results go to standard output, everything else to standard error. SIGINT and
SIGTERM end a command in order; one that comes a second or more after the
first ends it at once.`,
		Example: `  penstock demo
  penstock serve &
  penstock recv orders billing &
  seq 1000 | penstock send orders
  seq 1000 | penstock put audit --create
  penstock sub audit billing --count 1000`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetUsageTemplate(root.UsageTemplate() + "\n" + exitCodes + "\n")
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(nil)
		fmt.Fprint(a.out, wrap(text.String(), a.columns(a.out)))
	})
	root.SetHelpCommand(helpCommand())
	root.PersistentFlags().CountVarP(&a.verbose, "verbose", "v", "log what happens to standard error; -vv also each failed message")
	root.AddCommand(a.serveCommand(), a.sendCommand(), a.recvCommand(), a.topicCommand(), a.putCommand(), a.subCommand(),
		a.groupCommand(), a.lsCommand(), a.rmCommand(), a.actorsCommand(), a.doctorCommand(), a.demoCommand(), a.demoMemberCommand(), a.demoProducerCommand(), a.demoConsumerCommand(), a.versionCommand())
	return root
}

// helpCommand is cobra's, but that a command that is not there is a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(about.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
				if i < 0 {
					return subcommand(about, []string{name})
				}
				about = about.Commands()[i]
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// subcommand refuses what is no command of a command that has some.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usagef("there is no command %q", args[0])
}

// between takes from low to high arguments.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < low:
			return usagef("arguments are missing (%d): want %q", low-n, cmd.UseLine())
		case n > high:
			return usagef("too many arguments, from %q on: want %q", args[high], cmd.UseLine())
		}
		return nil
	}
}

// say tells the user something.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

func (a *app) complain(err error) { a.say("penstock: %v", err) }

// said complains now, for a command that has a last line to print after it.
func (a *app) said(err error) error {
	if err == nil {
		return nil
	}
	a.complain(err)
	return &saidError{err}
}

// logger answers nil unless --verbose was given.
func (a *app) logger() *slog.Logger {
	if a.verbose == 0 {
		return nil
	}
	level := slog.LevelInfo
	if a.verbose > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// settings are where etcd is, and the client's configuration.
func (a *app) settings() (etcdSettings, clientv3.Config, error) {
	s, err := a.etcd.settle(a.env)
	if err != nil {
		return s, clientv3.Config{}, err
	}
	cfg, err := s.config(a.askPassword)
	return s, cfg, err
}

func (a *app) askPassword(user string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usagef("etcd's user %s needs a password: set ETCDCTL_PASSWORD, or give user:password", user)
	}
	fmt.Fprintf(a.err, "password of %s: ", user)
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(password), nil
}

// start begins a runtime.
func (a *app) start(ctx context.Context, opts ...penstock.StartOption) (*penstock.Runtime, error) {
	s, cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	opts = append([]penstock.StartOption{penstock.EtcdConfig(cfg), penstock.Prefix(s.prefix)}, opts...)
	if l := a.logger(); l != nil {
		opts = append(opts, penstock.Logger(l))
	}
	starting, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rt, err := penstock.Start(starting, opts...)
	if err != nil {
		return nil, explain(ctx, err, s.endpoints)
	}
	if addr := rt.DiagnosticsAddr(); addr != "" {
		a.say("diagnostics at %s", addr)
	}
	return rt, nil
}

// client makes a client of etcd, for commands that need no runtime.
func (a *app) client() (etcdSettings, *clientv3.Client, error) {
	s, cfg, err := a.settings()
	if err != nil {
		return s, nil, err
	}
	c, err := discovery.NewClient(cfg)
	return s, c, explain(context.Background(), err, s.endpoints)
}

// explain says what to do where etcd did not answer. A signal that came first
// is no fault of etcd's.
func explain(ctx context.Context, err error, endpoints []string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errTimeout) && errors.Is(err, penstock.ErrUnavailable):
		return &unreachableError{endpoints, err} // --timeout was shorter than --etcd-timeout
	case ctx.Err() != nil:
		return incompletef("ended before it began: %v", context.Cause(ctx))
	case errors.Is(err, penstock.ErrUnavailable):
		return &unreachableError{endpoints, err}
	}
	return err
}

// finishing is a context for what is still to be done after ctx ended.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), drainFor)
}

// printJSON writes v, for people and for programs.
func printJSON[T any](w io.Writer, v T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// clean is text of others as it may be shown on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// when is a moment as listings show it.
func when(unixMs int64) string {
	if unixMs == 0 {
		return "-"
	}
	return pb.Time(unixMs).UTC().Format(time.RFC3339)
}
