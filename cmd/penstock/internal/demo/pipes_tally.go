package demo

// What the members of the demo of pipes report, and what follows from it.

import (
	"fmt"
	"strings"
	"time"
)

// report is one message that a member has handled and not yet acked.
type report struct {
	number      int
	redelivered bool
}

// appendReport is a report as a member writes it.
func appendReport(dst []byte, r report) []byte {
	if r.redelivered {
		return fmt.Appendf(dst, "%d again\n", r.number)
	}
	return fmt.Appendf(dst, "%d\n", r.number)
}

// parseReport takes one line, without its newline.
func parseReport(line string) (report, error) {
	digits, rest, again := strings.Cut(line, " ")
	n, err := numberOf([]byte(digits))
	if err != nil || again && rest != "again" {
		return report{}, fmt.Errorf("a member reports %q", line)
	}
	return report{n, again}, nil
}

// tally counts the reports of a group.
type tally struct {
	seen        []bool // by number
	delivered   int
	distinct    int
	redelivered int
	last        time.Time // when the last new one came
}

func newTally(messages int) *tally { return &tally{seen: make([]bool, messages)} }

func (t *tally) add(r report, now time.Time) error {
	if r.number >= len(t.seen) {
		return fmt.Errorf("message %d was reported, and never sent", r.number)
	}
	t.delivered++
	if r.redelivered {
		t.redelivered++
	}
	if !t.seen[r.number] {
		t.seen[r.number] = true
		t.distinct++
		t.last = now
	}
	return nil
}

// GroupResult is the end of a group.
type GroupResult struct {
	Delivered   int     `json:"delivered"`
	Distinct    int     `json:"distinct"`
	Duplicates  int     `json:"duplicates"`
	Lost        int     `json:"lost"`
	Redelivered int     `json:"redelivered"`
	PerSecond   float64 `json:"messages_per_second"`
}

func (t *tally) result(sent int, began time.Time) GroupResult {
	r := GroupResult{
		Delivered: t.delivered, Distinct: t.distinct, Duplicates: t.delivered - t.distinct,
		Lost: sent - t.distinct, Redelivered: t.redelivered,
	}
	if took := t.last.Sub(began); took > 0 {
		r.PerSecond = float64(int(float64(t.distinct) / took.Seconds()))
	}
	return r
}

func (r GroupResult) String() string {
	return fmt.Sprintf("delivered %d  distinct %d  duplicates %d  lost %d  redelivered %d  %.0f messages/s",
		r.Delivered, r.Distinct, r.Duplicates, r.Lost, r.Redelivered, r.PerSecond)
}

// Result is what --json prints.
type Result struct {
	Sent   int                    `json:"sent"`
	Killed *Killed                `json:"killed,omitempty"`
	Groups map[string]GroupResult `json:"groups"`
}

// Killed is the member that did not live to see the end.
type Killed struct {
	Member string `json:"member"`
	PID    int    `json:"pid"`
	// After is how many messages or records it had reported.
	After int `json:"after"`
}

func (k Killed) String() string {
	return fmt.Sprintf("killed member %s (pid %d), which had handled %d", k.Member, k.PID, k.After)
}

// Lost returns how many messages no member of a group handled, over all groups.
func (r Result) Lost() (n int) {
	for _, g := range r.Groups {
		n += g.Lost
	}
	return n
}

// The kill is in the middle of the sending, so that messages are on their way
// to the victim. It waits, at a quarter, for a victim that is at work.
func pauseAt(messages int) int { return messages / 4 }

func killAt(messages int) int { return messages / 2 }

// atWork reports whether the sender need not pause any longer: the victim has
// handled something, or its group has had all there is.
func atWork(group, own, messages int) bool { return own > 0 || group >= pauseAt(messages) }
