package format

// Schedules.

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

var missedTicks = map[pb.MissedTicks]messages.MissedTicks{
	pb.MissedTicks_LATEST: messages.MissedLatest,
	pb.MissedTicks_SKIP:   messages.MissedSkip,
	pb.MissedTicks_ALL:    messages.MissedAll,
}

// ParseSchedule reads the value of a schedule's key. It does not judge the expression. The
// error wraps messages.ErrCorrupt and names the schedule.
func ParseSchedule(name string, value []byte, modRevision int64) (messages.ScheduleInfo, error) {
	fail := func(format string, args ...any) (messages.ScheduleInfo, error) {
		return messages.ScheduleInfo{}, corrupt("schedule "+name, format, args...)
	}
	var v pb.Schedule
	if err := proto.Unmarshal(value, &v); err != nil {
		return fail("%v", err)
	}
	missed, ok := missedTicks[v.OnMissed]
	if !ok {
		return fail("missed ticks %d", v.OnMissed)
	}
	s := messages.ScheduleInfo{
		Name: name,
		Schedule: messages.Schedule{
			Topic: v.Topic, Key: v.Key, Value: v.Value, Cron: v.Cron, TimeZone: v.TimeZone,
			Missed: missed, MaxMissed: int(min(v.MaxMissed, messages.MostMissed)),
		},
		Paused:  v.Paused,
		Created: unixTime(v.CreatedUnixMs), Changed: unixTime(v.ChangedUnixMs), From: unixTime(v.FromUnixMs),
		Tick: unixTime(v.TickUnixMs), Fired: unixTime(v.FiredUnixMs), Next: unixTime(v.NextUnixMs),
		FiredCount: v.Fired, MissedCount: v.Missed, FailedCount: v.Failed,
		Trouble: v.Trouble, Revision: modRevision,
	}
	for _, h := range v.Headers {
		s.Headers = append(s.Headers, messages.Header{Name: h.GetName(), Value: h.GetValue()})
	}
	s.EnsureDefaults()
	if err := s.Validate(); err != nil {
		return fail("%v", err)
	}
	return s, nil
}

// ScheduleValue is s as etcd keeps it, but for its name and revision. No two calls return
// the same.
func ScheduleValue(s *messages.ScheduleInfo) string {
	v := &pb.Schedule{
		Topic: s.Topic, Key: s.Key, Value: s.Value, Cron: s.Cron, TimeZone: s.TimeZone, MaxMissed: uint32(s.MaxMissed),
		Paused:        s.Paused,
		CreatedUnixMs: unixMs(s.Created), ChangedUnixMs: unixMs(s.Changed), FromUnixMs: unixMs(s.From),
		TickUnixMs: unixMs(s.Tick), FiredUnixMs: unixMs(s.Fired), NextUnixMs: unixMs(s.Next),
		Fired: s.FiredCount, Missed: s.MissedCount, Failed: s.FailedCount,
		Trouble: s.Trouble, Write: rand.Uint64(),
	}
	for number, m := range missedTicks {
		if m == s.Missed {
			v.OnMissed = number
		}
	}
	for _, h := range s.Headers {
		v.Headers = append(v.Headers, &pb.Header{Name: h.Name, Value: h.Value})
	}
	return Encode(v)
}

// unixTime is the time of a field, the zero Time for 0; unixMs is the field.
func unixTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return pb.Time(ms).UTC()
}

func unixMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
