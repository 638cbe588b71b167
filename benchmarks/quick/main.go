// Quick compares pipes with the plain mangos sockets they are built on, and
// topics with NATS JetStream and with plain puts into the same etcd, over
// loopback, within a minute and a half:
//
//	go run ./benchmarks/quick [-only id] [-seconds n] [-assert] [-v] [-out dir]
//
// Each comparison alternates runs of both and prints the medians on standard
// output, one line each:
//
//	RATIO pipe.tcp.64B.vs.mangos 17.3 ours=5.1e+06 peer=2.9e+05 unit=msg/s
//
// and a table for people on standard error, and stores all runs, and the latencies as
// HDR histograms, in benchmarks/results for reports. A lost, repeated, reordered or
// damaged message ends it with status 1; so does a missed target with -assert.
//
// JetStream is built from the nested module benchmarks/peers and runs in a
// process of its own. Where that cannot be built, offline for instance, its
// lines say "unavailable" in place of the ratio, and why on a line that begins
// with #; -assert counts them as missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/beside"
	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

var errMissed = errors.New("a target was missed")

type settings struct {
	beside.Settings
	seconds    float64
	assert     bool
	out        string
	cpuProfile string
	memProfile string
}

func main() {
	var s settings
	flag.StringVar(&s.Only, "only", "", "run only comparisons whose id begins with this")
	flag.Float64Var(&s.seconds, "seconds", 64, "`budget` for the runs of all comparisons together")
	flag.BoolVar(&s.assert, "assert", false, "end with status 1 when a target is missed")
	flag.BoolVar(&s.Verbose, "v", false, "print each run")
	flag.StringVar(&s.Side, "side", "", "measure only this side, `ours or peer`, against itself: for profiles")
	flag.StringVar(&s.Peers, "peers", "benchmarks/peers", "the `directory` of the module that JetStream is built from")
	flag.StringVar(&s.out, "out", "benchmarks/results", "store the results in this `directory`; empty: nowhere")
	flag.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile of the runs to this `file`")
	flag.StringVar(&s.memProfile, "memprofile", "", "write an allocation profile to this `file`")
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
	profiled, err := profile(s)
	if err != nil {
		return err
	}
	f := &results.File{
		Suite: "quick", Began: time.Now().Truncate(time.Second), Machine: host.Machine(), Versions: host.Versions(), Peers: beside.PeerSettings,
	}
	f.Commit, f.Modified = host.Commit(ctx)
	err = beside.Run(ctx, s.Settings, func(c results.Comparison) {
		f.Comparisons = append(f.Comparisons, c)
		fmt.Println(c.Line())
		for _, note := range []string{c.Note, c.Error} {
			if note != "" {
				fmt.Printf("# %s %s\n", c.ID, note)
			}
		}
	})
	f.Seconds = time.Since(f.Began).Seconds()
	if err = errors.Join(err, profiled()); err != nil || s.Side != "" {
		return err
	}
	table(f.Comparisons)
	if s.out != "" {
		path, err := results.Store(s.out, f)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "stored as", path)
	}
	if s.assert {
		return judge(f.Comparisons)
	}
	return nil
}

// table is for people.
func table(all []results.Comparison) {
	t := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\ncomparison\tours\tpeer\tunit\tratio\ttarget\t\n")
	for _, c := range all {
		ours, theirs := c.Medians()
		peer, ratio := "-", "-"
		if theirs != 0 {
			peer, ratio = fmt.Sprintf("%.4g", theirs), fmt.Sprintf("%.2f", ours/theirs)
		}
		fmt.Fprintf(t, "%s\t%.4g\t%s\t%s\t%s\t%s\t%s\n", c.ID, ours, peer, c.Unit, ratio, c.Aim(), c.Judge())
	}
	_ = t.Flush()
}

// judge is errMissed unless every target was met.
func judge(all []results.Comparison) error {
	for _, c := range all {
		if c.Judge() != results.Met {
			return errMissed
		}
	}
	return nil
}

// profile begins what was asked for and answers what ends it.
func profile(s settings) (end func() error, err error) {
	var cpu *os.File
	if s.cpuProfile != "" {
		if cpu, err = os.Create(s.cpuProfile); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(err, cpu.Close())
		}
	}
	return func() (err error) {
		if cpu != nil {
			pprof.StopCPUProfile()
			err = cpu.Close()
		}
		if s.memProfile == "" {
			return err
		}
		f, ferr := os.Create(s.memProfile)
		if ferr != nil {
			return errors.Join(err, ferr)
		}
		runtime.GC()
		return errors.Join(err, pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}, nil
}
