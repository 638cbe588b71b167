package main

// The three commands.

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/penstock-bench/report"
	"github.com/penstock-io/penstock/benchmarks/penstock-bench/suite"
)

func runCommand() *cobra.Command {
	var s suite.Settings
	var dir string
	cmd := &cobra.Command{
		Use:   "run [quick|full]",
		Short: "Run the scenarios, print a table and a line for each comparison, and store the results",
		Long: `Run performs each scenario in rounds, so that runs that are compared see the same
machine, checks every message, and stores what it measured as
DIR/<date>-<commit>.json. A run in which a message was lost, came twice, out of
order or damaged is a failed run, and ends the command with code 1 when all others
are done.`,
		Example:   "  penstock-bench run quick\n  penstock-bench run full --only pipe.size",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{suite.Quick, suite.Full},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Suite = suite.Full
			if len(args) == 1 {
				s.Suite = args[0]
			}
			f, err := suite.Run(cmd.Context(), s, cmd.ErrOrStderr())
			if f == nil {
				return err
			}
			path, serr := results.Store(dir, f)
			if serr != nil {
				return serr
			}
			if terr := report.Table(cmd.ErrOrStderr(), f); terr != nil {
				return terr
			}
			for _, c := range f.Comparisons {
				fmt.Fprintln(cmd.OutOrStdout(), c.Line())
			}
			for _, skipped := range f.Skipped {
				fmt.Fprintln(cmd.OutOrStdout(), skipped.Line())
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "stored as", path)
			return err
		},
	}
	cmd.Flags().StringVar(&s.Only, "only", "", "run only the scenarios and comparisons whose id begins with `prefix`")
	cmd.Flags().DurationVar(&s.Each, "each", 0, "how long each run takes; 0: what the suite has time for")
	cmd.Flags().DurationVar(&s.Budget, "budget", 0, "how long the suite takes; 0: 80s for quick, 14m for full")
	cmd.Flags().IntVar(&s.Rounds, "rounds", 0, "how often each scenario runs; 0: what the suite has time for")
	cmd.Flags().IntVar(&s.Scale, "scale", 100, "`percent` of 10,000 destinations, 1,000 groups, members and partitions; less for a small machine")
	cmd.Flags().StringVar(&s.Peers, "peers", "benchmarks/peers", "the `directory` of the module that JetStream is built from")
	cmd.Flags().StringVar(&dir, "out", "benchmarks/results", "the `directory` that the results are stored in")
	return cmd
}

func reportCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "report FILE...",
		Short:   "Draw the charts of stored results, and write their tables as Markdown",
		Long:    "Report writes REPORT.md and its charts, as PNG and SVG, into DIR. Several files of one machine count as one with more rounds.",
		Example: "  penstock-bench report benchmarks/results/2026-01-02-abc1234.json --out /tmp/report",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := open(args)
			if err != nil {
				return err
			}
			f, err := report.Join(files)
			if err != nil {
				return err
			}
			written, err := report.Write(dir, f)
			for _, path := range written {
				fmt.Fprintln(cmd.OutOrStdout(), path)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "out", "benchmarks/report", "the `directory` that the report is written to")
	return cmd
}

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Compare two stored results, with confidence intervals and a test of significance",
		Long: `Compare prints the median of each figure in both files with its 95 % confidence
interval, and the difference when the Mann-Whitney U-test finds one (p below 0.05),
else ~. It needs four runs of a scenario in each file to find any.`,
		Example: "  penstock-bench compare before.json after.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := open(args)
			if err != nil {
				return err
			}
			return report.Compare(cmd.OutOrStdout(), files[0], files[1])
		},
	}
}

func open(paths []string) ([]*results.File, error) {
	var files []*results.File
	for _, path := range paths {
		f, err := results.Open(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}
