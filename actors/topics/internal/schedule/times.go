package schedule

// The ticks of an expression.
//
// The parser knows no time zones here: it is given the clocks' time as if it were UTC. What
// becomes of times that are skipped or shown twice is decided in this file.

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"

	"github.com/penstock-io/penstock/messages"
)

const (
	// Least is the shortest interval.
	Least = time.Second
	// Most is the longest interval.
	Most = 10 * 365 * 24 * time.Hour

	fields = 5
	every  = "@every"
)

// names are the expressions that have one.
var names = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

// Times are the ticks of a schedule. It is not changed, and safe for concurrent use.
type Times struct {
	// interval is that of an interval, counted from from; 0 of an expression.
	interval time.Duration
	from     time.Time

	expr *cronexpr.Expression
	zone *time.Location
	// hourly: it ticks in every hour.
	hourly bool
}

// Parse reads an expression and its time zone, empty for UTC. Intervals count from from. It
// returns all faults, which wrap messages.ErrInvalid and say what to write in their place.
func Parse(cron, zone string, from time.Time) (*Times, error) {
	t := &Times{from: from, zone: time.UTC}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{messages.ErrInvalid}, args...)...))
	}
	switch text, isEvery := strings.CutPrefix(cron, every); {
	case isEvery:
		t.interval = interval(strings.TrimSpace(text), fault)
		if zone != "" {
			fault("time zone %q: an interval has none, as it is the same everywhere", zone)
			return nil, errors.Join(faults...)
		}
	default:
		t.expression(cron, fault)
	}
	if zone != "" && zone != "UTC" {
		var err error
		switch t.zone, err = time.LoadLocation(zone); {
		case zone == "Local":
			fault("time zone %q: it is another one in each process; name it, as Europe/Berlin", zone)
		case err != nil:
			fault("time zone %q: %v; it is an IANA name, as Europe/Berlin, and this process or host has to know it (see time/tzdata)", zone, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if t.expr != nil && t.expr.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("%w: expression %q: no day of the calendar matches it", messages.ErrInvalid, cron)
	}
	return t, nil
}

// interval reads what is behind @every.
func interval(text string, fault func(string, ...any)) time.Duration {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		fault("interval %q: it is a duration, as %s 10m", text, every)
	case d < Least || d > Most || d%time.Second != 0:
		fault("interval %s: it must have whole seconds, at least one, and no more than ten years", text)
	}
	return d
}

func (t *Times) expression(cron string, fault func(string, ...any)) {
	const what = "five fields (minute, hour, day of the month, month, day of the week), @hourly, @daily, @weekly, @monthly, @yearly, or @every and an interval"
	text := strings.TrimSpace(cron)
	if named, ok := names[strings.ToLower(text)]; ok {
		text = named
	}
	parts := strings.Fields(text)
	switch {
	case text == "":
		fault("no expression: give %s", what)
		return
	case strings.HasPrefix(text, "@"), strings.ContainsRune(text, '='), len(parts) != fields:
		fault("expression %q: it has to have %s; the time zone is apart", cron, what)
		return
	}
	expr, err := cronexpr.Parse(text)
	if err != nil {
		fault("expression %q: %v", cron, err)
		return
	}
	t.expr = expr
	switch parts[1] {
	case "*", "?", "*/1", "0-23":
		t.hourly = true
	}
}

// After is the first tick after a time; the zero Time when there is none any more.
func (t *Times) After(at time.Time) time.Time {
	switch {
	case t.interval > 0:
		return t.counted(at)
	case t.hourly:
		return t.shown(at)
	}
	return t.once(at)
}

// counted is After of an interval.
func (t *Times) counted(at time.Time) time.Time {
	if at.Before(t.from) {
		return t.from.Add(t.interval).UTC()
	}
	since := at.Sub(t.from)
	return at.Add(t.interval - since%t.interval).UTC()
}

// shown is After of an expression that ticks whenever the clocks show a time that it
// matches.
func (t *Times) shown(at time.Time) time.Time {
	local := at.In(t.zone)
	for {
		_, offset := local.Zone()
		_, end := local.ZoneBounds()
		by := time.Duration(offset) * time.Second
		clock := t.expr.Next(at.UTC().Add(by))
		if clock.IsZero() {
			return time.Time{}
		}
		tick := clock.Add(-by)
		if end.IsZero() || tick.Before(end) {
			return tick
		}
		// The clocks are set before: what they show from then on counts, that moment too.
		local, at = end.In(t.zone), end.Add(-time.Nanosecond)
	}
}

// once is After of an expression that ticks once for each time of the clocks.
func (t *Times) once(at time.Time) time.Time {
	for clock := clocks(at.In(t.zone)); ; {
		if clock = t.expr.Next(clock); clock.IsZero() {
			return time.Time{}
		}
		if tick := t.first(clock); tick.After(at) {
			return tick
		}
	}
}

// clocks is what the clocks show, as if it were UTC.
func clocks(local time.Time) time.Time {
	_, offset := local.Zone()
	return local.UTC().Add(time.Duration(offset) * time.Second)
}

// first is when the clocks show a time first, or are set over it.
func (t *Times) first(clock time.Time) time.Time {
	near := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, t.zone)
	start, end := near.ZoneBounds()
	var found time.Time
	for _, then := range []time.Time{start.Add(-time.Nanosecond), near, end} {
		if then.IsZero() || start.IsZero() && then.Before(near) {
			continue
		}
		_, offset := then.In(t.zone).Zone()
		at := clock.Add(-time.Duration(offset) * time.Second)
		if clocks(at.In(t.zone)).Equal(clock) && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if !found.IsZero() {
		return found
	}
	for _, change := range []time.Time{start, end} {
		if change.IsZero() {
			continue
		}
		before, after := clocks(change.Add(-time.Nanosecond).In(t.zone)), clocks(change.In(t.zone))
		if clock.After(before) && clock.Before(after) {
			return change.UTC()
		}
	}
	return near.UTC() // there is no such time
}

// count is how many ticks are in [from, to): up to most.
func (t *Times) count(from, to time.Time, most uint64) (n uint64) {
	for at := t.After(from.Add(-time.Nanosecond)); n < most && !at.IsZero() && at.Before(to); at = t.After(at) {
		n++
	}
	return n
}

// last are the newest n ticks in [from, to), the oldest first.
func (t *Times) last(n int, from, to time.Time) (ticks []time.Time) {
	for back := time.Minute; ; back *= 4 {
		begin, all := to.Add(-back), false
		if !begin.After(from) || back > Most {
			begin, all = from, true
		}
		ticks = ticks[:0]
		for at := t.After(begin.Add(-time.Nanosecond)); !at.IsZero() && at.Before(to); at = t.After(at) {
			if ticks = append(ticks, at); len(ticks) > n {
				ticks = ticks[1:]
			}
		}
		if all || len(ticks) == n {
			return ticks
		}
	}
}
