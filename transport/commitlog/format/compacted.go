package format

// How far the compaction of a partition has come.

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages/pb"
)

// Compacted is how far the compaction of a partition has come. Its zero value is of one
// that has yet to begin.
type Compacted struct {
	// UpTo: of the records before it that are left, no two have one key. LogBytes is that
	// of the batch that ends there, Bytes what the batches before it took.
	UpTo, LogBytes, Bytes int64
	// Passing counts the tombstones, and the records that expire, before UpTo. Expires is
	// when the first of these expires, in nanoseconds since 1970 UTC; 0 is never.
	Passing, Expires int64
	// Removed: before it, tombstones were removed that were due then.
	Removed int64
	clean   []clean // the oldest first
}

// clean: since a time, nothing before an offset supersedes anything.
type clean struct {
	before int64
	since  time.Time
}

// mostClean bounds how many ends of passes are remembered; they are at least an eighth of
// the grace apart, but for the last one.
const mostClean = 16

// Passed takes in that a pass has ended at c.UpTo.
func (c *Compacted) Passed(now time.Time, grace time.Duration) {
	last := clean{c.UpTo, now}
	if n := len(c.clean); n >= 2 && (c.clean[n-1].since.Sub(c.clean[n-2].since) < grace/8 || n == mostClean) {
		c.clean[n-1] = last
		return
	}
	c.clean = append(c.clean, last)
}

// Due is the offset before which tombstones are due: for grace and longer, nothing before
// them has had their key. Ends of passes that are not needed any more are forgotten.
func (c *Compacted) Due(now time.Time, grace time.Duration) (before int64) {
	for i := len(c.clean) - 1; i >= 0; i-- {
		if now.Sub(c.clean[i].since) >= grace {
			c.clean = c.clean[i:]
			return c.clean[0].before
		}
	}
	return 0
}

// Value is c as etcd keeps it. number is random.
func (c *Compacted) Value(number uint64) string {
	v := &pb.Compacted{
		Number: number, UpTo: c.UpTo, LogBytes: c.LogBytes, Bytes: c.Bytes,
		Passing: c.Passing, ExpiresUnixNano: c.Expires, Removed: c.Removed,
	}
	for _, m := range c.clean {
		v.Clean = append(v.Clean, &pb.Clean{Before: m.before, SinceUnixMs: m.since.UnixMilli()})
	}
	return Encode(v)
}

// ParseCompacted reads the value of a partition's key. The error wraps
// messages.ErrCorrupt and names the key.
func ParseCompacted(key string, value []byte) (Compacted, error) {
	var v pb.Compacted
	if err := proto.Unmarshal(value, &v); err != nil {
		return Compacted{}, corrupt(key, "%v", err)
	}
	c := Compacted{
		UpTo: v.UpTo, LogBytes: v.LogBytes, Bytes: v.Bytes,
		Passing: v.Passing, Expires: v.ExpiresUnixNano, Removed: v.Removed,
	}
	for _, m := range v.Clean {
		if n := len(c.clean); m.Before < 0 || m.Before > v.UpTo || n > 0 && m.Before < c.clean[n-1].before || n == mostClean {
			return Compacted{}, corrupt(key, "the end %d of a pass, before %d of %d", m.Before, v.UpTo, n)
		}
		c.clean = append(c.clean, clean{m.Before, pb.Time(m.SinceUnixMs)})
	}
	if c.UpTo < 0 || c.Removed < 0 || c.Removed > c.UpTo {
		return Compacted{}, corrupt(key, "compacted up to %d, and tombstones up to %d", c.UpTo, c.Removed)
	}
	return c, nil
}
