package discovery

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// An etcd that was restored from a backup has again what was removed since, under
// a lease that does not end.
func TestRegistryRemovesWhatCameBack(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), space(t), testContext(t)
	cfg := fast
	cfg.Ours = func(key string) bool { return strings.HasPrefix(key, p+"members/") }
	r, _ := keep(t, c, cfg)
	lease := grant(t, c)
	r.SetLease(lease)
	stays, gone, claim, others := p+"members/stays", p+"members/gone", p+"claims/0", p+"members/others"
	must(t, r.PutAll(ctx, []Entry{leased(stays, "1"), leased(gone, "1")}))
	must(t, r.Remove(ctx, gone))
	for _, key := range []string{gone, claim} {
		put(t, c, key, "1", clientv3.WithLease(lease))
	}
	put(t, c, others, "1", clientv3.WithLease(grant(t, c)))
	eventually(t, "what was removed is removed again", func() bool { return value(t, c, gone) == "" })
	for _, key := range []string{stays, claim, others} {
		if value(t, c, key) == "" {
			t.Errorf("%s is gone", key)
		}
	}
	// It may be put anew.
	must(t, r.Put(ctx, leased(gone, "2")))
	again := p + "members/again"
	put(t, c, again, "1", clientv3.WithLease(lease))
	eventually(t, "it was looked again", func() bool { return value(t, c, again) == "" })
	if value(t, c, gone) != "2" {
		t.Error("what was put anew was removed")
	}
}
