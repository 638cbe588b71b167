package penstock

// Pausing whole groups, from anywhere.

import (
	"context"
	"time"
)

// PauseGroup pauses a group of a destination: within a second none of its members hands
// out any more, wherever they run, and those that join meanwhile do not begin. What a
// member has in hand is settled as ever; what it has received and not handed out goes
// back to the senders after a second, without an attempt, and waits there, where MaxQueue
// and OnFull hold. At most once it waits with the member.
//
// The pause is in etcd, so that it outlives whoever began it. etcd ends it, which counts
// from the call to until in whole seconds, rounded up, and not less than its shortest
// lease, usually 2 s; when etcd changes its leader, it may count from the beginning again.
// until must be in the future by the clock of this host, within ten years. A group that is
// paused already gets the new end. DeleteGroup ends the pause, ResumeGroup does; the end
// of the group's KeepFor does not.
//
// Each member emits messages.GroupPaused and GroupResumed.
//
// Errors: ErrNoGroup, ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed, and
// ctx's cause.
func (r *Runtime) PauseGroup(ctx context.Context, dest, group string, until time.Time) error {
	return r.engine.PauseGroup(ctx, dest, group, until)
}

// ResumeGroup ends the pause of a destination's group. Without a pause it does nothing.
//
// Errors: those of PauseGroup.
func (r *Runtime) ResumeGroup(ctx context.Context, dest, group string) error {
	return r.engine.ResumeGroup(ctx, dest, group)
}

// PauseConsumerGroup pauses a consumer group of a topic as PauseGroup does one of a
// destination: within a second its members hand out no more records, and fetch none. They
// keep their partitions, and commit what is finished. GroupInfo.PausedUntil says until
// when.
//
// Errors: ErrNoTopic, ErrNoGroup, ErrInvalid, ErrTopicDeleted, ErrUnavailable, ErrDenied,
// ErrNoSpace, ErrClosed, and ctx's cause.
func (r *Runtime) PauseConsumerGroup(ctx context.Context, topic, group string, until time.Time) error {
	return r.engine.PauseConsumerGroup(ctx, topic, group, until)
}

// ResumeConsumerGroup ends the pause of a topic's group. Without a pause it does nothing.
//
// Errors: those of PauseConsumerGroup.
func (r *Runtime) ResumeConsumerGroup(ctx context.Context, topic, group string) error {
	return r.engine.ResumeConsumerGroup(ctx, topic, group)
}
