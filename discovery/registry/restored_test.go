package registry

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

// An etcd that was restored from a backup has again what was removed since, under
// a lease that does not end.
func TestRegistryRemovesWhatCameBack(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	cfg := fast
	cfg.Ours = func(key string) bool { return strings.HasPrefix(key, p+"members/") }
	r, _ := keep(t, c, cfg)
	lease := etcdtest.Grant(t, c)
	r.SetLease(lease)
	stays, gone, claim, others := p+"members/stays", p+"members/gone", p+"claims/0", p+"members/others"
	etcdtest.Must(t, r.PutAll(ctx, []Entry{leased(stays, "1"), leased(gone, "1")}))
	etcdtest.Must(t, r.Remove(ctx, gone))
	for _, key := range []string{gone, claim} {
		etcdtest.Put(t, c, key, "1", clientv3.WithLease(lease))
	}
	etcdtest.Put(t, c, others, "1", clientv3.WithLease(etcdtest.Grant(t, c)))
	etcdtest.Eventually(t, "what was removed is removed again", func() bool { return etcdtest.Value(t, c, gone) == "" })
	for _, key := range []string{stays, claim, others} {
		if etcdtest.Value(t, c, key) == "" {
			t.Errorf("%s is gone", key)
		}
	}
	// It may be put again.
	etcdtest.Must(t, r.Put(ctx, leased(gone, "2")))
	again := p + "members/again"
	etcdtest.Put(t, c, again, "1", clientv3.WithLease(lease))
	etcdtest.Eventually(t, "it was looked again", func() bool { return etcdtest.Value(t, c, again) == "" })
	if etcdtest.Value(t, c, gone) != "2" {
		t.Error("what was put again was removed")
	}
}
