// Quick compares pipes, topics and actors with what somebody would use instead, over
// loopback, within a minute and a half:
//
//	go run ./benchmarks/quick [-only id] [-seconds n] [-assert] [-v] [-out dir]
//
// Each comparison alternates runs of both sides, which are processes of their own, and
// prints the medians on standard output, one line each:
//
//	RATIO pipe.tcp.64B.vs.mangos 17.3 ours=5.1e+06 peer=2.9e+05 unit=msg/s
//	SKIP pipe.tcp.64B.vs.zmq it is not here: ...
//	FAILED pipe.tcp.64B.vs.nats nats recv: message 4 came where 3 was due
//
// and a table for people on standard error, and stores all runs, and the latencies as
// HDR histograms, in benchmarks/results for reports. A lost, repeated, reordered or
// damaged message ends it with status 1 when all is done; so does a missed target, and a
// comparison that is skipped, with -assert.
//
// The peers are built from the nested module benchmarks/peers. Where that cannot be
// built, offline for instance, what needs them is skipped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/beside"
	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

var errMissed = errors.New("a target was missed")

type settings struct {
	beside.Settings
	seconds float64
	assert  bool
	verbose bool
	out     string
}

func main() {
	beside.Main()
	var s settings
	flag.StringVar(&s.Only, "only", "", "run only comparisons whose id begins with this")
	flag.Float64Var(&s.seconds, "seconds", 54, "`budget` for the runs of all comparisons together")
	flag.BoolVar(&s.assert, "assert", false, "end with status 1 when a target is missed")
	flag.BoolVar(&s.verbose, "v", false, "print each run")
	flag.StringVar(&s.Peers, "peers", "benchmarks/peers", "the `directory` of the module that the peers are built from")
	flag.StringVar(&s.out, "out", "benchmarks/results", "store the results in this `directory`; empty: nowhere")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quick:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	s.Budget = time.Duration(s.seconds * float64(time.Second))
	if s.verbose {
		s.Runs = os.Stderr
	}
	f := &results.File{
		Suite: "quick", Began: time.Now().Truncate(time.Second), Machine: host.Machine(), Versions: host.Versions(), Peers: beside.PeerSettings,
	}
	f.Commit, f.Modified = host.Commit(ctx)
	s.Versions = f.Versions
	err := beside.Run(ctx, s.Settings, func(c results.Comparison) {
		f.Comparisons = append(f.Comparisons, c)
		fmt.Println(c.Line())
		if c.Error == "" {
			fmt.Printf("# %s %s\n", c.ID, c.Note)
		}
	})
	f.Seconds = time.Since(f.Began).Seconds()
	if errors.Is(err, beside.ErrNone) {
		return err
	}
	table(f.Comparisons)
	if s.out != "" {
		path, serr := results.Store(s.out, f)
		if serr != nil {
			return errors.Join(err, serr)
		}
		fmt.Fprintln(os.Stderr, "stored as", path)
	}
	if s.assert && err == nil {
		return judge(f.Comparisons)
	}
	return err
}

// table is for people.
func table(all []results.Comparison) {
	t := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\ncomparison\tours\tpeer\tunit\tratio\ttarget\t\n")
	for _, c := range all {
		ours, theirs := c.Medians()
		peer, ratio := "-", "-"
		if theirs != 0 && c.Error == "" {
			peer, ratio = fmt.Sprintf("%.4g", theirs), fmt.Sprintf("%.2f", ours/theirs)
		}
		fmt.Fprintf(t, "%s\t%.4g\t%s\t%s\t%s\t%s\t%s\n", c.ID, ours, peer, c.Unit, ratio, c.Aim(), c.Judge())
	}
	_ = t.Flush()
}

// judge is errMissed unless every target was met and nothing was skipped.
func judge(all []results.Comparison) error {
	for _, c := range all {
		if v := c.Judge(); v != results.Met && v != results.Untargeted {
			return errMissed
		}
	}
	return nil
}
