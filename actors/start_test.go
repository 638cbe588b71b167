package actors

// How tests begin an etcd and an engine.

import (
	"context"
	"testing"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// beginEtcd starts an etcd that ends with t.
func beginEtcd(t *testing.T) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(t.Context(), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

// beginAlone starts an engine with an etcd of its own; both end with t. ctx bounds
// the test. What Stop returns is not looked at.
func beginAlone(t *testing.T, cfg Config) (ctx context.Context, e *Engine) {
	t.Helper()
	cfg.Etcd = beginEtcd(t).Config()
	ctx, cancel := context.WithTimeout(context.Background(), crashPatience)
	t.Cleanup(cancel)
	e, err := Start(ctx, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop(ctx) })
	return ctx, e
}
