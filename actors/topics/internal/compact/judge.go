package compact

// What goes in one pass.

import (
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Judge says what goes of a partition, whose records it is shown in their order.
type Judge struct {
	// Newest knows what supersedes records.
	Newest *Newest
	// Due: before this offset tombstones go, and what has expired.
	Due int64
	// Now is the time, and TTL the topic's.
	Now time.Time
	TTL time.Duration
}

// Tally is what a Judge said of some records.
type Tally struct {
	// Superseded and Removed go: for a newer one, and as tombstones or because they have
	// expired. Left stay.
	Superseded, Removed, Left int
	// Passing are those of them that are tombstones, or expire by themselves; Expires is
	// when the first of these does, in nanoseconds since 1970 UTC, 0 for never.
	Passing, Expires int64
}

// Gone reports whether a record goes, and counts it.
func (j *Judge) Gone(offset int64, r *messages.Payload, t *Tally) bool {
	if j.Newest.Supersedes(r.Key, offset) {
		t.Superseded++
		return true
	}
	own, passes := r.ExpiresAt(), r.Tombstone()
	by := *r
	messages.ExpireBy(&by, j.TTL)
	expired := by.ExpiresAt()
	passed := !expired.IsZero() && !expired.After(j.Now)
	// What has expired shadows what is before it, as a tombstone does: readers that have
	// seen that hear nothing of this one's end.
	if (passes || passed) && offset < j.Due || passed && len(r.Key) == 0 {
		t.Removed++
		return true
	}
	t.Left++
	if passes || !own.IsZero() {
		t.Passing++
	}
	if !own.IsZero() && (t.Expires == 0 || own.UnixNano() < t.Expires) {
		t.Expires = own.UnixNano()
	}
	return false
}

// Add adds what was said of others.
func (t *Tally) Add(o Tally) {
	t.Superseded, t.Removed, t.Left = t.Superseded+o.Superseded, t.Removed+o.Removed, t.Left+o.Left
	t.Passing += o.Passing
	if o.Expires != 0 && (t.Expires == 0 || o.Expires < t.Expires) {
		t.Expires = o.Expires
	}
}
