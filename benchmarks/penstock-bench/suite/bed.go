package suite

// What all runs share: an etcd that carries addresses only.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

type bed struct {
	etcd *embedded.Server // for pipes: no message passes through it
	runs int
	full map[string][]float64 // by scenario: messages a second of its runs so far
}

func openBed(ctx context.Context) (*bed, error) {
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		return nil, err
	}
	return &bed{etcd: etcd, full: map[string][]float64{}}, nil
}

// pipes starts runtimes with a namespace of their own.
func (b *bed) pipes() scenario.Start {
	b.runs++
	return scenario.Local(b.etcd.Config(), fmt.Sprintf("/bench-%d", b.runs))
}

func (b *bed) close() error { return b.etcd.Close() }

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
