package bench

// Topics.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/topics"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func topicCommand(a *cli.App) *cobra.Command {
	c := common{App: a}
	var s topics.Scenario
	var compression string
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Measure topics: producers, partitions and consumers",
		Long: `Topic makes a topic, which it deletes at the end, puts records as fast as etcd takes
them, or at --rate, and reads them in consumer groups. At a rate the result is latency,
until a record was accepted, committed, and handled, from the moment that it was due.
At full speed etcd grows by 2.3 times what is put, and keeps it until it compacts:
mind its quota.`,
		Example: `  penstock bench topic --partitions 4 --producers 2
  penstock bench topic --put batch --batch 100 --groups 0
  penstock bench topic --rate 1000 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Name, s.Size, s.Rate, s.Warmup, s.Duration, s.Compressible = name(), c.size, c.rate, c.warmup, c.duration, c.compressible
			s.Compression = penstock.Compression(compression)
			if s.Put == "" && s.Batch > 0 {
				s.Put = topics.Batched
			}
			if err := s.Check(); err != nil {
				return cli.Usagef("bench topic: %w", err)
			}
			return c.run(cmd.Context(), s.Groups, func(ctx context.Context, start scenario.Start, tell scenario.Progress) (scenario.Result, error) {
				return s.Run(ctx, start, tell)
			})
		},
	}
	c.add(cmd, "record")
	f := cmd.Flags()
	f.IntVar(&s.Partitions, "partitions", 4, "`N` partitions of the topic")
	f.IntVar(&s.Producers, "producers", 1, "`N` producers")
	f.StringVar(&s.Put, "put", "", "how they put: async, batch or lone (default async, or batch with --batch)")
	f.IntVar(&s.Batch, "batch", 0, "`records` of a batch; 0 for 100")
	f.IntVar(&s.Keys, "keys", 0, "`N` different keys; 0 for records without")
	f.IntVar(&s.Groups, "groups", 1, "`N` consumer groups, each of which gets every record")
	f.IntVar(&s.Consumers, "members", 1, "`N` members of each group")
	f.BoolVar(&s.CatchUp, "catch-up", false, "consume when everything was put, not meanwhile")
	f.StringVar(&compression, "compression", string(penstock.CompressS2), "of batches: s2, zstd or none")
	cli.CompleteFlag(cmd, "put", topics.Async, topics.Batched, topics.Lone)
	cli.CompleteFlag(cmd, "compression", string(penstock.CompressS2), string(penstock.CompressZstd), string(penstock.CompressNone))
	return cmd
}
