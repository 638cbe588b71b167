package format

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: a tombstone is due when a pass ended behind it the grace ago, however often
// passes end, and not sooner.
func TestTombstonesAreDue(t *testing.T) {
	const grace = 800 * time.Second
	begin := time.UnixMilli(1_700_000_000_000)
	var c Compacted
	for second := range 4000 {
		now := begin.Add(time.Duration(second) * time.Second)
		if second%7 == 0 {
			c.UpTo = int64(second)
			c.Passed(now, grace)
		}
		due := c.Due(now, grace)
		if most := int64(second) - 800; due > max(0, most) || due < most-250 {
			t.Fatalf("after %d s those before %d are due", second, due)
		}
		again, err := ParseCompacted("k", []byte(c.Value(uint64(second)+1)))
		if err != nil || again.Due(now, grace) != due || again.UpTo != c.UpTo {
			t.Fatalf("after %d s %+v became %+v, %v", second, c, again, err)
		}
		if second%2 == 0 {
			c = again
		}
	}
	// A clock that was set back makes nothing due.
	if due := c.Due(begin, grace); due != 0 {
		t.Errorf("before the first pass those before %d are due", due)
	}
}

func FuzzParseCompacted(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(Encode(&pb.Compacted{Number: 1, UpTo: 9, Removed: 3, Clean: []*pb.Clean{{Before: 3, SinceUnixMs: 5}, {Before: 9, SinceUnixMs: 1 << 62}}})))
	f.Add([]byte(Encode(&pb.Compacted{UpTo: 1, Clean: []*pb.Clean{{Before: 2}}})))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := ParseCompacted("key", value)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		now := time.UnixMilli(1_700_000_000_000)
		if due := c.Due(now, time.Hour); due < 0 || due > c.UpTo {
			t.Fatalf("before %d of %d are due", due, c.UpTo)
		}
		c.Passed(now, time.Hour)
		if _, err := ParseCompacted("key", []byte(c.Value(1))); err != nil {
			t.Fatal(err)
		}
	})
}
