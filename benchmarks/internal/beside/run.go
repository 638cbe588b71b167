package beside

// The contests, one after the other.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

// Settings of a use.
type Settings struct {
	Full   bool          // sides are opened again for each contest, and there are more rounds
	Only   string        // what an id begins with
	Budget time.Duration // of all contests together
	Runs   io.Writer     // gets a line for each run; nil: none
	Peers  string        // the directory of the module that has the peers

	// Versions gets those of the peers' modules; nil: they are not wanted.
	Versions map[string]string
}

// ErrNone is the error of a use that no comparison is chosen for.
var ErrNone = errors.New("no comparison begins with that")

// Placement is where both sides of each comparison run.
const Placement = "sender, receiver and broker in processes of their own, on one machine; the actors of actor.tell and the ends of pipe.inproc in one process"

// Run does the chosen contests and calls each with every comparison. It blocks for about
// the budget, and a minute or two more when the peers are built for the first time. A
// message that was lost, came twice, out of order or damaged fails the comparisons of that
// system, and so does a system that does not start. The others go on, and Run returns the
// failures as one error.
func Run(ctx context.Context, s Settings, each func(results.Comparison)) (err error) {
	b := &bed{systems: systems.All(), peers: s.Peers, fresh: s.Full, log: os.Stderr}
	if b.own, err = os.Executable(); err != nil {
		return err
	}
	return run(ctx, s, b, contests, each)
}

// What a use takes besides sending: the opening of sides, and what happens between runs.
const (
	opening = 1200 * time.Millisecond // of a contest with new sides
	between = 60 * time.Millisecond   // of a run
	least   = 100 * time.Millisecond  // a run
	rounds  = 3
	more    = 5 // rounds, of a full use
)

func run(ctx context.Context, s Settings, b *bed, all []contest, each func(results.Comparison)) (err error) {
	todo := chosen(of(all, s.Full), s.Only)
	if len(todo) == 0 && len(chosen(all, s.Only)) > 0 {
		return fmt.Errorf("%w in a quick use: %q is compared in a full one", ErrNone, s.Only)
	} else if len(todo) == 0 {
		return fmt.Errorf("%w: %q", ErrNone, s.Only)
	}
	if s.Runs == nil {
		s.Runs = io.Discard
	}
	defer b.forget()
	end := time.Now().Add(s.Budget)
	if b.needsPeers(todo) {
		b.build(ctx)
	}
	if s.Versions != nil && b.program != "" {
		maps.Copy(s.Versions, host.VersionsOf(b.program))
	}
	if enough := time.Now().Add(s.Budget * 3 / 4); end.Before(enough) {
		end = enough // that the build took long, as the first does, is not counted
	}
	defer func() { err = errors.Join(err, b.close()) }()
	rounds := rounds
	if s.Full {
		rounds = more
	}
	var faults []error
	for i, c := range todo {
		if ctx.Err() != nil {
			return errors.Join(append(faults, context.Cause(ctx))...)
		}
		if err := b.prepare(c); err != nil {
			faults = append(faults, err)
		}
		c.run.For = max(least, time.Duration(c.share*float64(unit(todo[i:], time.Until(end), rounds, s.Full))))
		faults = append(faults, c.perform(ctx, b, rounds, s.Runs, each))
	}
	return errors.Join(faults...)
}

// unit is how long a run with share 1 takes, so that all contests are done when no time is
// left.
func unit(todo []contest, left time.Duration, rounds int, fresh bool) time.Duration {
	shares := 0.0
	var kind kind
	for _, c := range todo {
		if fresh || c.kind != kind {
			left -= opening
		}
		kind = c.kind
		runs := len(c.systems()) * (rounds + 1) // one for warming up
		left -= time.Duration(runs) * between
		each := c.share
		if c.run.Later {
			each *= 2 // what is put is consumed
		}
		shares += float64(runs) * each
	}
	return time.Duration(float64(max(0, left)) / shares)
}

// perform does the rounds of one contest and tells what came of each comparison.
func (c contest) perform(ctx context.Context, b *bed, rounds int, log io.Writer, each func(results.Comparison)) error {
	outcomes, faults := map[system][]side.Outcome{}, map[system]error{}
	for round := range rounds + 1 {
		for _, s := range c.systems() {
			if faults[s] != nil {
				continue
			}
			out, err := c.once(ctx, b, s)
			switch {
			case err != nil:
				faults[s] = err
				b.drop(c, s)
			case round > 0:
				outcomes[s] = append(outcomes[s], out)
				fmt.Fprintf(log, "%s round %d %s: %.0f/s of %d, read %.0f/s, %.0f ns of CPU each\n",
					c.rows[0].id, round, s.name, out.PerSec, out.Count, out.Read, cost(out))
			}
		}
	}
	var failed []error
	for _, r := range c.rows {
		for _, p := range r.peers {
			got := r.compare(p, outcomes)
			for _, s := range []system{r.ours, p.system} {
				switch err := faults[s]; {
				case err == nil || got.Error != "":
				case errors.Is(err, side.ErrMissing):
					got.Error = err.Error()
				default:
					got.Error, got.Failed = err.Error(), true
					failed = append(failed, fmt.Errorf("%s: %w", got.ID, err))
				}
			}
			each(got)
		}
	}
	return errors.Join(failed...)
}

// once is one run of one system.
func (c contest) once(ctx context.Context, b *bed, s system) (side.Outcome, error) {
	// What hangs is a fault, too.
	limit := 10*c.run.For + time.Minute
	opened, err := b.side(ctx, c, s)
	if err != nil {
		return side.Outcome{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s", limit))
	defer cancel()
	return opened.Run(ctx, c.run)
}

// compare is a comparison as files keep it.
func (r row) compare(p peer, outcomes map[system][]side.Outcome) results.Comparison {
	theirs := p.figure
	if theirs == sameFigure {
		theirs = r.figure
	}
	got := results.Comparison{
		ID: p.id(r), Peer: p.system.name, Unit: r.figure.unit(), Target: p.target, Less: r.figure.latency(), Placement: Placement,
	}
	var ours, other float64
	got.Ours, got.Took.Ours, ours = values(r.figure, outcomes[r.ours])
	got.Theirs, got.Took.Theirs, other = values(theirs, outcomes[p.system])
	got.Note = fmt.Sprintf("cpu ours=%.0f peer=%.0f ns/msg of all processes", ours, other)
	return got
}

// values are the figures of runs, the latencies of all of them, and what a message cost.
func values(f figure, outcomes []side.Outcome) (each []float64, took *results.Histogram, cpu float64) {
	var costs []float64
	for _, o := range outcomes {
		each, costs = append(each, f.value(o)), append(costs, cost(o))
		if h := f.latencies(o); h != nil {
			if took == nil {
				took = results.NewHistogram() // runs count for other comparisons, too
			}
			took.Merge(h)
		}
	}
	return each, took, results.Median(costs)
}

// cost is nanoseconds of processor time for a message.
func cost(o side.Outcome) float64 { return o.CPU * 1e9 / float64(max(1, o.Count)) }
