package bench

// Pipes.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/pipes"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func pipeCommand(a *cli.App) *cobra.Command {
	c := common{App: a}
	var s pipes.Scenario
	var mode string
	cmd := &cobra.Command{
		Use:   "pipe",
		Short: "Measure pipes: senders, groups and their members",
		Long: `Pipe registers senders for a destination of its own, joins groups, and sends as
fast as the slowest group takes it, or at --rate. At full speed the result is speed and
cost. At a rate it is latency, until Send accepted a message and until its member had
it, from the moment that it was due: waiting counts even while it holds up others.`,
		Example: `  penstock bench pipe --size 64
  penstock bench pipe --groups 4 --members 2 --senders 2
  penstock bench pipe --rate 10000 --hdr pipe.hlog --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Name, s.Size, s.Rate, s.Warmup, s.Duration, s.Compressible = name(), c.size, c.rate, c.warmup, c.duration, c.compressible
			s.Mode = penstock.Mode(mode)
			if err := s.Check(); err != nil {
				return cli.Usagef("bench pipe: %w", err)
			}
			return c.run(cmd.Context(), s.Groups, func(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
				return s.Run(ctx, start, tell)
			})
		},
	}
	c.add(cmd, "message")
	f := cmd.Flags()
	f.IntVar(&s.Senders, "senders", 1, "`N` senders of the destination")
	f.IntVar(&s.Threads, "threads", 1, "`N` goroutines that call Send, of each sender")
	f.IntVar(&s.Groups, "groups", 1, "`N` groups, each of which gets every message")
	f.IntVar(&s.Members, "members", 1, "`N` members of each group")
	f.IntVar(&s.Window, "window", 0, "`messages` that a sender may have out to a member; 0 for the default")
	f.StringVar(&mode, "mode", string(penstock.AtLeastOnce), "`mode` of the groups: at-least-once, at-most-once, failover or key-affinity")
	f.IntVar(&s.Keys, "keys", 0, "`N` different keys; 0 for messages without")
	f.StringVar(&c.listen, "listen", "tcp://127.0.0.1:0", "`url` that members dial")
	cli.CompleteFlag(cmd, "mode", string(penstock.AtLeastOnce), string(penstock.AtMostOnce), string(penstock.Failover), string(penstock.KeyAffinity))
	return cmd
}
