// Quick compares pipes with the plain mangos sockets they are built on, in one
// process over loopback, within a minute:
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
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
)

// comparison is one line of the result.
type comparison struct {
	id     string
	size   int
	share  float64 // of the budget
	lone   bool    // latency of lone messages, instead of throughput
	target float64 // at least; for lone messages, at most
}

var comparisons = []comparison{
	{id: "pipe.tcp.64B.vs.mangos", size: 64, share: 0.25, target: 16},
	{id: "pipe.tcp.1KiB.vs.mangos", size: 1 << 10, share: 0.25, target: 4},
	{id: "pipe.tcp.64KiB.vs.mangos", size: 64 << 10, share: 0.25, target: 0.9},
	{id: "pipe.lone.p50.vs.mangos", size: 64, share: 0.25, lone: true, target: 1.5},
}

func (c comparison) met(r bench.Result) bool {
	if c.lone {
		return r.Ratio() <= c.target
	}
	return r.Ratio() >= c.target
}

func (c comparison) aim() string {
	if c.lone {
		return fmt.Sprintf("≤ %g", c.target)
	}
	return fmt.Sprintf("≥ %g", c.target)
}

// A run of lone messages is short, so that the sides alternate often: pairs of
// them make 3,500 samples for each.
const (
	pairs   = 7
	samples = 500
	pause   = 150 * time.Microsecond // a timer makes it about 1 ms
)

var errMissed = errors.New("a target was missed")

type settings struct {
	only       string
	seconds    float64
	assert     bool
	verbose    bool
	side       string
	cpuProfile string
	memProfile string
}

func main() {
	var s settings
	flag.StringVar(&s.only, "only", "", "run only comparisons whose id begins with this")
	flag.Float64Var(&s.seconds, "seconds", 44, "`budget` for the runs of all comparisons together")
	flag.BoolVar(&s.assert, "assert", false, "end with status 1 when a target is missed")
	flag.BoolVar(&s.verbose, "v", false, "print each run")
	flag.StringVar(&s.side, "side", "", "measure only this side, `ours or peer`, against itself: for profiles")
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
	// A lost message would otherwise be waited for.
	late := fmt.Errorf("not done after %g s", s.seconds+30)
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration((s.seconds+30)*float64(time.Second)), late)
	defer cancel()
	// A link that dies shows in the numbers only as a bad one: say so. While
	// everything ends, links do.
	level := new(slog.LevelVar)
	if level.Set(slog.LevelWarn); s.verbose {
		level.Set(slog.LevelInfo)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ours := bench.Side{Name: "ours", To: bench.NewReceiver()}
	pipe, err := bench.Penstock(ctx, ours.To, log)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, pipe) }()
	peer := bench.Side{Name: "peer", To: bench.NewReceiver()}
	mangos, err := bench.Mangos(ctx, peer.To)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, mangos) }()
	defer level.Set(slog.LevelError)
	ours.Link, peer.Link = pipe, mangos
	switch s.side {
	case "":
	case ours.Name:
		peer = ours
	case peer.Name:
		ours = peer
	default:
		return fmt.Errorf("side %q: there are ours and peer", s.side)
	}
	profiled, err := profile(s)
	if err != nil {
		return err
	}
	err = compare(ctx, s, ours, peer)
	return errors.Join(err, profiled())
}

// closing ends a link. After a fault only the fault is of interest: what it
// left undelivered is bound to be in the way.
func closing(err error, link bench.Link) error {
	if cerr := link.Close(); err == nil {
		return cerr
	}
	return err
}

func compare(ctx context.Context, s settings, ours, peer bench.Side) error {
	chosen, shares := []comparison{}, 0.0
	for _, c := range comparisons {
		if strings.HasPrefix(c.id, s.only) {
			chosen, shares = append(chosen, c), shares+c.share
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no comparison begins with %q", s.only)
	}
	table := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\ncomparison\tours\tpeer\tunit\tratio\ttarget\t\n")
	var missed error
	for _, c := range chosen {
		plan := bench.Plan{Budget: time.Duration(s.seconds * c.share / shares * float64(time.Second)), Pairs: pairs, Runs: io.Discard}
		if s.verbose {
			plan.Runs = os.Stderr
		}
		r, err := c.run(ctx, ours, peer, plan)
		if err != nil {
			return err
		}
		fmt.Println(r)
		if r.Note != "" {
			fmt.Printf("# %s %s\n", r.ID, r.Note)
		}
		verdict := "met"
		if !c.met(r) {
			verdict = "MISSED"
			missed = errMissed
		}
		fmt.Fprintf(table, "%s\t%.4g\t%.4g\t%s\t%.2f\t%s\t%s\n", r.ID, r.Ours, r.Peer, r.Unit, r.Ratio(), c.aim(), verdict)
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

func (c comparison) run(ctx context.Context, ours, peer bench.Side, plan bench.Plan) (bench.Result, error) {
	if c.lone {
		return bench.Latencies(ctx, c.id, c.size, samples, pause, ours, peer, plan)
	}
	return bench.Rates(ctx, c.id, c.size, ours, peer, plan)
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
