package runtimes_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: Stop and Leave obey their contexts, however much there is to end and
// however silent etcd is.
func TestStopObeysItsContextWithoutEtcd(t *testing.T) {
	t.Parallel()
	for name, silence := range map[string]func(*penstocktest.Proxy){
		"hung": (*penstocktest.Proxy).Hang, "dead": (*penstocktest.Proxy).Cut,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
			cfg := harness.Etcd.Config()
			cfg.Endpoints = []string{proxy.Addr()}
			rt, err := penstock.Start(harness.Context(t), penstock.EtcdConfig(cfg), penstock.Prefix(penstocktest.Space(t)), penstock.Listen("tcp://127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 8 {
				harness.Register(t, rt, fmt.Sprintf("d%d", i))
				harness.Join(t, rt, fmt.Sprintf("d%d", i), "g")
			}
			leaver := harness.Join(t, rt, "d0", "leaver")
			silence(proxy)

			timed := func(what string, end func(context.Context) error) {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				began := time.Now()
				err := end(ctx)
				t.Logf("%s: %s, %v", what, time.Since(began), err)
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("%s took %s, its context one second", what, took)
				}
			}
			timed("Leave", leaver.Leave)
			timed("Stop", rt.Stop)
		})
	}
}
