package penstocktest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// Runtimes for tests, and the end of their leases.

// stopAfter is how long a runtime may drain when its test is over.
const stopAfter = 5 * time.Second

// spaces makes namespaces unique in the process.
var spaces atomic.Uint64

// Space makes a namespace for penstock.Prefix that names t and that no other
// call in this process answers: for runtimes that shall see one another.
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
// left. The outcome is logged and fails nothing; a test that cares calls Stop
// itself.
func Runtime(t testing.TB, s *Server, opts ...penstock.StartOption) *penstock.Runtime {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opts = append([]penstock.StartOption{
		penstock.EtcdConfig(s.Config()), penstock.Prefix(Space(t)), penstock.Listen("tcp://127.0.0.1:0"),
	}, opts...)

	s.starting.Lock()
	defer s.starting.Unlock()
	before, err := s.leases()
	if err != nil {
		t.Fatal("penstocktest: list leases: ", err)
	}
	rt, err := penstock.Start(ctx, opts...)
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopAfter)
		defer cancel()
		if err := rt.Stop(ctx); err != nil {
			t.Log("penstocktest: stop: ", err)
		}
	})
	after, err := s.leases()
	if err != nil {
		t.Fatal("penstocktest: list leases: ", err)
	}
	var fresh []clientv3.LeaseID
	for id := range after {
		if _, ok := before[id]; !ok {
			fresh = append(fresh, id)
		}
	}
	follow(t, rt, fresh)
	return rt
}

// ExpireLease revokes the lease of rt, as if etcd had not heard of rt for the
// whole of its time: every key of rt vanishes at once. Penstock is to notice,
// get another lease and put its keys back. rt comes from Runtime, on s.
//
// It returns when etcd has revoked the lease, not when rt knows:
// wait for messages.SessionLost and messages.SessionRenewed.
func ExpireLease(t testing.TB, s *Server, rt *penstock.Runtime) {
	t.Helper()
	held, ok := sessions.Load(rt)
	if !ok {
		t.Fatal("penstocktest: ExpireLease wants a runtime that Runtime started")
	}
	lease, err := held.(*holding).present()
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	err = s.with(func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, lease)
		return err
	})
	if err != nil {
		t.Fatal("penstocktest: revoke the lease: ", err)
	}
}

// sessions knows the lease of each *penstock.Runtime of this package, as a
// *holding.
var sessions sync.Map

// holding is what is known of a runtime's lease.
type holding struct {
	mu     sync.Mutex
	leases []clientv3.LeaseID // one, unless others were granted at the same moment
}

func (h *holding) present() (clientv3.LeaseID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.leases) != 1 {
		return 0, fmt.Errorf("cannot tell which lease is the runtime's: %d were granted while it started; start other clients of this etcd before or after", len(h.leases))
	}
	return h.leases[0], nil
}

func (h *holding) renewed(id clientv3.LeaseID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases = []clientv3.LeaseID{id}
}

// follow keeps account of rt's lease until t ends.
func follow(t testing.TB, rt *penstock.Runtime, first []clientv3.LeaseID) {
	h := &holding{leases: first}
	sessions.Store(rt, h)
	ctx, cancel := context.WithCancel(context.Background())
	events := rt.Events(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events {
			if e, ok := e.(messages.SessionRenewed); ok {
				h.renewed(clientv3.LeaseID(e.Lease))
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		sessions.Delete(rt)
	})
}
