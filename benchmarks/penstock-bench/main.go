// Penstock-bench runs the benchmark suite, and writes reports of what it stored:
//
//	penstock-bench run [quick|full] [--only PREFIX] [--out DIR]
//	penstock-bench report FILE... [--out DIR]
//	penstock-bench compare BEFORE AFTER
//
// Running and reporting are apart: run stores a file of results, and the others
// read such files, of this machine or another.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/benchmarks/internal/beside"
	"github.com/penstock-io/penstock/benchmarks/internal/part"
)

func main() {
	beside.Main()
	part.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "penstock-bench:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "penstock-bench",
		Short:         "Run the benchmark suite, and write reports of stored results",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand(), reportCommand(), compareCommand())
	return cmd
}
