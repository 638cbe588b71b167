package penstocktest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
)

// Runtimes for tests, and the end of their leases.

// stopAfter is how long a runtime may drain when its test is over.
const stopAfter = 5 * time.Second

// spaces makes namespaces unique in the process.
var spaces atomic.Uint64

// Space makes a namespace for penstock.Prefix that names t and that no other
// call in this process returns: for runtimes that shall see one another.
func Space(t testing.TB) string {
	fit := func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}
	name := strings.Map(fit, t.Name())
	return fmt.Sprintf("/test/%.80s-%d", strings.TrimLeft(name, "-_"), spaces.Add(1))
}

// Runtime starts a runtime on s, in a namespace of its own, listening on the
// loopback. opts come after these defaults, so penstock.Prefix(Space(t)) lets
// several runtimes meet.
//
// The runtime is stopped with t: it is given 5 s to drain, then gives up what is
// left. It does not wait where all that is left is for groups that no member is in.
// The outcome is logged and fails nothing; a test that cares calls Stop itself.
func Runtime(t testing.TB, s *Server, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opts = append([]penstock.StartOption{
		penstock.EtcdConfig(s.Config()), penstock.Prefix(Space(t)), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	t.Cleanup(func() {
		if err := stop(rt); err != nil {
			t.Log("penstocktest: stop: ", err)
		}
	})
	return rt
}

// stop stops rt, and gives up what is left after stopAfter, or when rt was stranded for
// several looks.
func stop(rt *penstock.Runtime) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopAfter)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- rt.Stop(ctx) }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for inRow := 0; ; {
		select {
		case err := <-stopped:
			return err
		case <-look.C:
		}
		if inRow++; !stranded(rt.Stats()) {
			inRow = 0
		}
		if inRow == strandedLooks {
			cancel()
		}
	}
}

// strandedLooks is how many looks in a row must find a runtime stranded: a member that
// redials is away for a moment.
const strandedLooks = 10

// stranded reports whether a runtime that stops has messages left, and nobody to deliver
// them to.
func stranded(s penstock.Stats) bool {
	left := 0
	for _, p := range s.Pipes {
		if p.Pending > 0 && p.Links > 0 {
			return false
		}
		left += p.Pending
	}
	for _, m := range s.Members {
		if m.Waiting > 0 {
			return false
		}
	}
	for _, t := range s.Topics {
		if t.QueuedBytes > 0 {
			return false
		}
	}
	return left > 0
}

// ExpireLease revokes the lease of rt, as if etcd had not heard of rt for the
// whole of its time: every key of rt vanishes at once. Penstock is to notice,
// get another lease and put its keys back. rt is any runtime on s.
//
// It returns when etcd has revoked the lease, not when rt knows:
// wait for messages.SessionLost and messages.SessionRenewed.
func ExpireLease(t testing.TB, s *Server, rt *penstock.Runtime) {
	t.Helper()
	lease := clientv3.LeaseID(rt.Engine().Lease())
	if lease == clientv3.NoLease {
		t.Fatal("penstocktest: the runtime has no lease at this moment; wait for messages.SessionRenewed")
	}
	err := s.with(func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, lease)
		return err
	})
	if err != nil {
		t.Fatal("penstocktest: revoke the lease: ", err)
	}
}
