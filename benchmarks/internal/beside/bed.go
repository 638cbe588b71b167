package beside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

// What the contests run on: the sides, which are opened when the first contest wants
// them and stay open for the others of their kind, so that the idle ones do not stir.

// Main serves an end of a system when this process was started for that, and then ends
// it. A program that calls Run calls Main first.
func Main() { side.Main(systems.All()) }

type bed struct {
	own     string                 // the program that has these systems
	systems map[string]side.System // of this module
	peers   string                 // the directory of the module that has the others
	fresh   bool                   // open sides again for each contest
	log     io.Writer              // gets what the ends say on standard error

	kind  kind
	sides map[opened]*side.Side

	dir     string // of the peers' program, once it is built
	program string
	noPeers error // why there is no program
}

// opened is what tells sides apart.
type opened struct {
	system string
	at     side.Place
}

// prepare closes what the contest does not need.
func (b *bed) prepare(c contest) error {
	if c.kind == b.kind && !b.fresh {
		return nil
	}
	b.kind = c.kind
	return b.close()
}

// side is a system for a contest.
func (b *bed) side(ctx context.Context, c contest, s system) (*side.Side, error) {
	key := opened{s.name, c.at(s)}
	if got := b.sides[key]; got != nil {
		return got, nil
	}
	program := b.own
	if !b.has(s) {
		b.build(ctx)
		if program = b.program; b.noPeers != nil {
			return nil, fmt.Errorf("%w: %w", side.ErrMissing, b.noPeers)
		}
	}
	got, err := side.Start(ctx, program, s.name, key.at, b.log)
	if err != nil {
		return nil, err
	}
	if b.sides == nil {
		b.sides = map[opened]*side.Side{}
	}
	b.sides[key] = got
	return got, nil
}

// drop closes a side after a fault. What it left undelivered is bound to be in the way,
// so its end tells nothing.
func (b *bed) drop(c contest, s system) {
	key := opened{s.name, c.at(s)}
	if got := b.sides[key]; got != nil {
		_ = got.Close()
		delete(b.sides, key)
	}
}

func (b *bed) close() error {
	var errs []error
	for key, s := range b.sides {
		errs = append(errs, s.Close())
		delete(b.sides, key)
	}
	return errors.Join(errs...)
}

// needsPeers reports whether a contest has a system of the peers' module.
func (b *bed) needsPeers(all []contest) bool {
	return slices.ContainsFunc(all, func(c contest) bool {
		return slices.ContainsFunc(c.systems(), func(s system) bool { return !b.has(s) })
	})
}

func (b *bed) has(s system) bool {
	_, ok := b.systems[s.name]
	return ok
}

// build builds the peers' program, or notes why that does not work here.
func (b *bed) build(ctx context.Context) {
	if b.program != "" || b.noPeers != nil {
		return
	}
	b.noPeers = func() (err error) {
		if b.dir, err = os.MkdirTemp("", "penstock-peers-"); err != nil {
			return err
		}
		program := filepath.Join(b.dir, "peers")
		if exec.CommandContext(ctx, "pkg-config", "--exists", "libzmq").Run() == nil && b.compile(ctx, program, "-tags", "zmq") == nil {
			b.program = program
			return nil
		}
		if err := b.compile(ctx, program); err != nil {
			return err
		}
		b.program = program
		return nil
	}()
}

func (b *bed) compile(ctx context.Context, program string, flags ...string) error {
	build := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", program}, flags...), ".")...)
	build.Dir = b.peers
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the peers in %s: %w %.500s", b.peers, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

func (b *bed) forget() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // it is in the system's directory for such things
	}
}
