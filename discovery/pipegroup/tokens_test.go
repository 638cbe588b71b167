package pipegroup

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Promise: who replaces all tokens of a destination is told of no group that was deleted
// meanwhile, and those of the others are replaced. Who names such a group is told.
func TestRotateWhileAGroupGoes(t *testing.T) {
	c, ctx := connect(t, shared.Config()), etcdtest.Context(t)
	space := keys.Space(etcdtest.Space(t))
	etcdtest.Put(t, c, space.GroupMeta("orders", "stays"), "settings")
	listed := []string{AllGroups, "gone", "stays"}
	done := make(map[string]uint64)
	if err := rotate(ctx, c, space, "orders", listed, Rotation{Grace: time.Minute, every: true}, done); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(done)); !slices.Equal(got, []string{AllGroups, "stays"}) || done["stays"] != 1 {
		t.Errorf("rotated %v", done)
	}
	if got := etcdtest.Value(t, c, space.Generation("orders", "gone")); got != "" {
		t.Errorf("a group that is gone has a generation: %q", got)
	}
	if _, err := Rotate(ctx, c, space, "orders", "gone", Rotation{Grace: time.Minute}); !errors.Is(err, messages.ErrNoGroup) {
		t.Errorf("by its name: %v", err)
	}
	all, err := Rotate(ctx, c, space, "orders", AllGroups, Rotation{Grace: time.Minute, Revoke: true})
	if err != nil || len(all) != 2 || all[AllGroups] != 2 || all["stays"] != 2 {
		t.Errorf("revoked %v: %v", all, err)
	}
}
