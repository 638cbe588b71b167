package demo

// The command, and what its two runs share.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery/embedded"
)

type demo struct {
	*cli.App
	messages    int
	topics      bool
	json, keep  bool
	diagnostics string
}

// Command returns the command demo.
func Command(a *cli.App) *cobra.Command {
	c := demo{App: a}
	cmd := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Show two groups at work, and one of their members killed",
		Long: `Demo needs nothing: it runs an etcd in this process, a sender, and two groups,
billing and audit, of two members each in processes of their own. The sender
sends numbered lines of FILE, or of a text built in. In mid-stream the member
billing/2 is killed with SIGKILL; what it had not acked goes to billing/1.

It ends with a line for each group: how many deliveries its members handled, how
many of them were distinct, how many were duplicates, how many messages were
lost, and how many deliveries were marked as redelivered. Lost messages end the
command with code 1.

With --topics two producers put the lines into a topic of four partitions, and a
group of members handles them, all in processes of their own. While they work a
member joins, one leaves, and one is killed. The last line says how many records
were put and handled, how many were handled twice, and how many of these may not
have been: only what the killed member had not committed may. Lost records and
such duplicates end the command with code 1.`,
		Example: `  penstock demo
  penstock demo --topics
  penstock demo --messages 1000000
  penstock demo --json | jq .groups.billing.lost
  penstock demo --keep --diagnostics 127.0.0.1:7070    # and look at it from another shell`,
		Args: cli.Between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return c.run(cmd.Context(), file)
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.messages, "messages", 20_000, "send `N` lines; the text is repeated")
	f.BoolVar(&c.topics, "topics", false, "show a topic and its consumer group instead")
	f.BoolVar(&c.json, "json", false, "print one object on standard output")
	f.BoolVar(&c.keep, "keep", false, "leave everything running at the end, to look at, until a signal comes")
	cli.DiagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

func (c *demo) run(ctx context.Context, file string) (err error) {
	if c.messages < 1 || c.messages > mostMessages {
		return cli.Usagef("--messages %d: want 1 to %d", c.messages, mostMessages)
	}
	lines, err := readLines(file)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	srv, err := embedded.Start(starting, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	c.Say("etcd        %s, in this process", srv.Endpoint())
	c.Etcd = cli.EtcdFlags{Endpoints: srv.Endpoint(), Timeout: 30 * time.Second, Prefix: "/penstock"}

	opts := append(cli.DiagnosticsOption(c.diagnostics), penstock.Listen("tcp://127.0.0.1:0"), penstock.LeaseTTL(leaseTTL))
	rt, err := c.Start(starting, opts...)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if serr := rt.Stop(stopping); err == nil {
			err = serr
		}
	}()
	if c.topics {
		return c.runTopics(ctx, rt, file)
	}
	return c.runPipes(ctx, rt, lines)
}

// working bounds a demo by what it has to do.
func (c *demo) working(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeLimit+time.Duration(c.messages)*100*time.Microsecond, cli.ErrTimeout)
}

// kept is the end of a demo that is left running.
func (c *demo) kept(ctx context.Context, try string) {
	c.Say("still running: try \"penstock %s --etcd %s\"; Ctrl-C ends it", try, c.Etcd.Endpoints)
	<-ctx.Done()
}

// step prints what has happened.
func (c *demo) step(format string, args ...any) {
	w := c.Out
	if c.json {
		w = c.Err // standard output is for the object
	}
	fmt.Fprintf(w, format+"\n", args...)
}
