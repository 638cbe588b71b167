package demo

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

func TestHandledSurvivesItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := handled{
			rapid.IntRange(0, mostMessages).Draw(t, "number"), rapid.IntRange(0, messages.MaxPartitions).Draw(t, "partition"),
			rapid.Int64Min(0).Draw(t, "offset"),
		}
		line := string(appendHandled(nil, h))
		if got, err := parseHandled(strings.TrimSuffix(line, "\n")); err != nil || got != h {
			t.Fatalf("%q: %+v, %v, want %+v", line, got, err, h)
		}
	})
	for _, bad := range []string{"", "1", "1 2", "1 2 x", "1 2 3 4", "-1 2 3", "1 2 -3", "99999999999 1 1", "1  2 3"} {
		if h, err := parseHandled(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, h)
		}
	}
}

func FuzzParseHandled(f *testing.F) {
	f.Add("12 3 400")
	f.Add("-1 0 0")
	f.Fuzz(func(t *testing.T, line string) {
		h, err := parseHandled(line)
		if err == nil && (h.number < 0 || h.partition < 0 || h.offset < 0) {
			t.Errorf("%q: %+v", line, h)
		}
	})
}

func TestTopicTallyKnowsWhatMayBeHandledTwice(t *testing.T) {
	type event struct {
		h  handled
		by handler
	}
	early, late := handled{1, 0, 10}, handled{2, 0, 20} // committed before the kill, and not
	for name, c := range map[string]struct {
		floor                          []int64 // nil: nobody was killed
		events                         []event
		handled, distinct, unexplained int
	}{
		"once each":                  {nil, []event{{early, byVictim}, {late, bySurvivor}}, 2, 2, 0},
		"taken over":                 {[]int64{20}, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 0},
		"taken over, reported late":  {[]int64{20}, []event{{late, bySurvivor}, {late, byVictim}}, 2, 1, 0},
		"though committed":           {[]int64{20}, []event{{early, byVictim}, {early, bySurvivor}}, 2, 1, 1},
		"before the kill":            {nil, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 1},
		"by survivors":               {[]int64{0}, []event{{late, bySurvivor}, {late, bySurvivor}}, 2, 1, 1},
		"by the victim alone":        {[]int64{0}, []event{{late, byVictim}, {late, byVictim}}, 2, 1, 1},
		"taken over twice":           {[]int64{0}, []event{{late, byVictim}, {late, bySurvivor}, {late, bySurvivor}}, 3, 1, 1},
		"nothing was ever committed": {[]int64{-1}, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 0},
		"an unknown partition":       {[]int64{0}, []event{{handled{2, 1, 20}, byVictim}, {handled{2, 1, 20}, bySurvivor}}, 2, 1, 1},
	} {
		tally := newTopicTally(3)
		tally.floor = c.floor
		for _, e := range c.events {
			if err := tally.add(e.h, e.by, time.Unix(2, 0)); err != nil {
				t.Fatal(err)
			}
		}
		r := TopicResult{Put: c.distinct, Stored: int64(c.distinct)}
		r.fill(tally, time.Unix(1, 0))
		if r.Handled != c.handled || r.Distinct != c.distinct || r.Unexplained != c.unexplained || r.Duplicates != c.handled-c.distinct || r.Lost != 0 || r.PerSecond != float64(c.distinct) {
			t.Errorf("%s: %+v", name, r)
		}
		if err := r.Verdict(c.distinct); (err != nil) != (c.unexplained > 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newTopicTally(3).add(handled{number: 3}, byVictim, time.Time{}); err == nil {
		t.Error("a record that was never put was counted")
	}
}

func TestTopicVerdict(t *testing.T) {
	good := TopicResult{Put: 3, Stored: 3}
	if err := good.Verdict(3); err != nil {
		t.Error(err)
	}
	for says, r := range map[string]TopicResult{
		"2 of 3 records were put":           {Put: 2, Stored: 2},
		"1 records were lost":               {Put: 3, Stored: 3, Lost: 1},
		"1 records were handled twice":      {Put: 3, Stored: 3, Unexplained: 1},
		"holds 4 records, and 3 were put":   {Put: 3, Stored: 4},
		"2 records were lost\n1 records we": {Put: 3, Stored: 3, Lost: 2, Unexplained: 1},
	} {
		if err := r.Verdict(3); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
}
