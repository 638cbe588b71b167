package penstock

// Schedules: records that are put again and again, at times of the clock.

import (
	"context"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Schedules are the recurring records of all runtimes that share a prefix. They are kept in
// etcd, and fired by the keeper: each tick puts its record once at most, in one transaction
// that notes the tick too. It is safe for concurrent use.
//
// The keeper is one of the runtimes that have a topic open which schedules put into, or that
// have put or resumed a schedule. While no such runtime runs, ticks are missed: see
// MissedTicks.
type Schedules struct {
	s *actors.Schedules
}

// Schedules returns the schedules of the runtime's prefix. It does not block.
func (r *Runtime) Schedules() *Schedules { return &Schedules{r.engine.Schedules()} }

// Put makes a schedule, or changes the one of that name to these settings. One that has them
// is left as it is, so services may put their schedules whenever they start. A change keeps
// what the schedule counted, and whether it is paused; the next tick is another only when
// Cron or TimeZone is. The bytes of s are copied. A name is as that of a topic, of one
// character or more.
//
// Errors: ErrInvalid and ErrTooLarge with every fault of name and s, ErrNoTopic, ErrCorrupt,
// ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed, and ctx's cause. After ErrUnavailable
// and the end of ctx it may have been put, and can be put again.
func (s *Schedules) Put(ctx context.Context, name string, schedule Schedule) (ScheduleInfo, error) {
	return s.s.Put(ctx, name, schedule)
}

// Get returns a schedule as it is in etcd.
//
// Errors: ErrNoSchedule, ErrInvalid, ErrCorrupt, ErrUnavailable, ErrDenied, ErrClosed, and
// ctx's cause.
func (s *Schedules) Get(ctx context.Context, name string) (ScheduleInfo, error) {
	return s.s.Get(ctx, name)
}

// List returns every schedule, sorted by name, as of one revision of etcd. One that cannot be
// read is left out and named in an error that wraps ErrCorrupt and comes with the others.
//
// Errors besides: ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (s *Schedules) List(ctx context.Context) ([]ScheduleInfo, error) { return s.s.List(ctx) }

// Delete deletes a schedule. What it has put stays in its topic.
//
// Errors: ErrNoSchedule, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (s *Schedules) Delete(ctx context.Context, name string) error { return s.s.Delete(ctx, name) }

// Pause has a schedule fire nothing until Resume. The ticks until then are not missed: there
// are none. A schedule that is paused stays so.
//
// Errors: ErrNoSchedule, ErrInvalid, ErrCorrupt, ErrUnavailable, ErrDenied, ErrNoSpace,
// ErrClosed, and ctx's cause.
func (s *Schedules) Pause(ctx context.Context, name string) error { return s.s.Pause(ctx, name) }

// Resume ends a pause: the next tick is the first after now, and intervals count from now. A
// schedule that is not paused is left as it is.
//
// Errors: those of Pause, and ErrInvalid too where this process does not know the time zone.
func (s *Schedules) Resume(ctx context.Context, name string) error { return s.s.Resume(ctx, name) }

// RunNow puts the record of a schedule at once, also of one that is paused, and returns where
// it is. That is a put of this runtime, as Topic.Put is: no tick is used up, and the record has
// no tick's time and no id.
//
// Errors: ErrNoSchedule, and those of Runtime.Topic and Topic.Put.
func (s *Schedules) RunNow(ctx context.Context, name string) (PutResult, error) {
	return s.s.RunNow(ctx, name)
}

// Schedule is a recurring record.
//
//	type Schedule struct {
//		Topic      string      // where the record is put; it must be there
//		Key, Value []byte      // with Headers 64 KiB at most; records of one schedule without a key keep their order
//		Headers    []Header    // none whose name begins with "penstock-"
//		Cron       string      // "30 2 * * 1-5", "@daily", or an interval of whole seconds: "@every 10m"
//		TimeZone   string      // whose clocks Cron is about, "Europe/Berlin"; empty is UTC
//		Missed     MissedTicks // what becomes of ticks that were missed; empty is MissedLatest
//		MaxMissed  int         // for MissedAll: 1 to 10,000, 0 is 100
//	}
//
//	func (s *Schedule) EnsureDefaults()       // fills what is zero
//	func (s *Schedule) Validate() error       // what is wrong with it, but for Topic, Cron and TimeZone
//	func (s *Schedule) Message() Message      // the record without what a tick adds
//	func (s *Schedule) Same(o *Schedule) bool // reports whether both say the same
//
// Cron has five fields: minute, hour, day of the month, month, day of the week, each with *,
// numbers, lists (1,15), ranges (9-17) and steps (*/5), months and days by name too (jan,
// mon); or it is @hourly, @daily, @weekly, @monthly, @yearly. A day matches when one of the
// two fields for days does, if neither is *.
//
// Where clocks are changed, an expression whose hour is * ticks whenever the clocks show a
// time that matches. One that names hours ticks once for each time of the clocks: what they
// skip ticks at the moment of the change, what they show twice the first time.
type Schedule = messages.Schedule

// ScheduleInfo is a schedule as it is in etcd.
//
//	type ScheduleInfo struct {
//		Name        string
//		Schedule                 // Topic, Cron, …
//		Paused      bool         // until Resume
//		Created     time.Time    // by the clock of who made it
//		Changed     time.Time    // when its settings or Paused were changed last
//		From        time.Time    // what an interval counts from
//		Tick        time.Time    // the last tick that was fired; zero for none
//		Fired       time.Time    // when it was, by the keeper's clock
//		Next        time.Time    // the next tick; one in the past waits for a keeper; zero for none
//		FiredCount  uint64       // ticks whose record was put
//		MissedCount uint64       // ticks that were given up, because no keeper was there
//		FailedCount uint64       // ticks whose record could not be put
//		Trouble     string       // why the last tick failed; empty when it did not
//		Revision    int64        // of etcd, at which it was written last
//	}
//
//	func (s *ScheduleInfo) Record(tick, now time.Time) Message // what is put for a tick at a time; without a tick, by RunNow
type ScheduleInfo = messages.ScheduleInfo

// MissedTicks says what becomes of ticks at whose time no keeper was there: none that is more
// than ten seconds late, when a keeper takes over.
type MissedTicks = messages.MissedTicks

const (
	// MissedLatest fires the last of them once, late, unless a later tick is due as well. It
	// is the default.
	MissedLatest = messages.MissedLatest
	// MissedSkip fires none of them: the schedule continues with the next tick.
	MissedSkip = messages.MissedSkip
	// MissedAll fires each of them, the oldest first, but no more than Schedule.MaxMissed, the
	// newest.
	MissedAll = messages.MissedAll
)

// The headers of a record that a schedule has put.
const (
	// HeaderSchedule is the name of the schedule.
	HeaderSchedule = messages.HeaderSchedule
	// HeaderScheduleTick is the time of the tick, RFC 3339, UTC. A record that RunNow has put
	// has none. The ID of the record is the name, an @, and this.
	HeaderScheduleTick = messages.HeaderScheduleTick
)
