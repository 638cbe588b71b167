package suite

// What all runs share: an etcd that carries addresses only.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
)

type bed struct {
	etcd   *store // for pipes: no message passes through it
	runs   int
	full   map[string][]float64 // by scenario: messages a second of its runs so far
	broken map[string]float64   // by series: the rate from which on it is not kept to
	scale  int                  // of a hundred: how much of much
}

func openBed(ctx context.Context) (*bed, error) {
	etcd, err := openStore(ctx, inside, false)
	if err != nil {
		return nil, err
	}
	return &bed{etcd: etcd, full: map[string][]float64{}, broken: map[string]float64{}, scale: 100}, nil
}

// prefix is a namespace of one run.
func (b *bed) prefix() string {
	b.runs++
	return fmt.Sprintf("/bench-%d", b.runs)
}

// pipes starts runtimes with a namespace of their own.
func (b *bed) pipes() scenario.Start { return b.etcd.start(b.prefix()) }

func (b *bed) close() error { return b.etcd.close() }

// note keeps the speed of a run.
func (b *bed) note(id string, r results.Run) {
	if !r.Failed() {
		b.full[id] = append(b.full[id], r.Figures[results.PerSecond])
	}
}

// most is the speed of a scenario in this suite.
func (b *bed) most(id string) (float64, error) {
	if len(b.full[id]) == 0 {
		return 0, fmt.Errorf("it runs at a share of the speed of %s, which is not known; run that, too", id)
	}
	return results.Median(b.full[id]), nil
}
