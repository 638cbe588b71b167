package messages

// Recurring records: what a schedule says, and how far it is.

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// MissedTicks says what becomes of ticks at whose time no keeper was there.
type MissedTicks string

const (
	// MissedLatest fires the last of them once, late, as a CronJob of Kubernetes does. It
	// is the default.
	MissedLatest MissedTicks = "latest"
	// MissedSkip fires none of them: the schedule continues with the next tick.
	MissedSkip MissedTicks = "skip"
	// MissedAll fires each of them, the oldest first, up to Schedule.MaxMissed.
	MissedAll MissedTicks = "all"
)

const (
	// DefaultMaxMissed is Schedule.MaxMissed when it is 0.
	DefaultMaxMissed = 100
	// MostMissed is the most that Schedule.MaxMissed can be.
	MostMissed = 10000
	// MaxScheduleBytes bounds key, value and headers of a schedule's record: they are
	// written once more with each tick.
	MaxScheduleBytes = 64 << 10
)

// The headers of a record that a schedule has put.
const (
	// HeaderSchedule is the name of the schedule.
	HeaderSchedule = "penstock-schedule"
	// HeaderScheduleTick is the time of the tick, RFC 3339, UTC. A record that RunNow has
	// put has none.
	HeaderScheduleTick = "penstock-schedule-tick"
)

// scheduleHeaders is how those begin that are not the user's.
const scheduleHeaders = "penstock-"

// Schedule is a recurring record.
type Schedule struct {
	// Topic is where the record is put. It must be there when the schedule is put.
	Topic string
	// Key, Value and Headers are the record's: 64 KiB together at most. Names of headers
	// do not begin with "penstock-". The key chooses the partition, as ByKey does; all
	// records of a schedule without a key go to one partition.
	Key, Value []byte
	Headers    []Header
	// Cron says when: five fields (minute, hour, day of the month, month, day of the
	// week), @hourly, @daily, @weekly, @monthly or @yearly, or "@every 10m": an interval of
	// whole seconds, counted from when the schedule was made, changed or resumed.
	Cron string
	// TimeZone is the IANA zone whose clocks Cron is about, "Europe/Berlin"; empty is UTC. An
	// interval has none.
	TimeZone string
	// Missed is what becomes of ticks that were missed; empty is MissedLatest.
	Missed MissedTicks
	// MaxMissed is how many missed ticks MissedAll fires at most, the newest: 1 to
	// MostMissed, 0 is DefaultMaxMissed.
	MaxMissed int
}

// EnsureDefaults fills in what is zero and has a default.
func (s *Schedule) EnsureDefaults() {
	s.Missed = cmp.Or(s.Missed, MissedLatest)
	s.MaxMissed = cmp.Or(s.MaxMissed, DefaultMaxMissed)
}

// Message is the record without what a tick adds.
func (s *Schedule) Message() Message {
	return Message{Key: s.Key, Value: s.Value, Headers: s.Headers}
}

// Validate returns all faults but those of Topic, Cron and TimeZone, joined. Each wraps
// ErrInvalid, or ErrTooLarge.
func (s *Schedule) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
	}
	switch s.Missed {
	case MissedLatest, MissedSkip, MissedAll:
	default:
		fault("missed ticks %q: they are %q, %q or %q", s.Missed, MissedLatest, MissedSkip, MissedAll)
	}
	if s.MaxMissed < 1 || s.MaxMissed > MostMissed {
		fault("at most %d missed ticks: it must be 1 to %d", s.MaxMissed, MostMissed)
	}
	m := s.Message()
	if n := PayloadSize(&m); n > MaxScheduleBytes {
		faults = append(faults, fmt.Errorf("%w: key, value and headers have %d bytes, and a schedule can have %d: put where the data is in place of it", ErrTooLarge, n, MaxScheduleBytes))
	}
	for _, h := range s.Headers {
		if !utf8.ValidString(h.Name) {
			fault("header name %q is not UTF-8", h.Name)
		}
		if strings.HasPrefix(h.Name, scheduleHeaders) {
			fault("header name %q: names that begin with %q are not for schedules to set", h.Name, scheduleHeaders)
		}
	}
	return errors.Join(faults...)
}

// Same reports whether two schedules with defaults say the same.
func (s *Schedule) Same(o *Schedule) bool {
	a, b := s.Message(), o.Message()
	return s.Topic == o.Topic && s.Cron == o.Cron && s.TimeZone == o.TimeZone && s.Missed == o.Missed && s.MaxMissed == o.MaxMissed &&
		string(AppendRecord(nil, &a)) == string(AppendRecord(nil, &b))
}

// ScheduleInfo is a schedule as its key in etcd has it.
type ScheduleInfo struct {
	Name string
	Schedule
	// Paused: nothing is fired until it is resumed.
	Paused bool
	// Created is when it was made, Changed when its settings or Paused were changed last,
	// by the clocks of who did.
	Created, Changed time.Time
	// From is the time that an interval counts from.
	From time.Time
	// Tick is the last tick that was fired, Fired when; the zero Time for none. Both are
	// by the keeper's clock.
	Tick, Fired time.Time
	// Next is the next tick, the zero Time for none. One that is in the past waits for a
	// keeper.
	Next time.Time
	// FiredCount, MissedCount and FailedCount count ticks: those whose record was put, that
	// were not fired because they were missed, and whose record could not be put.
	FiredCount, MissedCount, FailedCount uint64
	// Trouble is why the last tick failed; empty when it did not.
	Trouble string
	// Revision is that of etcd at which it was written last.
	Revision int64
}

// Record is what is put for a tick, or, with the zero Time, for RunNow, at a time.
func (s *ScheduleInfo) Record(tick, now time.Time) Message {
	m := s.Message()
	m.Time = now
	m.Headers = append(m.Headers[:len(m.Headers):len(m.Headers)], Header{Name: HeaderSchedule, Value: []byte(s.Name)})
	if !tick.IsZero() {
		at := tick.UTC().Format(time.RFC3339)
		m.Headers = append(m.Headers, Header{Name: HeaderScheduleTick, Value: []byte(at)})
		m.ID = s.Name + "@" + at
	}
	return m
}
