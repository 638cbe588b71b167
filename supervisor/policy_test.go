package supervisor

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type codeError int

func (c codeError) Error() string { return fmt.Sprint("code ", int(c)) }

// A float rounds the longest delay up, beyond what a Duration holds.
func TestBackoffAtItsLongest(t *testing.T) {
	for _, b := range []Backoff{{Min: math.MaxInt64, Max: math.MaxInt64}, {Min: 1, Max: math.MaxInt64, Factor: 1e300, Jitter: 1}} {
		for _, attempt := range []int{1, 2, math.MaxInt} {
			if d := b.Delay(attempt, 0.999); d <= 0 {
				t.Errorf("%+v: attempt %d waits %s", b, attempt, d)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	other := &Backoff{Min: time.Hour, Max: time.Hour}
	p := Policy{
		Rules: []Rule{
			{If: ForError(errBoom), Then: Terminate},
			{If: ForType[codeError](), Then: Restart, Backoff: other},
			{If: ForType[*PanicError](), Then: Escalate},
		},
		Default: Restart,
		Backoff: Backoff{Min: time.Second, Max: time.Second},
	}
	for name, tc := range map[string]struct {
		err  error
		then Directive
		wait time.Duration
	}{
		"is":                           {fmt.Errorf("reading: %w", errBoom), Terminate, 0},
		"as":                           {fmt.Errorf("reading: %w", codeError(3)), Restart, time.Hour},
		"first match wins":             {errors.Join(codeError(3), errBoom), Terminate, 0},
		"a panic's error counts first": {&PanicError{Value: errBoom}, Terminate, 0},
		"a panic":                      {&PanicError{Value: "?"}, Escalate, 0},
		"default":                      {errors.New("new"), Restart, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			v := p.judge(&history{}, tc.err, time.Now(), 0.5)
			if v.directive != tc.then || v.delay != tc.wait || !errors.Is(v.err, tc.err) {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	start := time.Now()
	bug := &Budget{Restarts: 1, Window: time.Minute}
	p := Policy{
		Rules:  []Rule{{If: ForError(errBoom), Budget: bug}},
		Budget: Budget{Restarts: 3, Window: 10 * time.Second},
	}
	expected := errors.New("expected")
	for name, steps := range map[string][]struct {
		at   time.Duration
		err  error
		want Directive
	}{
		"used up":              {{0, expected, Restart}, {1, expected, Restart}, {2, expected, Restart}, {3, expected, Escalate}},
		"window moves":         {{0, expected, Restart}, {6, expected, Restart}, {7, expected, Restart}, {9, expected, Escalate}, {10, expected, Restart}, {11, expected, Escalate}, {16, expected, Restart}},
		"each rule counts own": {{0, expected, Restart}, {1, expected, Restart}, {2, errBoom, Restart}, {3, expected, Restart}, {4, errBoom, Escalate}, {63, errBoom, Restart}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{id: "orders/3", since: start}
			for i, s := range steps {
				v := p.judge(h, s.err, start.Add(s.at*time.Second), 0)
				if v.directive != s.want {
					t.Fatalf("step %d: %v, want %v", i, v.directive, s.want)
				}
				if v.directive != Escalate {
					continue
				}
				var b *BudgetError
				if !errors.As(v.err, &b) || !errors.Is(v.err, s.err) || b.Child != "orders/3" || !strings.Contains(v.err.Error(), "orders/3") {
					t.Errorf("step %d: cause %v", i, v.err)
				}
			}
		})
	}
}

func TestBudgetOfZeroHasNoLimit(t *testing.T) {
	h := &history{}
	for range 1000 {
		if v := (Policy{}).judge(h, errBoom, time.Now(), 0); v.directive != Restart {
			t.Fatal(v)
		}
	}
	if n := len(h.tallies[-1].restarts); n != 0 {
		t.Errorf("remembers %d restarts that nobody counts", n)
	}
}

func TestBudgetNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := Budget{Restarts: rapid.IntRange(1, 5).Draw(t, "restarts"), Window: time.Duration(rapid.IntRange(0, 50).Draw(t, "window"))}
		gaps := rapid.SliceOfN(rapid.IntRange(0, 30), 1, 60).Draw(t, "gaps")
		now := time.Unix(0, 0)
		var granted []time.Time
		h := &history{}
		for _, gap := range gaps {
			now = now.Add(time.Duration(gap))
			inWindow := 0
			for _, g := range granted {
				if budget.Window <= 0 || now.Sub(g) < budget.Window {
					inWindow++
				}
			}
			v := Policy{Budget: budget}.judge(h, errBoom, now, 0)
			if (v.directive == Restart) != (inWindow < budget.Restarts) {
				t.Fatalf("%v with %d of %d in the window", v.directive, inWindow, budget.Restarts)
			}
			if v.directive == Restart {
				granted = append(granted, now)
			}
		}
	})
}

func TestHealthyTimeResetsTheBackoff(t *testing.T) {
	p := Policy{Backoff: Backoff{Min: time.Second, Max: time.Hour, Factor: 2, Healthy: time.Minute}}
	now := time.Now()
	h := &history{since: now}
	for i, step := range []struct{ alive, delay time.Duration }{
		{0, time.Second}, {0, 2 * time.Second}, {59 * time.Second, 4 * time.Second},
		{time.Minute, time.Second}, {time.Second, 2 * time.Second}, {time.Hour, time.Second},
	} {
		now = now.Add(step.alive)
		v := p.judge(h, errBoom, now, 0)
		if v.delay != step.delay {
			t.Errorf("step %d: %v, want %v", i, v.delay, step.delay)
		}
		now = now.Add(v.delay)
		h.since = now
	}
}

func drawBackoff(t *rapid.T) Backoff {
	dur := rapid.Int64Range(0, int64(24*time.Hour))
	b := Backoff{
		Min:    time.Duration(dur.Draw(t, "min")) + 1,
		Max:    time.Duration(dur.Draw(t, "max")),
		Factor: rapid.Float64Range(0, 1e6).Draw(t, "factor"),
		Jitter: rapid.Float64Range(-1, 2).Draw(t, "jitter"),
	}
	b.Max = max(b.Max, b.Min)
	return b
}

// Promise: how long is healthy is each backoff's own: the restarts of another rule begin
// again when an incarnation lived as long as theirs says.
func TestHealthyTimeIsOfEachRule(t *testing.T) {
	expected := errors.New("expected")
	p := Policy{
		Rules:   []Rule{{If: ForError(expected), Backoff: &Backoff{Min: time.Second, Max: time.Hour, Healthy: 10 * time.Second}}},
		Backoff: Backoff{Min: time.Second, Max: time.Hour, Healthy: time.Minute},
	}
	bug := errors.New("a bug")
	h := history{id: "child", since: time.Unix(1000, 0)}
	for i, step := range []struct {
		lived time.Duration
		err   error
		want  int
	}{
		{0, bug, 1}, {0, expected, 1}, {0, expected, 2},
		{20 * time.Second, bug, 2}, // too short for a bug, and enough for what is expected
		{0, expected, 1},
		{20 * time.Second, expected, 1}, // too short for a bug
		{0, bug, 3},
		{time.Minute, expected, 1},
		{0, bug, 1},
	} {
		now := h.since.Add(step.lived)
		if v := p.judge(&h, step.err, now, 0); v.attempt != step.want {
			t.Errorf("step %d: attempt %d, want %d", i, v.attempt, step.want)
		}
		h.since = now
	}
}

func TestBackoffStaysWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBackoff(t)
		random := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "random")
		d := b.Delay(rapid.IntRange(-1, math.MaxInt).Draw(t, "attempt"), random)
		if d < b.Min || d > b.Max {
			t.Fatalf("%v is not within %v and %v", d, b.Min, b.Max)
		}
	})
}

func TestBackoffIsMonotoneWithoutJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBackoff(t)
		b.Jitter = 0
		attempt := rapid.IntRange(1, 1000).Draw(t, "attempt")
		random := rapid.Float64Range(0, 0.999).Draw(t, "random")
		if first, second := b.Delay(attempt, random), b.Delay(attempt+1, random); first > second {
			t.Fatalf("%v, then %v", first, second)
		}
		if b.Delay(attempt, 0) != b.Delay(attempt, 0.9) {
			t.Fatal("spreads without jitter")
		}
	})
}

func TestBackoffJitterSpreadsEvenAtTheEnds(t *testing.T) {
	b := Backoff{Min: time.Second, Max: time.Minute, Factor: 2, Jitter: 0.5}
	for _, attempt := range []int{1, 3, 50} {
		if lo, hi := b.Delay(attempt, 0), b.Delay(attempt, 0.999); hi-lo < time.Second/3 {
			t.Errorf("attempt %d: only %v to %v", attempt, lo, hi)
		}
	}
}

func TestBackoffTable(t *testing.T) {
	for name, tc := range map[string]struct {
		b    Backoff
		want []time.Duration
	}{
		"doubles":          {Backoff{Min: 1, Max: 10, Factor: 2}, []time.Duration{1, 2, 4, 8, 10, 10}},
		"factor 0 doubles": {Backoff{Min: 1, Max: 10}, []time.Duration{1, 2, 4, 8, 10, 10}},
		"factor below 1":   {Backoff{Min: 3, Max: 10, Factor: 0.5}, []time.Duration{3, 3, 3}},
		"max below min":    {Backoff{Min: 5, Max: 1, Factor: 2}, []time.Duration{5, 5}},
		"negative":         {Backoff{Min: -5, Max: -1, Factor: 2}, []time.Duration{0, 0}},
	} {
		for i, want := range tc.want {
			if got := tc.b.Delay(i+1, 0.5); got != want {
				t.Errorf("%s: attempt %d: %v, want %v", name, i+1, got, want)
			}
		}
	}
	if d := (Backoff{}).Delay(1, 0); d != DefaultBackoff().Min {
		t.Errorf("the zero Backoff begins with %v", d)
	}
}

func TestSpan(t *testing.T) {
	for s, want := range map[Strategy][2]int{OneForOne: {2, 3}, RestForOne: {2, 5}, AllForOne: {0, 5}} {
		if from, to := s.span(2, 5); from != want[0] || to != want[1] {
			t.Errorf("strategy %d: %d to %d", s, from, to)
		}
	}
}
