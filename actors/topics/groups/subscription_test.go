package groups

import (
	"maps"
	"testing"
)

// Promise: in an etcd that was set back, a partition does not wait for a revision
// of the history that is gone.
func TestSubscriptionForgetsRevisionsThatAreGone(t *testing.T) {
	a := &subscription{held: map[int]int64{0: 1000, 1: 20, 2: 21, 3: 5}}
	a.setBack(nil, 20)
	if want := map[int]int64{1: 20, 3: 5}; !maps.Equal(a.held, want) {
		t.Errorf("it waits for %v, want %v", a.held, want)
	}
}
