package main

// The command line: its texts, and where each of its commands lives.

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/backup"
	"github.com/penstock-io/penstock/cmd/penstock/internal/bench"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/demo"
	"github.com/penstock-io/penstock/cmd/penstock/internal/doctor"
	"github.com/penstock-io/penstock/cmd/penstock/internal/letters"
	"github.com/penstock-io/penstock/cmd/penstock/internal/look"
	"github.com/penstock-io/penstock/cmd/penstock/internal/pipes"
	"github.com/penstock-io/penstock/cmd/penstock/internal/schedules"
	"github.com/penstock-io/penstock/cmd/penstock/internal/serve"
	"github.com/penstock-io/penstock/cmd/penstock/internal/topics"
	"github.com/penstock-io/penstock/cmd/penstock/internal/version"
)

// run performs one command line and returns its exit code. It blocks until the
// command is over; the end of ctx is the signal to end it in order.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, env func(string) string) cli.ExitCode {
	a := cli.New(in, out, errs, env)
	return a.Run(ctx, root(a), args)
}

func root(a *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Send and receive messages, keep topics, and look around",
		Long: `Penstock has pipes and topics. Pipes carry messages directly from senders to the
members of groups, and etcd holds only their addresses (send, recv, ls, describe, rm, token). Topics
are durable, partitioned logs in etcd with consumer groups (topic, put, sub, read,
group, dlq, schedule).
Results go to standard output, everything else to standard error. SIGINT and
SIGTERM end a command in order; a second signal, a second or more after the first,
ends it at once.`,
		Example: `  penstock demo
  penstock serve &
  penstock recv orders billing &
  seq 1000 | penstock send orders
  seq 1000 | penstock put audit --create
  penstock sub audit billing --count 1000`,
		Version: version.Line(stamp),
		Args:    cli.Subcommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	topic := topics.Topic(a)
	topic.AddCommand(backup.Export(a), backup.Import(a))
	root.AddCommand(
		serve.Command(a),
		pipes.Send(a), pipes.Recv(a), pipes.Describe(a), pipes.Rm(a), pipes.Token(a),
		topic, topics.Put(a), topics.Sub(a), topics.Read(a), topics.Group(a), letters.Command(a), schedules.Command(a),
		look.Ls(a), look.Actors(a), doctor.Command(a), bench.Command(a),
		demo.Command(a), demo.Member(a), demo.Producer(a), demo.Consumer(a),
		version.Command(a, stamp),
	)
	return root
}
