// Quick compares pipes with the plain mangos sockets they are built on, and
// topics with NATS JetStream and with plain puts into the same etcd, over
// loopback, within a minute and a half:
//
//	go run ./benchmarks/quick [-only id] [-seconds n] [-assert] [-v]
//
// Each comparison alternates runs of both and prints the medians on standard
// output, one line each:
//
//	RATIO pipe.tcp.64B.vs.mangos 17.3 ours=5.1e+06 peer=2.9e+05 unit=msg/s
//
// and a table for people on standard error. A lost, repeated, reordered or
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
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
)

var errMissed = errors.New("a target was missed")

type settings struct {
	only       string
	seconds    float64
	assert     bool
	verbose    bool
	side       string
	peers      string
	cpuProfile string
	memProfile string
}

func main() {
	var s settings
	flag.StringVar(&s.only, "only", "", "run only comparisons whose id begins with this")
	flag.Float64Var(&s.seconds, "seconds", 64, "`budget` for the runs of all comparisons together")
	flag.BoolVar(&s.assert, "assert", false, "end with status 1 when a target is missed")
	flag.BoolVar(&s.verbose, "v", false, "print each run")
	flag.StringVar(&s.side, "side", "", "measure only this side, `ours or peer`, against itself: for profiles")
	flag.StringVar(&s.peers, "peers", "benchmarks/peers", "the `directory` of the module that JetStream is built from")
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

func run(ctx context.Context, s settings) (err error) {
	chosen, shares := []comparison{}, 0.0
	for _, c := range comparisons {
		if strings.HasPrefix(c.id, s.only) {
			chosen, shares = append(chosen, c), shares+c.share
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no comparison begins with %q", s.only)
	}
	if s.side != "" && s.side != oursName && s.side != peerName {
		return fmt.Errorf("side %q: there are %s and %s", s.side, oursName, peerName)
	}
	b := &bed{side: s.side, log: newEvents(s.verbose), peers: s.peers}
	if needs(chosen, jetstream) {
		defer b.forgetPeer()
		b.buildPeer(ctx) // before the clock runs: the first time, it takes a minute
	}
	// A lost message would otherwise be waited for.
	late := fmt.Errorf("not done after %g s", s.seconds+60)
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration((s.seconds+60)*float64(time.Second)), late)
	defer cancel()
	profiled, err := profile(s)
	if err != nil {
		return err
	}
	err = compare(ctx, s, b, chosen, shares)
	return errors.Join(err, b.close(err), profiled())
}

// compare runs the chosen comparisons and prints what comes of them.
func compare(ctx context.Context, s settings, b *bed, chosen []comparison, shares float64) error {
	table := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\ncomparison\tours\tpeer\tunit\tratio\ttarget\t\n")
	var missed error
	for _, c := range chosen {
		plan := bench.Plan{Budget: time.Duration(s.seconds * c.share / shares * float64(time.Second)), Pairs: c.pairs, Runs: io.Discard}
		if s.verbose {
			plan.Runs = os.Stderr
		}
		if err := b.prepare(ctx, c.kind); err != nil {
			return err
		}
		r, err := c.run(ctx, b, plan)
		if err != nil {
			return err
		}
		fmt.Println(line(r))
		for _, note := range []string{r.Note, b.missing(c)} {
			if note != "" {
				fmt.Printf("# %s %s\n", r.ID, note)
			}
		}
		verdict := c.judge(r)
		if verdict != met {
			missed = errMissed
		}
		peer, ratio := fmt.Sprintf("%.4g", r.Peer), fmt.Sprintf("%.2f", r.Ratio())
		if verdict == unavailable {
			peer, ratio = "-", "-"
		}
		fmt.Fprintf(table, "%s\t%.4g\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Ours, peer, r.Unit, ratio, c.aim(), verdict)
	}
	if s.side != "" {
		return nil
	}
	_ = table.Flush()
	if !s.assert {
		return nil
	}
	return missed
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
