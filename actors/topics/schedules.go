package topics

// Schedules as users and administrators see them. The keeper fires them.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/actors/topics/internal/schedule"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Schedules is penstock.Schedules. It is safe for concurrent use.
type Schedules struct{ topics *Topics }

// Schedules are those of the prefix.
func (t *Topics) Schedules() *Schedules { return &Schedules{topics: t} }

// schedules performs a call after the checks that every one needs.
func schedules[T any](ctx context.Context, s *Schedules, op, name string, faults error, do func(op string) (T, error)) (T, error) {
	var none T
	op += " schedule " + name
	err := node.ContextGiven(ctx)
	if err == nil {
		err = errors.Join(keys.ValidateName("schedule", name), faults)
	}
	if err == nil && s.topics.env.Stopping() {
		err = messages.ErrClosed
	}
	if err != nil {
		return none, fmt.Errorf("%s: %w", op, err)
	}
	return do(op)
}

// Put is penstock.Schedules.Put.
func (s *Schedules) Put(ctx context.Context, name string, want messages.Schedule) (messages.ScheduleInfo, error) {
	want.EnsureDefaults()
	want = cloned(want)
	now := nowMs()
	_, cronFaults := schedule.Parse(want.Cron, want.TimeZone, now)
	faults := errors.Join(keys.ValidateTopic(want.Topic), cronFaults, want.Validate())
	return schedules(ctx, s, "put", name, faults, func(op string) (messages.ScheduleInfo, error) {
		info, err := s.topics.env.Log.ChangeSchedule(ctx, op, name, want.Topic, func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
			return settled(name, old, want, now)
		})
		switch {
		case errors.Is(err, messages.ErrNoTopic):
			return info, fmt.Errorf("put schedule %s: topic %q: %w: create it first", name, want.Topic, messages.ErrNoTopic)
		case err != nil:
			return info, err
		}
		s.wantKeeper()
		return info, nil
	})
}

// settled is a schedule with other settings, and false when it has them. What it did stays.
func settled(name string, old *messages.ScheduleInfo, want messages.Schedule, now time.Time) (messages.ScheduleInfo, bool, error) {
	if old != nil && old.Same(&want) {
		return *old, false, nil
	}
	info := messages.ScheduleInfo{Name: name, Created: now}
	if old != nil {
		info = *old
	}
	sameTimes := old != nil && old.Cron == want.Cron && old.TimeZone == want.TimeZone
	info.Schedule, info.Changed, info.Trouble = want, now, ""
	if sameTimes {
		return info, true, nil
	}
	info.From = now.Truncate(time.Second)
	return afresh(info, now)
}

// afresh is a schedule whose next tick is the first after now.
func afresh(info messages.ScheduleInfo, now time.Time) (messages.ScheduleInfo, bool, error) {
	times, err := schedule.Parse(info.Cron, info.TimeZone, info.From)
	if err != nil {
		return info, false, fmt.Errorf("schedule %s: %w", info.Name, err)
	}
	info.Next = times.After(now)
	return info, true, nil
}

// nowMs is the time as etcd keeps it.
func nowMs() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// cloned shares no memory with s.
func cloned(s messages.Schedule) messages.Schedule {
	s.Key, s.Value, s.Headers = bytes.Clone(s.Key), bytes.Clone(s.Value), slices.Clone(s.Headers)
	for i := range s.Headers {
		s.Headers[i].Value = bytes.Clone(s.Headers[i].Value)
	}
	return s
}

// wantKeeper has this runtime be the keeper, if nobody is.
func (s *Schedules) wantKeeper() {
	s.topics.env.WantKeeper()
}

// Get is penstock.Schedules.Get.
func (s *Schedules) Get(ctx context.Context, name string) (messages.ScheduleInfo, error) {
	return schedules(ctx, s, "read", name, nil, func(string) (messages.ScheduleInfo, error) {
		row, err := s.topics.env.Log.Schedule(ctx, name)
		return row.ScheduleInfo, err
	})
}

// List is penstock.Schedules.List.
func (s *Schedules) List(ctx context.Context) ([]messages.ScheduleInfo, error) {
	err := node.ContextGiven(ctx)
	if err == nil && s.topics.env.Stopping() {
		err = messages.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return s.topics.env.Log.Schedules(ctx)
}

// Delete is penstock.Schedules.Delete.
func (s *Schedules) Delete(ctx context.Context, name string) error {
	_, err := schedules(ctx, s, "delete", name, nil, func(string) (struct{}, error) {
		return struct{}{}, s.topics.env.Log.DeleteSchedule(ctx, name)
	})
	return err
}

// Pause is penstock.Schedules.Pause.
func (s *Schedules) Pause(ctx context.Context, name string) error {
	return s.change(ctx, "pause", name, func(info messages.ScheduleInfo, now time.Time) (messages.ScheduleInfo, bool, error) {
		if info.Paused {
			return info, false, nil
		}
		info.Paused, info.Changed = true, now
		return info, true, nil
	})
}

// Resume is penstock.Schedules.Resume.
func (s *Schedules) Resume(ctx context.Context, name string) error {
	err := s.change(ctx, "resume", name, func(info messages.ScheduleInfo, now time.Time) (messages.ScheduleInfo, bool, error) {
		if !info.Paused {
			return info, false, nil
		}
		info.Paused, info.Changed, info.From = false, now, now.Truncate(time.Second)
		return afresh(info, now)
	})
	if err == nil {
		s.wantKeeper()
	}
	return err
}

// change writes what fn makes of a schedule that is there.
func (s *Schedules) change(ctx context.Context, what, name string, fn func(messages.ScheduleInfo, time.Time) (messages.ScheduleInfo, bool, error)) error {
	_, err := schedules(ctx, s, what, name, nil, func(op string) (messages.ScheduleInfo, error) {
		now := nowMs()
		return s.topics.env.Log.ChangeSchedule(ctx, op, name, "", func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
			if old == nil {
				return messages.ScheduleInfo{}, false, fmt.Errorf("%s: %w", op, messages.ErrNoSchedule)
			}
			return fn(*old, now)
		})
	})
	return err
}

// RunNow is penstock.Schedules.RunNow.
func (s *Schedules) RunNow(ctx context.Context, name string) (messages.PutResult, error) {
	return schedules(ctx, s, "run", name, nil, func(op string) (messages.PutResult, error) {
		fail := func(err error) (messages.PutResult, error) {
			return messages.PutResult{Partition: -1, Offset: -1}, fmt.Errorf("%s: %w", op, err)
		}
		row, err := s.topics.env.Log.Schedule(ctx, name)
		if err != nil {
			return fail(err)
		}
		t, err := s.topics.Open(ctx, row.Topic, ProducerConfig{})
		if err != nil {
			return fail(err)
		}
		r := t.PutTo(ctx, produce.PartitionOf(row.Key, name, t.Info().Config.Partitions), row.Record(time.Time{}, time.Now()))
		err = t.Close(ctx)
		if r.Err != nil {
			return fail(r.Err)
		}
		if err != nil {
			return fail(err)
		}
		return r, nil
	})
}
