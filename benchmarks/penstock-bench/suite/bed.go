package suite

// What all runs share: an etcd that carries addresses only.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

type bed struct {
	etcd *embedded.Server // for pipes: no message passes through it
	runs int
}

func openBed(ctx context.Context) (*bed, error) {
	etcd, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		return nil, err
	}
	return &bed{etcd: etcd}, nil
}

// pipes starts runtimes with a namespace of their own.
func (b *bed) pipes() scenario.Start {
	b.runs++
	return scenario.Local(b.etcd.Config(), fmt.Sprintf("/bench-%d", b.runs))
}

func (b *bed) close() error { return b.etcd.Close() }
