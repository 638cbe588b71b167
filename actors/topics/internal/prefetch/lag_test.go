package prefetch

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Promise: the lag is what is not committed, and as old as its oldest record: as its
// batch, or as the lag is known when nothing was fetched. It is never negative. A claim
// remembers a bounded number of batches.
func TestLag(t *testing.T) {
	var trusted atomic.Int64
	b := New(Config{Topic: "t", Group: "g", MaxFetched: 1 << 20}, nil, &trusted, nil)
	c := &Claim{Partition: 3, Fence: 7}
	b.Add(c, Place{Offset: 100, Base: 100, Written: true})
	begin := time.Unix(1000, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	end := int64(100)
	is := func(what string, now int, records int64, age int) {
		t.Helper()
		got, old := b.Lag(at(now), func(int) (int64, bool) { return end, end >= 0 })
		if got != records || old != time.Duration(age)*time.Second {
			t.Errorf("%s: %d records, %s old; want %d, %d s", what, got, old, records, age)
		}
	}
	fetched := func(base int64, n, written int) {
		room := b.Reserve(c)
		b.Fill(c, []*format.Batch{{Base: base, Count: n, Time: at(written).UnixNano(), Raw: make([]byte, n)}}, room)
	}
	is("at the end", 0, 0, 0)
	end = -1
	is("an unknown end", 0, 0, 0)
	end = 110
	is("not fetched", 5, 10, 0)
	is("not fetched for 3 s", 8, 10, 3)
	fetched(100, 5, 2)
	fetched(105, 5, 4)
	is("fetched", 10, 10, 8)
	b.Wrote(format.Position{Partition: 3, Fence: 7, Offset: 102})
	is("a part of the first is committed", 10, 8, 8)
	b.Wrote(format.Position{Partition: 3, Fence: 7, Offset: 105})
	is("the first is committed", 10, 5, 6)
	b.Pause(3)
	is("paused, so that nothing is read ahead", 10, 5, 6)
	b.Resume(3)
	fetched(105, 5, 9) // the same again
	is("fetched again", 11, 5, 7)
	b.Wrote(format.Position{Partition: 3, Fence: 7, Offset: 110})
	is("all is committed", 11, 0, 0)
	end = 109
	is("an end that lags behind", 11, 0, 0)
	end = 120
	is("more", 20, 10, 0)
	b.Seek(c, 115, 115)
	is("moved", 21, 10, 1)
	for i := range 10 * mostWritten {
		c.remember(&format.Batch{Base: 1000 + int64(i), Count: 1, Time: at(30 + i).UnixNano()})
		if len(c.written) > mostWritten || !c.written[0].at.Equal(at(30)) {
			t.Fatalf("%d batches are remembered, the first of %s", len(c.written), c.written[0].at)
		}
	}
}
