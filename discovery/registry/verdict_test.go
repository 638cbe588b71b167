package registry

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

func TestDecide(t *testing.T) {
	leases := map[clientv3.LeaseID]struct{}{1: {}, 2: {}}
	at := func(value string, lease clientv3.LeaseID) seen {
		return seen{kv: discovery.KV{Key: "k", Value: []byte(value), CreateRevision: 3, ModRevision: 5, Lease: lease}}
	}
	leased := want{Entry: Entry{Key: "k", Value: []byte("v"), Leased: true}, lease: 2}
	plain := want{Entry: Entry{Key: "k", Value: []byte("v")}, was: [][]byte{[]byte("old")}}
	gone := func(w want) want { w.gone = true; return w }
	for _, c := range []struct {
		name string
		want want
		seen seen
		then verdict
	}{
		{"leased, absent", leased, seen{}, create},
		{"leased, ours", leased, at("v", 2), settled},
		{"leased, ours under an old lease", leased, at("v", 1), update},
		{"leased, ours with an old value", leased, at("old", 2), update},
		{"leased, somebody's lease", leased, at("v", 9), taken},
		{"leased, without a lease", leased, at("v", 0), taken},
		{"leased, gone, absent", gone(leased), seen{}, settled},
		{"leased, gone, ours", gone(leased), at("x", 1), remove},
		{"leased, gone, somebody's", gone(leased), at("v", 9), settled},

		{"plain, absent", plain, seen{}, create},
		{"plain, same value", plain, at("v", 0), settled},
		{"plain, old value", plain, at("old", 0), update},
		{"plain, other value", plain, at("x", 0), taken},
		{"plain, same value under a lease", plain, at("v", 1), taken},
		{"plain, gone, old value", gone(plain), at("old", 0), remove},
		{"plain, gone, other value", gone(plain), at("x", 0), settled},
	} {
		if got := decide(c.want, c.seen, leases); got != c.then {
			t.Errorf("%s: got %d, want %d", c.name, got, c.then)
		}
	}
}

func TestWritten(t *testing.T) {
	before := seen{kv: discovery.KV{Key: "k", Value: []byte("old"), CreateRevision: 3, ModRevision: 5, Lease: 1}}
	w := want{Entry: Entry{Key: "k", Value: []byte("v"), Leased: true}, lease: 2}
	for _, c := range []struct {
		v                   verdict
		create, mod, leased int64
	}{
		{create, 9, 9, 2},
		{update, 3, 9, 2}, // a put over an existing key keeps its CreateRevision
		{settled, 3, 5, 1},
		{remove, 0, 0, 0},
	} {
		got := w.written(before, c.v, 9)
		if got.CreateRevision != c.create || got.ModRevision != c.mod || int64(got.Lease) != c.leased {
			t.Errorf("%d: %+v", c.v, got)
		}
	}
}

func TestFullBatchIsOneTransaction(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	// A full batch fits: that many conditions, puts and reads.
	var batch txn
	wants := make([]want, MaxBatch)
	for i := range wants {
		wants[i] = want{Entry: Entry{Key: p + strings.Repeat("x", i+1), Value: []byte("v")}}
		batch.add(wants[i], seen{}, create)
	}
	if _, err := New(c, Config{}).commit(etcdtest.Context(t), batch, wants); err != nil {
		t.Error(err)
	}
	for i := range 129 {
		batch.cmps = append(batch.cmps, never(p+strings.Repeat("y", i)))
	}
	_, err := New(c, Config{}).commit(etcdtest.Context(t), batch, wants)
	if !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Error(err)
	}
}
