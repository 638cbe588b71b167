package bench

// Actors.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/actors"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func actorCommand(a *cli.App) *cobra.Command {
	c := common{App: a}
	var s actors.Scenario
	var mode string
	cmd := &cobra.Command{
		Use:   "actor",
		Short: "Measure pipes as children of actors, and actors that are told and asked",
		Long: `Actor spawns actors that publish to a destination of its own, which is their child, and
actors that get what the members of its groups are handed, and ack it. With --do tell or
ask, actors of one system are told or asked instead, supervised or, with --bare, as
proto.actor has them; that needs no etcd.`,
		Example: `  penstock bench actor --size 64 --batch 256
  penstock bench actor --senders 2 --groups 2 --rate 1000 --hdr actor.hlog
  penstock bench actor --do ask --bare --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Name, s.Size, s.Rate, s.Warmup, s.Duration, s.Compressible = name(), c.size, c.rate, c.warmup, c.duration, c.compressible
			s.Mode, s.Publish = penstock.Mode(mode), s.Batch
			c.timed = s.Do == actors.Ask
			if err := s.Check(); err != nil {
				return cli.Usagef("bench actor: %w", err)
			}
			return c.run(cmd.Context(), s.Groups, func(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
				return s.Run(ctx, start, tell)
			})
		},
	}
	c.add(cmd, "message")
	f := cmd.Flags()
	f.StringVar(&s.Do, "do", actors.Deliver, "what the actors do: deliver, tell or ask")
	f.BoolVar(&s.Bare, "bare", false, "tell or ask proto.actor's own actors, without supervision")
	f.IntVar(&s.Senders, "senders", 1, "`N` actors that publish, or goroutines that tell or ask")
	f.IntVar(&s.Groups, "groups", 1, "`N` groups, each of which gets every message")
	f.IntVar(&s.Members, "members", 1, "`N` members of each group, with an actor each; actors that each one tells or asks")
	f.IntVar(&s.Batch, "batch", 0, "`messages` that are published, and delivered at most, at once; 0 for one by one")
	f.StringVar(&mode, "mode", string(penstock.AtLeastOnce), "at-least-once or at-most-once")
	f.StringVar(&c.listen, "listen", "tcp://127.0.0.1:0", "`url` that members dial")
	cli.CompleteFlag(cmd, "do", actors.Deliver, actors.Tell, actors.Ask)
	cli.CompleteFlag(cmd, "mode", string(penstock.AtLeastOnce), string(penstock.AtMostOnce))
	return cmd
}
