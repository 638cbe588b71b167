package keeper

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// batches are n batches of ten records and a hundred bytes, a minute apart, the last at
// noon.
func batches(n int) (all []format.Entry) {
	for i := range n {
		all = append(all, format.Entry{
			Base: int64(10 * i), Count: 10, Bytes: 100, LogBytes: int64(1000 + 100*(i+1)),
			MaxTime: noon.Add(time.Duration(i-n+1) * time.Minute).UnixNano(),
		})
	}
	return all
}

func endOf(entries []format.Entry) format.LogEnd { return entries[len(entries)-1].LogEnd() }

func TestExpired(t *testing.T) {
	ten := batches(10)
	future := batches(10)
	future[0].MaxTime = noon.Add(time.Hour).UnixNano()
	for _, tt := range []struct {
		name    string
		cfg     messages.TopicConfig
		entries []format.Entry
		done    int64
		want    int
		why     string
	}{
		{"no limits", messages.TopicConfig{}, ten, 100, 0, ""},
		{"age", messages.TopicConfig{MaxAge: 5 * time.Minute}, ten, 0, 5, whyAge},
		{"age of all", messages.TopicConfig{MaxAge: time.Millisecond}, ten[:9], 0, 9, whyAge},
		{"the shorter of both", messages.TopicConfig{MaxAge: time.Hour, TTL: 5 * time.Minute}, ten, 0, 5, whyAge},
		{"a batch of the future is young, and so are those behind it", messages.TopicConfig{MaxAge: time.Minute}, future, 0, 0, ""},
		{"bytes", messages.TopicConfig{MaxBytes: 500}, ten, 0, 5, whyBytes},
		{"bytes, not a whole batch above", messages.TopicConfig{MaxBytes: 450}, ten, 0, 6, whyBytes},
		{"the last stays whatever its size", messages.TopicConfig{MaxBytes: 1}, ten, 0, 9, whyBytes},
		{"records", messages.TopicConfig{MaxRecords: 35}, ten, 0, 7, whyRecords},
		{"what is refused is not deleted", messages.TopicConfig{MaxRecords: 35, Discard: messages.DiscardNew}, ten, 0, 0, ""},
		{"done", messages.TopicConfig{Retention: messages.RetainUntilDone}, ten, 39, 3, whyDone},
		{"all done", messages.TopicConfig{Retention: messages.RetainUntilDone}, ten, 100, 10, whyDone},
		{"nobody has done anything", messages.TopicConfig{Retention: messages.RetainUntilDone}, ten, undone, 0, ""},
		{"whichever says so first", messages.TopicConfig{MaxAge: 8 * time.Minute, MaxRecords: 35}, ten, 0, 7, whyAge},
	} {
		p := judged{end: ten[9].LogEnd(), done: tt.done}
		if n, why := expired(&tt.cfg, p, tt.entries, noon); n != tt.want || why != tt.why {
			t.Errorf("%s: %d for %q, want %d for %q", tt.name, n, why, tt.want, tt.why)
		}
	}
}

// Promise: what is deleted is what is above the limit and nothing more: one batch less, and
// the limit would be exceeded.
func TestExpiredIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := batches(rapid.IntRange(1, 40).Draw(t, "batches"))
		cfg := messages.TopicConfig{
			MaxBytes:   rapid.Int64Range(0, 5000).Draw(t, "bytes"),
			MaxRecords: rapid.Int64Range(0, 500).Draw(t, "records"),
		}
		n, _ := expired(&cfg, judged{end: endOf(all)}, all, noon)
		if n == len(all) {
			t.Fatal("nothing is left")
		}
		over := func(n int) bool {
			bytes, records := int64(100*(len(all)-n)), int64(10*(len(all)-n))
			return cfg.MaxBytes > 0 && bytes > cfg.MaxBytes || cfg.MaxRecords > 0 && records > cfg.MaxRecords
		}
		if over(n) && n < len(all)-1 {
			t.Fatalf("%d of %d deleted, and too much is left", n, len(all))
		}
		if n > 0 && !over(n-1) {
			t.Fatalf("%d of %d deleted, one too many", n, len(all))
		}
	})
}

// Promise: a batch whose time is in the future ages from when it was seen.
func TestFutureAges(t *testing.T) {
	all := batches(2)
	all[0].MaxTime = noon.Add(1000 * time.Hour).UnixNano()
	p := judged{end: endOf(all), aged: make(map[int64]time.Time)}
	cfg := messages.TopicConfig{MaxAge: time.Hour}
	for after, want := range map[time.Duration]int{0: 0} {
		if n, _ := expired(&cfg, p, all, noon.Add(after)); n != want {
			t.Errorf("after %s: %d", after, n)
		}
	}
	if n, _ := expired(&cfg, p, all, noon.Add(59*time.Minute)); n != 0 {
		t.Errorf("before an hour: %d", n)
	}
	if n, _ := expired(&cfg, p, all, noon.Add(time.Hour)); n != 2 {
		t.Errorf("after an hour: %d", n)
	}
}

