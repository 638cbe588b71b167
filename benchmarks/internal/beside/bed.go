package beside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// What the comparisons run on: links for pipes, logs for topics, each opened
// when the first comparison wants them, one kind at a time, so that the idle
// ones do not stir.

const (
	oursName = "ours"
	peerName = "peer"
)

// bed is what is open.
type bed struct {
	side  string // measured against itself; empty: both
	log   *events
	peers string // directory of the module with the peers

	closers []io.Closer // of what is open, in the order of opening
	pipes   []bench.Side
	raw     bench.Side
	topics  *bench.Topics
	logs    []bench.LogSide

	dir     string // of what buildPeer made; empty when it did not begin
	program string
	noPeer  error // why there is no program
}

// events is the log of the runtimes. A link that dies shows in the numbers only
// as a bad one: it says so. While everything ends, links do.
type events struct {
	*slog.Logger
	level slog.LevelVar
	usual slog.Level
}

func newEvents(verbose bool) *events {
	e := &events{usual: slog.LevelWarn}
	if verbose {
		e.usual = slog.LevelInfo
	}
	e.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &e.level}))
	return e
}

// prepare opens what a kind needs and is not open, and closes the rest.
func (b *bed) prepare(ctx context.Context, k kind) error {
	switch {
	case k.pipes() && b.pipes == nil:
		if err := b.close(nil); err != nil {
			return err
		}
		return b.openPipes(ctx)
	case !k.pipes() && b.topics == nil:
		if err := b.close(nil); err != nil {
			return err
		}
		return b.openTopics(ctx)
	}
	return nil
}

func (b *bed) openPipes(ctx context.Context) error {
	b.log.level.Set(b.log.usual)
	ours := bench.Side{Name: oursName, To: bench.NewReceiver()}
	peer := bench.Side{Name: peerName, To: bench.NewReceiver()}
	var err error
	if ours.Link, err = bench.Penstock(ctx, ours.To, b.log.Logger); err != nil {
		return err
	}
	b.closers = append(b.closers, ours.Link)
	if peer.Link, err = bench.Mangos(ctx, peer.To); err != nil {
		return err
	}
	b.closers = append(b.closers, peer.Link)
	b.raw = bench.Side{Name: peerName, To: bench.NewReceiver()}
	if b.raw.Link, err = bench.RawTCP(ctx, b.raw.To); err != nil {
		return err
	}
	b.closers = append(b.closers, b.raw.Link)
	b.pipes = sided(b.side, ours, peer)
	return nil
}

func (b *bed) openTopics(ctx context.Context) error {
	b.log.level.Set(b.log.usual)
	ours, peer := bench.LogSide{Name: oursName}, bench.LogSide{Name: peerName}
	var err error
	if b.topics, err = bench.NewTopics(ctx, b.log.Logger); err != nil {
		return err
	}
	b.closers = append(b.closers, b.topics)
	ours.Log = b.topics
	if b.program != "" {
		if peer.Log, err = load.Remote(ctx, b.program, os.Stderr); err != nil {
			return err
		}
		b.closers = append(b.closers, peer.Log)
	}
	b.logs = sided(b.side, ours, peer)
	return nil
}

// sided is both, or one of them twice.
func sided[T any](side string, ours, peer T) []T {
	switch side {
	case oursName:
		return []T{ours, ours}
	case peerName:
		return []T{peer, peer}
	default:
		return []T{ours, peer}
	}
}

// close ends what is open. After a fault only the fault is of interest: what it
// left undelivered is bound to be in the way.
func (b *bed) close(fault error) error {
	b.log.level.Set(slog.LevelError)
	var errs []error
	for len(b.closers) > 0 {
		last := len(b.closers) - 1
		errs = append(errs, b.closers[last].Close())
		b.closers = b.closers[:last]
	}
	b.pipes, b.topics, b.logs = nil, nil, nil
	if fault != nil {
		return nil
	}
	return errors.Join(errs...)
}

// buildPeer builds JetStream, or notes why that does not work here.
func (b *bed) buildPeer(ctx context.Context) {
	b.noPeer = func() (err error) {
		if b.dir, err = os.MkdirTemp("", "penstock-peers-"); err != nil {
			return err
		}
		program := filepath.Join(b.dir, "jetstream")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./jetstream")
		build.Dir = b.peers
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build it in %s: %w %s", b.peers, err, strings.Join(strings.Fields(string(out)), " "))
		}
		b.program = program
		return nil
	}()
}

func (b *bed) forgetPeer() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // it is in the system's directory for such things
	}
}

// missing says why a comparison has no peer; empty when it has.
func (b *bed) missing(c comparison) string {
	if c.kind.peer() != jetstream || b.noPeer == nil {
		return ""
	}
	return fmt.Sprintf("JetStream is unavailable: %v", b.noPeer)
}
