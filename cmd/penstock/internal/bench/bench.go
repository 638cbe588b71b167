package bench

// The command, and what its scenarios share.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Command returns the command bench.
func Command(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure pipes, topics or actors on the etcd that you have",
		Long: `Bench runs senders and members, or producers and consumers, in this process, each in
a runtime of its own, and prints what they achieved. Sender and member are the halves of
pipe, for two machines. Every message is checked: when one was lost, came twice, out of
order or damaged, the code is 1.`,
		Example: `  penstock bench pipe --size 1024
  penstock bench topic --rate 1000 --partitions 4
  penstock bench actor --batch 256
  penstock bench member &
  penstock bench sender --rate 10000`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pipeCommand(a), topicCommand(a), actorCommand(a), senderCommand(a), memberCommand(a))
	return cmd
}

// common are the flags of every scenario.
type common struct {
	*cli.App
	listen           string
	duration, warmup time.Duration
	rate             float64
	size             int
	compressible     bool
	json             bool
	hdr              string
	timed            bool // there are latencies without a rate, too
}

func (c *common) add(cmd *cobra.Command, what string) {
	c.addOutput(cmd)
	f := cmd.Flags()
	f.IntVar(&c.size, "size", 1024, "`bytes` of a "+what)
	f.Float64Var(&c.rate, "rate", 0, what+"s `a second` of all together, with latencies from the moment that each was due; 0 for full speed, without latencies")
	f.DurationVar(&c.duration, "duration", 5*time.Second, "how long it is measured")
	f.DurationVar(&c.warmup, "warmup", time.Second, "how long it runs before that")
	f.BoolVar(&c.compressible, "compressible", false, "content that compresses, some four to one, instead of noise")
}

// addOutput adds the flags of etcd and of what is shown.
func (c *common) addOutput(cmd *cobra.Command) {
	c.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&c.json, "json", false, "print one object on standard output")
	f.StringVar(&c.hdr, "hdr", "", "write the latencies to `file`, as an HdrHistogram log in microseconds")
}

// start starts the runtimes of a scenario.
func (c *common) start(ctx context.Context, opts ...penstock.StartOption) (*penstock.Runtime, error) {
	if c.listen != "" {
		opts = append(opts, penstock.Listen(c.listen))
	}
	return c.Start(ctx, opts...)
}

// name is one that nobody else uses at the same time.
func name() string { return fmt.Sprintf("bench-%d-%d", os.Getpid(), time.Now().UnixMilli()) }

// run performs a scenario and shows what came of it.
func (c *common) run(ctx context.Context, copies int, perform func(context.Context, scenario.Start, scenario.Progress) (scenario.Result, error)) error {
	if c.hdr != "" && c.rate == 0 && !c.timed {
		return cli.Usagef("--hdr needs --rate: there are no latencies at full speed")
	}
	bar := c.Progress(int64((c.warmup + c.duration).Seconds()), "running")
	began, last := time.Now(), uint64(0)
	r, err := perform(ctx, c.start, func(sent, received uint64) {
		bar.Stop()
		c.Say("%3.0f s  %9d received, %d a second; %d to come", time.Since(began).Seconds(), received, received-last, sent*uint64(copies)-min(received, sent*uint64(copies)))
		last = received
		bar.At(int64(time.Since(began).Seconds()))
	})
	bar.Stop()
	if ctx.Err() != nil {
		return cli.Incompletef("ended before it was measured: %v", context.Cause(ctx))
	}
	var unsound *scenario.Unsound
	if err != nil && !errors.As(err, &unsound) {
		return err // nothing was measured
	}
	return errors.Join(err, c.show(r), c.store(r))
}

func (c *common) show(r scenario.Result) error {
	if c.json {
		return scenario.WriteJSON(c.Out, r)
	}
	t := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	for _, f := range slices.Sorted(maps.Keys(r.Figures)) {
		fmt.Fprintf(t, "%s\t%.4g\n", f, r.Figures[f])
	}
	fmt.Fprintf(t, "sent\t%d\nlost\t%d\nduplicates\t%d\nout of order\t%d\n", r.Check.Sent, r.Check.Lost, r.Check.Duplicates, r.Check.Disordered)
	for _, what := range slices.Sorted(maps.Keys(r.Latencies)) {
		h := r.Latencies[what]
		fmt.Fprintf(t, "%s\tp50 %.0f µs, p90 %.0f, p99 %.0f, p99.9 %.0f, p99.99 %.0f, most %.0f\n", what, h.At(50), h.At(90), h.At(99), h.At(99.9), h.At(99.99), h.Max())
	}
	return t.Flush()
}

func (c *common) store(r scenario.Result) error {
	if c.hdr == "" {
		return nil
	}
	f, err := os.Create(c.hdr)
	if err != nil {
		return err
	}
	return errors.Join(scenario.WriteLog(f, r), f.Close())
}
