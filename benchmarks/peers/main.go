// Peers compares pipes with other systems that can run in this process, the way
// benchmarks/quick compares them with mangos. It is a module of its own, so
// that they stay out of Penstock's.
//
//	cd benchmarks/peers && go run . [-only id] [-seconds n] [-v]
//
// The peer is core NATS with a queue group: a server in the middle, at most
// once, no acknowledgements. Pipes run with theirs, at least once.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
)

type comparison struct {
	id   string
	size int
	lone bool // latency of lone messages, instead of throughput
}

var comparisons = []comparison{
	{id: "pipe.tcp.64B.vs.nats", size: 64},
	{id: "pipe.tcp.1KiB.vs.nats", size: 1 << 10},
	{id: "pipe.tcp.16KiB.vs.nats", size: 16 << 10},
	{id: "pipe.lone.p50.vs.nats", size: 64, lone: true},
}

func main() {
	only := flag.String("only", "", "run only comparisons whose id begins with this")
	seconds := flag.Float64("seconds", 40, "`budget` for the runs of all comparisons together")
	verbose := flag.Bool("v", false, "print each run")
	flag.Parse()
	runs := io.Discard
	if *verbose {
		runs = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *seconds, runs)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, seconds float64, runs io.Writer) (err error) {
	// A lost message would otherwise be waited for.
	ctx, cancel := context.WithTimeout(ctx, time.Duration((seconds+30)*float64(time.Second)))
	defer cancel()
	ours := bench.Side{Name: "ours", To: bench.NewReceiver()}
	if ours.Link, err = bench.Penstock(ctx, ours.To, nil); err != nil {
		return err
	}
	defer func() { err = closing(err, ours.Link) }()
	peer := bench.Side{Name: "peer", To: bench.NewReceiver()}
	if peer.Link, err = queueGroupOver(ctx, peer.To); err != nil {
		return err
	}
	defer func() { err = closing(err, peer.Link) }()
	for _, c := range comparisons {
		if !strings.HasPrefix(c.id, only) {
			continue
		}
		plan := bench.Plan{Budget: time.Duration(seconds / float64(len(comparisons)) * float64(time.Second)), Pairs: 7, Runs: runs}
		var r bench.Result
		if c.lone {
			r, err = bench.Latencies(ctx, c.id, c.size, 500, 150*time.Microsecond, ours, peer, plan)
		} else {
			r, err = bench.Rates(ctx, c.id, c.size, ours, peer, plan)
		}
		if err != nil {
			return err
		}
		fmt.Printf("%v\n# %s %s\n", r, r.ID, r.Note)
	}
	return nil
}

// closing ends a link. After a fault only the fault is of interest.
func closing(err error, link bench.Link) error {
	if cerr := link.Close(); err == nil {
		return cerr
	}
	return err
}
