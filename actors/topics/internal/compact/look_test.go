package compact

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Promise: a pass is made when what is new is as much as what is read again for it, and
// little waits for more; tombstones and expiries are looked for when they are due.
func TestWorth(t *testing.T) {
	cfg := messages.TopicConfig{Compaction: messages.CompactByKey, TombstoneGrace: 80 * time.Minute, CompactionLag: time.Minute}
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		Look
		want bool
	}{
		"nothing":                {Look{Clean: 1, Since: time.Hour}, false},
		"as much as there is":    {Look{Dirty: 2 << 20, Clean: 2 << 20}, true},
		"less":                   {Look{Dirty: 2 << 20, Clean: 4 << 20, Since: 159 * time.Second}, false},
		"less, later":            {Look{Dirty: 2 << 20, Clean: 4 << 20, Since: 160 * time.Second}, true},
		"little, at once":        {Look{Dirty: 10, Clean: 10, Since: time.Second}, false},
		"little, later":          {Look{Dirty: 10, Clean: 10, Since: 11 * time.Second}, true},
		"tombstones":             {Look{Clean: 1, Passing: 1, Due: 5, Removed: 4, Since: 10 * time.Minute}, true},
		"tombstones, soon after": {Look{Clean: 1, Passing: 1, Due: 5, Removed: 4, Since: 9 * time.Minute}, false},
		"tombstones, not due":    {Look{Clean: 1, Passing: 1, Due: 5, Removed: 5, Since: time.Hour}, false},
		"no tombstones":          {Look{Clean: 1, Due: 5, Removed: 4, Since: time.Hour}, false},
		"expired":                {Look{Clean: 1, Passing: 1, Expires: now.UnixNano(), Since: 10 * time.Minute}, true},
		"not expired":            {Look{Clean: 1, Passing: 1, Expires: now.UnixNano() + 1, Since: time.Hour}, false},
	} {
		c.Now = now
		if got := c.Worth(&cfg); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Promise: the records of a batch stay while the window of ids reaches back to it: by time, by
// records and by bytes.
func TestKnown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	end := format.LogEnd{Offset: 1000, Bytes: 100 << 20}
	for name, c := range map[string]struct {
		window time.Duration
		ago    time.Duration
		base   int64
		bytes  int64
		want   bool
	}{
		"in the window":           {time.Hour, 30 * time.Minute, 990, 90 << 20, true},
		"no window":               {0, 30 * time.Minute, 990, 90 << 20, false},
		"too old":                 {time.Hour, time.Hour + 2*slack, 990, 90 << 20, false},
		"by a clock that is late": {time.Hour, time.Hour + slack/2, 990, 90 << 20, true},
		"the first of the last":   {time.Hour, time.Minute, 900, 90 << 20, true},
		"before these":            {time.Hour, time.Minute, 899, 90 << 20, false},
		"too many bytes ago":      {time.Hour, time.Minute, 990, 30 << 20, false},
	} {
		cfg := messages.TopicConfig{DedupeWindow: c.window, DedupeRecords: 100}
		e := format.Entry{Base: c.base, Count: 1, LogBytes: c.bytes}
		if got := Known(&cfg, e, now.Add(-c.ago).UnixNano(), end, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Promise: an end is older than the lag when it was seen that long ago, whatever was seen
// since; of a log that was set back nothing is.
func TestEnds(t *testing.T) {
	const lag = 80 * time.Second
	var e Ends
	for second := range 1000 {
		at := time.Duration(second) * time.Second
		e.Saw(format.LogEnd{Offset: int64(second), Last: int64(second) - 1}, at, lag)
		end, ok := e.Older(at, lag)
		if most := int64(second) - 80; ok != (most >= 0) || ok && (end.Offset > most || end.Offset < most-12) {
			t.Fatalf("after %d s: %d, %v", second, end.Offset, ok)
		}
		if len(e.seen) > 12 {
			t.Fatalf("%d ends are kept", len(e.seen))
		}
	}
	e.Saw(format.LogEnd{Offset: 500, Last: 3}, 1000*time.Second, lag)
	if end, ok := e.Older(1001*time.Second, lag); ok {
		t.Errorf("of the log that was set back %d is old", end.Offset)
	}
	if end, ok := e.Older(1080*time.Second, lag); !ok || end.Offset != 500 {
		t.Errorf("an end that stays: %d, %v", end.Offset, ok)
	}
}

// Promise: what expires shadows what is before it, and goes when a tombstone would; a
// record without a key goes when it has expired, and at no other time.
func TestJudge(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	newest := NewNewest(10)
	past, future := now.Add(-time.Second), now.Add(time.Second)
	msgs := []messages.Message{
		{Key: []byte("a")}, {}, {ExpiresAt: past}, {Key: []byte("a"), ExpiresAt: past}, {Key: []byte("b"), ExpiresAt: future}, {Key: []byte("c"), Tombstone: true}, {Key: []byte("d"), Time: now.Add(-time.Hour)},
	}
	b := &format.Batch{Count: len(msgs)}
	for i := range msgs {
		b.Raw = messages.AppendRecord(b.Raw, &msgs[i])
	}
	if err := newest.Take(b); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		j    Judge
		gone []bool
	}{
		"first":    {Judge{}, []bool{true, false, true, false, false, false, false}},
		"due":      {Judge{Due: 7}, []bool{true, false, true, true, false, true, false}},
		"half due": {Judge{Due: 4}, []bool{true, false, true, true, false, false, false}},
		"by TTL":   {Judge{Due: 7, TTL: time.Minute}, []bool{true, false, true, true, false, true, true}},
	} {
		c.j.Newest, c.j.Now = newest, now
		var tally Tally
		rest := b.Raw
		for at := range c.gone {
			var r messages.Payload
			n, err := messages.ConsumeRecord(rest, &r)
			if err != nil {
				t.Fatal(err)
			}
			if gone := c.j.Gone(int64(at), &r, &tally); gone != c.gone[at] {
				t.Errorf("%s: %d goes: %v", name, at, gone)
			}
			rest = rest[n:]
		}
		if tally.Superseded != 1 || tally.Superseded+tally.Removed+tally.Left != len(msgs) || tally.Expires == 0 {
			t.Errorf("%s: %+v", name, tally)
		}
	}
}
