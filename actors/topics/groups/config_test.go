package groups_test

import (
	"errors"
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
