package keeper

// What the limits of a topic say of one partition: functions over what was read.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// undone is the place of groups when there is none that could have done anything.
const undone = 0

// judged is a partition, as a decision needs it.
type judged struct {
	end  format.LogEnd
	done int64 // what every group has committed; undone for nothing
	// ahead is how many bytes below the limit are left.
	ahead int64
	// aged is when a batch whose time is in the future was seen first, by its base: from
	// then on it ages.
	aged map[int64]time.Time
}

// Why a batch is deleted.
const (
	whyAge     = "age"
	whyBytes   = "bytes"
	whyRecords = "records"
	whyDone    = "done"
	whyExpired = "expired"
)

// expired returns for how many of entries, which are the first of a partition, the limits
// say that they are deleted, and why the first of them is. It stops at the first that
// stays. The last batch of a partition is deleted by age and by what was done only: a
// limit that is less than it would leave nothing to read.
func expired(cfg *messages.TopicConfig, p judged, entries []format.Entry, now time.Time) (n int, why string) {
	for _, e := range entries {
		reason := p.reason(cfg, e, now)
		if reason == "" {
			break
		}
		if n == 0 {
			why = reason
		}
		n++
	}
	return n, why
}

// reason is why a batch is to be deleted, "" when it is not. Those before it are.
func (p judged) reason(cfg *messages.TopicConfig, e format.Entry, now time.Time) string {
	life, last := messages.Lifetime(cfg), e.End() >= p.end.Offset
	switch {
	case life > 0 && !p.at(e, now).Add(life).After(now):
		return whyAge
	case cfg.Retention == messages.RetainUntilDone && e.End() <= p.done:
		return whyDone
	case last || cfg.Discard == messages.DiscardNew:
	case cfg.MaxBytes > 0 && p.end.Bytes-e.LogBytes+int64(e.Bytes) > cfg.MaxBytes-p.ahead:
		return whyBytes
	case cfg.MaxRecords > 0 && p.end.Offset-e.Base > cfg.MaxRecords:
		return whyRecords
	}
	return ""
}

// at is the time that a batch ages from: that of its newest record, or when it was seen
// first if that is in the future. Else the batch of a host whose clock is wrong would
// keep all behind it.
func (p judged) at(e format.Entry, now time.Time) time.Time {
	at := time.Unix(0, e.MaxTime)
	if !at.After(now) {
		return at
	}
	if seen, ok := p.aged[e.Base]; ok {
		return seen
	}
	if p.aged != nil {
		clear(p.aged) // one at a time: the first that stays
		p.aged[e.Base] = now
	}
	return now
}

// sight is what a partition was seen to have.
type sight struct {
	at             time.Duration // as steady time; 0 for never
	end            format.LogEnd
	bytes, records int64 // that can be read
}

const (
	// soonest and latest bound when a partition with a limit in bytes or records is
	// looked at again, brisk where it grows slowly; idlest when one with others is.
	soonest, brisk, latest, idlest = 20 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second
	// burst is how many bytes a second a partition may get that got none.
	burst = 128 << 20
)

// again is after how long a partition is looked at again, which begins with the batch
// first, if it has one: when it may have a sixteenth more than its limit. It may grow twice
// as fast as it did since it was seen before.
func again(cfg *messages.TopicConfig, p judged, first format.Entry, before, now sight, clock time.Time) time.Duration {
	wait := idlest
	if life := messages.Lifetime(cfg); life > 0 && first.Count > 0 {
		wait = min(wait, p.at(first, clock).Add(life).Sub(clock))
	}
	if cfg.Retention == messages.RetainUntilDone {
		wait = min(wait, latest)
	}
	wait = max(wait, brisk)
	if cfg.Discard == messages.DiscardNew {
		return wait
	}
	if cfg.MaxBytes > 0 {
		// All of a sudden it may be put to as fast as etcd can.
		wait = min(wait, latest, max(brisk, until(cfg.MaxBytes+cfg.MaxBytes/4, now.bytes, burst/2, time.Second)))
	}
	if cfg.MaxRecords > 0 {
		wait = min(wait, latest)
	}
	if over := now.at - before.at; before.at > 0 && over > 0 {
		wait = min(wait,
			until(cfg.MaxBytes+cfg.MaxBytes/16, now.bytes, now.end.Bytes-before.end.Bytes, over),
			until(cfg.MaxRecords+cfg.MaxRecords/16, now.records, now.end.Offset-before.end.Offset, over))
	}
	return max(wait, soonest)
}

// until is how long something takes to reach a limit that grew by so much in a time, at
// twice that rate; latest at most.
func until(limit, is, grew int64, over time.Duration) time.Duration {
	if limit == 0 || grew <= 0 {
		return latest
	}
	return time.Duration(min(float64(latest), float64(over)*float64(max(0, limit-is))/float64(2*grew)))
}

// ahead is by how much less than the limit in bytes is left of a partition that ended
// there and ends here, so that it is above it no longer than below it until the next look:
// nothing where it grew by a tenth of the limit or less between two looks, and a fifth
// at most.
func ahead(cfg *messages.TopicConfig, there, here format.LogEnd) int64 {
	tenth := cfg.MaxBytes / 10
	return min(max(0, here.Bytes-there.Bytes-tenth), 2*tenth)
}
