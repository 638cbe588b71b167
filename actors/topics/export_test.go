package topics

// What tests from outside may do to a handle.

import (
	"context"
	"time"
)

// OpenAgain makes another handle of the same topic, as Topics.Open does that has
// found it in etcd.
func (t *Topic) OpenAgain(ctx context.Context, cfg ProducerConfig) (*Topic, error) {
	cfg.EnsureDefaults()
	return t.topics.open(ctx, t.Info(), cfg)
}

// StepClock sets the clock of the runtime, as its keeper sees it.
func (t *Topic) StepClock(by time.Duration) { t.topics.keeper.Step(by) }

// Ended returns why this runtime has no actor of the topic any more, or nil.
func (t *Topic) Ended() error { return t.path.Ended() }