func TestAgain(t *testing.T) {
	all := batches(10)
	seen := func(at time.Duration, bytes int64) sight {
		return sight{at: at, end: format.LogEnd{Bytes: bytes}, bytes: bytes}
	}
	for _, tt := range []struct {
		name        string
		cfg         messages.TopicConfig
		before, now sight
		want        time.Duration
	}{
		{"age alone", messages.TopicConfig{MaxAge: time.Hour}, sight{}, seen(1, 0), idlest},
		{"the first expires soon", messages.TopicConfig{MaxAge: 9*time.Minute + 3*time.Second}, sight{}, seen(1, 0), 3 * time.Second},
		{"a limit that is far", messages.TopicConfig{MaxBytes: 1 << 30}, seen(1, 100), seen(time.Second, 200), latest},
		{"a limit that is near", messages.TopicConfig{MaxBytes: 320 << 20}, seen(1, 0), seen(1+time.Second, 240<<20), 5 * time.Second / 24},
		{"a limit that is reached", messages.TopicConfig{MaxBytes: 200}, seen(1, 0), seen(1+time.Second, 200), 12 * time.Second / 400},
		{"a limit that is exceeded", messages.TopicConfig{MaxBytes: 200}, seen(1, 0), seen(1+time.Second, 400), soonest},
		{"seen first", messages.TopicConfig{MaxBytes: 200}, sight{}, seen(1, 200), brisk},
		{"seen first, and empty", messages.TopicConfig{MaxBytes: 16 << 20}, sight{}, seen(1, 0), 156250 * time.Microsecond},
		{"seen first, in records", messages.TopicConfig{MaxRecords: 200}, sight{}, seen(1, 200), latest},
	} {
		if got := again(&tt.cfg, judged{}, all[0], tt.before, tt.now, noon); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Promise: what is kept is less than the limit only where a partition grows fast, and then
// by a fifth at most.
func TestAheadOfFastGrowth(t *testing.T) {
	cfg := messages.TopicConfig{MaxBytes: 500}
	all := batches(10)
	for grew, want := range map[int64]struct {
		ahead int64
		gone  int
	}{-1: {0, 5}, 0: {0, 5}, 50: {0, 5}, 60: {10, 6}, 5000: {100, 6}} {
		p := judged{end: endOf(all)}
		p.ahead = ahead(&cfg, format.LogEnd{Bytes: p.end.Bytes - grew}, p.end)
		if n, _ := expired(&cfg, p, all, noon); p.ahead != want.ahead || n != want.gone {
			t.Errorf("grown by %d: %d ahead, %d batches deleted, want %+v", grew, p.ahead, n, want)
		}
	}
}

// Promise: entries stay for a minute from when their trimming was seen, and a start that
// goes back deletes nothing.
func TestSweptWaits(t *testing.T) {
	var k swept
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	for _, step := range []struct {
		after       time.Duration
		start, upTo int64
	}{
		{0, 10, 0}, {30 * time.Second, 20, 0}, {59 * time.Second, 20, 0}, {60 * time.Second, 20, 10},
		{80 * time.Second, 20, 0}, {90 * time.Second, 20, 20}, {200 * time.Second, 20, 0},
		{210 * time.Second, 30, 0}, {240 * time.Second, 5, 0}, {280 * time.Second, 5, 0}, {300 * time.Second, 5, 5},
	} {
		k.owed = 0 // it was deleted
		if k.sees(step.start, at(step.after)); k.owed != step.upTo {
			t.Errorf("after %s at %d: up to %d, want %d", step.after, step.start, k.owed, step.upTo)
		}
	}
}

// Promise: the history is compacted to what was seen long enough ago, never to newer.
func TestHistorySees(t *testing.T) {
	h := &history{keep: LeastHistory}
	for _, step := range []struct {
		after          time.Duration
		revision, upTo int64
	}{
		{0, 100, 0}, {time.Minute, 200, 0}, {5*time.Minute - 1, 300, 0}, {5 * time.Minute, 400, 100},
		{6 * time.Minute, 500, 200}, {7 * time.Minute, 50, 0}, {11 * time.Minute, 60, 0}, {12 * time.Minute, 70, 50},
	} {
		if got := h.sees(step.revision, noon.Add(step.after)); got != step.upTo {
			t.Errorf("after %s at %d: %d, want %d", step.after, step.revision, got, step.upTo)
		}
	}
}

// Promise: the clock follows steps back at once, and steps forward when they have stood.
func TestClock(t *testing.T) {
	var now reading
	var steps []time.Duration
	set := func(steady time.Duration, off time.Duration) {
		now = reading{noon.Add(steady + off), 1 + steady}
	}
	set(0, 0)
	c := newClock(func() reading { return now }, func(by time.Duration) { steps = append(steps, by) })
	for _, tt := range []struct{ steady, off, want time.Duration }{
		{time.Minute, 0, 0},
		{2 * time.Minute, time.Second, time.Second},        // it drifts
		{3 * time.Minute, -time.Hour, -time.Hour},          // a step back
		{4 * time.Minute, 0, -time.Hour},                   // and forward again
		{13 * time.Minute, 0, -time.Hour},                  // which has not stood for long
		{14 * time.Minute, 0, 0},                           // and now has
		{15 * time.Minute, 24 * time.Hour, 0},              // by a day
		{20 * time.Minute, 0, 0},                           // which was mended
		{40 * time.Minute, time.Second, time.Second},       // so that nothing is left of it
		{41 * time.Minute, 24 * time.Hour, time.Second},    // the next one is as new
		{50 * time.Minute, 24 * time.Hour, time.Second},    // for ten minutes
		{51 * time.Minute, 24 * time.Hour, 24 * time.Hour}, // and not longer
		{60 * time.Minute, 25 * time.Hour, 24 * time.Hour}, // an hour more
		{69 * time.Minute, 49 * time.Hour, 24 * time.Hour}, // and a day, before that has stood
		{71 * time.Minute, 49 * time.Hour, 24 * time.Hour}, // stands for as long itself
		{79 * time.Minute, 49 * time.Hour, 49 * time.Hour},
	} {
		set(tt.steady, tt.off)
		if got := c.Now().Sub(noon.Add(tt.steady)); got != tt.want {
			t.Errorf("after %s, off by %s: off by %s, want %s", tt.steady, tt.off, got, tt.want)
		}
	}
	if len(steps) != 6 {
		t.Errorf("told of %v", steps)
	}
}
