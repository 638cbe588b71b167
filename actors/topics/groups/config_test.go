package groups_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

// A pause after dead letters is refused where it could never come.
func TestBreakerOfNothingIsInvalid(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cfg   groups.Config
		valid bool
	}{
		{"none", groups.Config{}, true},
		{"complete", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Breaker: 5, BreakerPause: time.Minute}, true},
		{"after none", groups.Config{DeadTopic: "dead", MaxAttempts: 3, BreakerPause: time.Minute}, false},
		{"too short", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Breaker: 5, BreakerPause: time.Millisecond}, false},
		{"a share", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: 0.5, ShareOf: 50, SharePause: time.Minute}, true},
		{"both", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Breaker: 5, BreakerPause: time.Minute, Share: 1, ShareOf: 2, SharePause: time.Second}, true},
		{"a share of nothing", groups.Config{DeadTopic: "dead", MaxAttempts: 3, ShareOf: 50, SharePause: time.Minute}, false},
		{"more than all", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: 1.1, ShareOf: 50, SharePause: time.Minute}, false},
		{"no number", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: math.NaN(), ShareOf: 50, SharePause: time.Minute}, false},
		{"of too few", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: 0.5, ShareOf: 1, SharePause: time.Minute}, false},
		{"of too many", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: 0.5, ShareOf: groups.LargestShareOf + 1, SharePause: time.Minute}, false},
		{"a share, too short", groups.Config{DeadTopic: "dead", MaxAttempts: 3, Share: 0.5, ShareOf: 50}, false},
		{"a share without dead letters", groups.Config{Share: 0.5, ShareOf: 50, SharePause: time.Minute}, false},
		{"without dead letters", groups.Config{Breaker: 5, BreakerPause: time.Minute}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Topic, tc.cfg.Group = "orders", "billing"
			tc.cfg.EnsureDefaults()
			if err := tc.cfg.Validate(); (err == nil) != tc.valid || err != nil && !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("valid: %v", err)
			}
		})
	}
}
