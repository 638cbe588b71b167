package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestReportsSurviveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := report{rapid.IntRange(0, mostMessages).Draw(t, "number"), rapid.Bool().Draw(t, "again")}
		line := string(appendReport(nil, r))
		if got, err := parseReport(strings.TrimSuffix(line, "\n")); err != nil || got != r {
			t.Fatalf("%q: %+v, %v, want %+v", line, got, err, r)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add("12 again")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseReport(line)
		if err == nil && r.number < 0 {
			t.Errorf("%q: %+v", line, r)
		}
	})
}

func TestTallyCountsAsItsReportsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.IntRange(1, 50).Draw(t, "messages")
		reports := rapid.SliceOf(rapid.IntRange(0, messages-1)).Draw(t, "reports")
		began := time.Unix(1000, 0)
		a := newTally(messages)
		for i, n := range reports {
			if err := a.add(report{n, i%3 == 0}, began.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		distinct := slices.Clone(reports)
		slices.Sort(distinct)
		distinct = slices.Compact(distinct)
		want := GroupResult{
			Delivered: len(reports), Distinct: len(distinct), Duplicates: len(reports) - len(distinct),
			Lost: messages - len(distinct), Redelivered: (len(reports) + 2) / 3, PerSecond: float64(len(distinct)),
		}
		if got := a.result(messages, began); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
	if err := newTally(3).add(report{number: 3}, time.Time{}); err == nil {
		t.Error("a message that was never sent was counted")
	}
}
