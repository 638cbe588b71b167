package rebalance

// A topic has grown, and not everybody has heard.

import (
	"testing"
	"time"
)

// Promise: who has not heard yet of more partitions takes none of them away from
// anybody, and moves nothing for fewer than there are.
func TestWhoHasNotHeardOfMorePartitionsGivesOutAll(t *testing.T) {
	for name, tc := range map[string]struct {
		shares []string
		want   string
	}{
		"nobody went":             {[]string{"b:0,1,2,3", "c:4,5,6,7"}, ""},
		"the one who gave out":    {[]string{"a:0,1,2", "b:3,4,5", "c:6,7"}, "assign 3 of 8 moving 3: b[1 3 4 5] c[0 2 6 7]"},
		"all partitions are gone": {[]string{"a:0,1,2,3,4,5,6,7"}, "assign 3 of 8 moving 8: b[0 2 4 6] c[1 3 5 7]"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newPaperEtcd()
			me := Member{
				ID: "b", Revision: e.join("b", false), Partitions: 4, RevokeTimeout: paperRevoke,
				Holds: make(map[int]Hold), Busy: set(0, 1, 2, 3), Others: make(map[int]int64),
			}
			e.join("c", false)
			e.plan(2, 8, tc.shares...)
			v := NewView()
			e.snapshot().show(v, time.Unix(1000, 0))
			if got := actionsOf(v.Decide(me, time.Unix(1000, 0))); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}
