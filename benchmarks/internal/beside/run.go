package beside

// The comparisons, one after the other.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Settings of a use.
type Settings struct {
	Full    bool          // also what a quick use leaves out
	Only    string        // what an id begins with
	Budget  time.Duration // of the runs of all comparisons together
	Verbose bool          // print each run
	Side    string        // measure only this side, ours or peer, against itself; empty: both
	Peers   string        // the directory of the module that JetStream is built from
}

// ErrNone is the error of a use that no comparison is chosen for.
var ErrNone = errors.New("no comparison begins with that")

// PeerSettings are those of the peers, in words.
var PeerSettings = map[string]string{
	string(mangos):    "plain PUSH and PULL, or REQ and REP, over tcp in the same process, with their defaults: no acknowledgements, no groups",
	string(rawTCP):    "a length and the bytes over one connection in the same process, through buffers of 64 KiB: no acknowledgements; the limit",
	string(jetstream): "a file store with its defaults, which sync every two minutes; a server and its clients in a process of their own; asynchronous publishing, a durable pull consumer",
	string(plainEtcd): "one put of the same bytes after the other into the same etcd, which syncs each",
}

// Run performs the chosen comparisons and calls each with what came of one. It
// blocks for about the budget, and a minute more when JetStream is built for the first
// time. It returns an error when a message was lost, came twice, out of order or
// damaged, and when something did not start.
func Run(ctx context.Context, s Settings, each func(results.Comparison)) (err error) {
	chosen, shares := []comparison{}, 0.0
	for _, c := range comparisons {
		if strings.HasPrefix(c.id, s.Only) && (s.Full || !c.full) {
			chosen, shares = append(chosen, c), shares+c.share
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("%w: %q", ErrNone, s.Only)
	}
	if s.Side != "" && s.Side != oursName && s.Side != peerName {
		return fmt.Errorf("side %q: there are %s and %s", s.Side, oursName, peerName)
	}
	b := &bed{side: s.Side, log: newEvents(s.Verbose), peers: s.Peers}
	if needs(chosen, jetstream) {
		defer b.forgetPeer()
		b.buildPeer(ctx) // before the clock runs: the first time, it takes a minute
	}
	// A lost message would otherwise be waited for.
	ctx, cancel := context.WithTimeoutCause(ctx, s.Budget+time.Minute, fmt.Errorf("not done after %s", s.Budget+time.Minute))
	defer cancel()
	defer func() { err = errors.Join(err, b.close(err)) }()
	for _, c := range chosen {
		plan := bench.Plan{Budget: time.Duration(float64(s.Budget) * c.share / shares), Pairs: c.pairs, Runs: io.Discard}
		if s.Verbose {
			plan.Runs = os.Stderr
		}
		if err := b.prepare(ctx, c.kind); err != nil {
			return err
		}
		r, err := c.run(ctx, b, plan)
		if err != nil {
			return err
		}
		each(c.stored(r, b.missing(c)))
	}
	return nil
}
