package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func times(t testing.TB, cron, zone string) *Times {
	t.Helper()
	x, err := Parse(cron, zone, at(t, "2026-01-01T00:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Promise: where clocks are changed, each expression ticks as the package says: once for a
// time that is skipped or shown twice if it names hours, by what the clocks show if it does
// not, and an interval as ever.
func TestTicksWhereClocksAreChanged(t *testing.T) {
	for _, tt := range []struct {
		name, cron, zone, from string
		ticks                  []string // in the zone
	}{
		{"Berlin skips the hour of the tick", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"Berlin skips several ticks and the next is at the change", "0,15,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"Berlin skips, every hour", "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"}},
		{"Berlin skips, every hour at the change", "0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{"Berlin shows the hour of the tick twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"Berlin shows it twice, asked within the second time", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z",
			[]string{"2026-10-26T02:30:00+01:00"}},
		{"Berlin twice, every hour", "30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		{"New York skips", "15 2 * * *", "America/New_York", "2026-03-08T00:00:00Z",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"}},
		{"New York twice", "15 1 * * *", "America/New_York", "2026-11-01T00:00:00Z",
			[]string{"2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"}},
		{"New York twice, every half hour", "*/30 * * * *", "America/New_York", "2026-11-01T04:45:00Z",
			[]string{"2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:00:00-05:00"}},
		{"Lord Howe skips half an hour", "10 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:10:00+11:00"}},
		{"Lord Howe shows half an hour twice", "40 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
			[]string{"2026-04-05T01:40:00+11:00", "2026-04-06T01:40:00+10:30"}},
		{"Lord Howe twice, every hour", "45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z",
			[]string{"2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-05T02:45:00+10:30"}},
		{"an interval", "@every 30m", "", "2026-03-29T00:15:00Z",
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		{"a day of the month or of the week", "0 0 13 * 5", "", "2026-02-01T00:00:00Z",
			[]string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"a month's last days", "0 0 31 * *", "Europe/Berlin", "2026-01-31T12:00:00Z", []string{"2026-03-31T00:00:00+02:00", "2026-05-31T00:00:00+02:00"}},
		{"a name", "@weekly", "Europe/Berlin", "2026-01-01T00:00:00Z", []string{"2026-01-04T00:00:00+01:00"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, now := times(t, tt.cron, tt.zone), at(t, tt.from)
			for _, want := range tt.ticks {
				if now = x.After(now); !now.Equal(at(t, want)) {
					t.Fatalf("tick at %s, want %s", now.In(at(t, want).Location()).Format(time.RFC3339), want)
				}
			}
		})
	}
}

// Promise: the error of an expression has every fault in it, and says what to write.
func TestFaultsOfExpressions(t *testing.T) {
	for _, tt := range []struct {
		cron, zone string
		says       []string
	}{
		{"", "", []string{"five fields"}},
		{"61 * * * *", "Mars/Olympus", []string{"minute", "61", "Mars/Olympus", "Europe/Berlin"}},
		{"* * * *", "", []string{"five fields"}},
		{"0 * * * * *", "", []string{"five fields"}},
		{"TZ=UTC 0 * * * *", "", []string{"time zone is apart"}},
		{"0 0 30 2 *", "", []string{"no day"}},
		{"5-1 * * * *", "", []string{"no day"}},
		{"@reboot", "", []string{"@daily"}},
		{"@every 10", "", []string{"@every 10m"}},
		{"@every 100ms", "", []string{"whole seconds"}},
		{"@every 90s", "Europe/Berlin", []string{"an interval has none"}},
		{"@every 200000h", "", []string{"ten years"}},
		{"@daily", "Local", []string{"name it"}},
	} {
		_, err := Parse(tt.cron, tt.zone, time.Now())
		if !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%q in %q: %v", tt.cron, tt.zone, err)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q in %q: %v, which does not say %q", tt.cron, tt.zone, err, part)
			}
		}
	}
}

var (
	someCrons = []string{"30 2 * * *", "*/7 * * * *", "15 1-3 * * *", "0 0 * * *", "59 23 31 12 *", "0 */2 * * *", "@every 7m", "@hourly", "45 1,2 * * 0"}
	someZones = []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago", "Africa/Casablanca"}
)

func drawTimes(t *rapid.T) *Times {
	cron, zone := rapid.SampledFrom(someCrons).Draw(t, "cron"), rapid.SampledFrom(someZones).Draw(t, "zone")
	if strings.HasPrefix(cron, every) {
		zone = ""
	}
	x, err := Parse(cron, zone, time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func drawTime(t *rapid.T, label string) time.Time {
	return time.Unix(rapid.Int64Range(1767225600, 1830297600).Draw(t, label), rapid.SampledFrom([]int64{0, 1, 999999999}).Draw(t, label+" ns")).UTC()
}

// Promise: a tick is after the time it was asked for, nothing lies between, and who asks from
// anywhere before it finds the same.
func TestTicksAreTheSameForEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, now := drawTimes(t), drawTime(t, "now")
		tick := x.After(now)
		if !tick.After(now) {
			t.Fatalf("the tick after %v is %v", now, tick)
		}
		between := now.Add(time.Duration(rapid.Int64Range(0, int64(tick.Sub(now))-1).Draw(t, "between")))
		if again := x.After(between); !again.Equal(tick) {
			t.Fatalf("the tick after %v is %v, and after %v it is %v", now, tick, between, again)
		}
	})
}

// Promise: the newest ticks of a span are those that counting through it finds.
func TestNewestOfASpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, from := drawTimes(t), drawTime(t, "from")
		to := from.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "span")))
		n := rapid.IntRange(1, 20).Draw(t, "n")
		var all []time.Time
		for tick := x.After(from.Add(-time.Nanosecond)); tick.Before(to); tick = x.After(tick) {
			all = append(all, tick)
		}
		got := x.last(n, from, to)
		want := all[max(0, len(all)-n):]
		if len(got) != len(want) || len(got) > 0 && !got[0].Equal(want[0]) {
			t.Fatalf("the last %d are %v, want %v", n, got, want)
		}
		if c := x.count(from, to, 1e6); c != uint64(len(all)) {
			t.Fatalf("counted %d, want %d", c, len(all))
		}
	})
}
