package bench

// Pipes, with senders and members on machines of their own.

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/pipes"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// nameFlag adds the name by which the halves find each other.
func nameFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "name", "bench", "`name` of the destination, the same on both sides; NAME-plan is used, too")
}

func senderCommand(a *cli.App) *cobra.Command {
	c := common{App: a}
	var s pipes.Scenario
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "sender",
		Short: "Measure pipes from one machine to others: the senders",
		Long: `Sender is the half of "bench pipe" that sends. It waits until --members of each of the
--groups are there, in processes of "bench member" on this machine or others, runs the
scenario, and asks them what came. The result is that of the whole: the cost is that of
all processes, and latencies are by this machine's clock, from which the members know how
far theirs is off. When a message was lost, came twice, out of order or damaged, all of
them end with code 1.`,
		Example: `  penstock bench member --members 2 --etcd etcd-1:2379     (on one machine)
  penstock bench sender --members 2 --etcd etcd-1:2379     (on another)
  penstock bench sender --rate 10000 --hdr sender.hlog --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Size, s.Rate, s.Warmup, s.Duration, s.Compressible = c.size, c.rate, c.warmup, c.duration, c.compressible
			if err := s.Check(); err != nil {
				return cli.Usagef("bench sender: %w", err)
			}
			if wait <= 0 {
				return cli.Usagef("bench sender: --wait %s: want more than nothing", wait)
			}
			return c.run(cmd.Context(), s.Groups, func(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
				return s.RunSenders(ctx, start, wait, tell)
			})
		},
	}
	c.add(cmd, "message")
	nameFlag(cmd, &s.Name)
	f := cmd.Flags()
	f.IntVar(&s.Senders, "senders", 1, "`N` senders of the destination")
	f.IntVar(&s.Threads, "threads", 1, "`N` goroutines that call Send, of each sender")
	f.IntVar(&s.Groups, "groups", 1, "`N` groups, each of which gets every message")
	f.IntVar(&s.Members, "members", 1, "`N` members of each group, in all processes together")
	f.DurationVar(&wait, "wait", time.Minute, "how long the members may take to be there")
	f.StringVar(&c.listen, "listen", "", "`url` that members dial (default: the addresses of this machine)")
	return cmd
}

func memberCommand(a *cli.App) *cobra.Command {
	c := common{App: a, timed: true}
	var m pipes.Members
	var mode string
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Measure pipes from one machine to others: the members",
		Long: `Member is the half of "bench pipe" that receives. It joins, waits for "bench sender" to
begin, checks every message that comes, and prints what came here and what became of all
messages. When one was lost, came twice, out of order or damaged, here or in another
process, the code is 1.`,
		Example: `  penstock bench member --etcd etcd-1:2379
  penstock bench member --groups 4 --members 2 --mode at-most-once --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m.Mode = penstock.Mode(mode)
			if err := m.Check(); err != nil {
				return cli.Usagef("bench member: %w", err)
			}
			return c.run(cmd.Context(), 1, func(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
				return m.Run(ctx, start, tell)
			})
		},
	}
	c.addOutput(cmd)
	nameFlag(cmd, &m.Name)
	f := cmd.Flags()
	f.IntVar(&m.Groups, "groups", 1, "`N` groups, as many as the senders have")
	f.IntVar(&m.Members, "members", 1, "`N` members of each group, in this process")
	f.IntVar(&m.Window, "window", 0, "`messages` that a sender may have out to a member; 0 for the default")
	f.DurationVar(&m.Wait, "wait", 5*time.Minute, "how long the senders may take to begin")
	f.StringVar(&mode, "mode", string(penstock.AtLeastOnce), "at-least-once or at-most-once")
	cli.CompleteFlag(cmd, "mode", string(penstock.AtLeastOnce), string(penstock.AtMostOnce))
	return cmd
}
