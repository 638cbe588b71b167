package demo

// What the members of the demo of topics report, and what follows from it.

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// handled is one record that a member has handled and may not have committed.
type handled struct {
	number    int
	partition int
	offset    int64
}

func appendHandled(dst []byte, h handled) []byte {
	return fmt.Appendf(dst, "%d %d %d\n", h.number, h.partition, h.offset)
}

// parseHandled takes one line, without its newline.
func parseHandled(line string) (handled, error) {
	n, rest, _ := strings.Cut(line, " ")
	p, o, _ := strings.Cut(rest, " ")
	number, nerr := strconv.ParseUint(n, 10, 31)
	partition, perr := strconv.ParseUint(p, 10, 31)
	offset, oerr := strconv.ParseUint(o, 10, 63)
	if nerr != nil || perr != nil || oerr != nil {
		return handled{}, fmt.Errorf("a member reports %q", line)
	}
	return handled{int(number), int(partition), int64(offset)}, nil
}

// parseCount takes a producer's line.
func parseCount(line string) (int, error) {
	n, err := numberOf([]byte(line))
	if err != nil {
		return 0, fmt.Errorf("a producer reports %q", line)
	}
	return n, nil
}

// handler is who has handled a record: a set.
type handler uint8

const (
	byVictim   handler = 1 << iota // the member that is killed
	bySurvivor                     // any other
)

// topicTally keeps the books on a group with a member that is killed.
type topicTally struct {
	seen []handler // by number
	// floor is what the group had committed, by partition, before the kill;
	// nil before that.
	floor []int64

	handled, distinct, unexplained int
	last                           time.Time // when the last new one came
}

func newTopicTally(records int) *topicTally { return &topicTally{seen: make([]handler, records)} }

// add enters one report. A record may be handled twice only when the member
// that was killed handled it and had not committed it, and once more by one
// survivor.
func (t *topicTally) add(h handled, by handler, now time.Time) error {
	if h.number >= len(t.seen) {
		return fmt.Errorf("record %d was reported, and never put", h.number)
	}
	t.handled++
	before := t.seen[h.number]
	t.seen[h.number] |= by
	if before == 0 {
		t.distinct++
		t.last = now
		return nil
	}
	const both = byVictim | bySurvivor
	takenOver := before != both && before|by == both
	if !takenOver || h.partition >= len(t.floor) || h.offset < t.floor[h.partition] {
		t.unexplained++
	}
	return nil
}

// TopicResult is what demo --topics --json prints.
type TopicResult struct {
	Put         int     `json:"put"`
	Stored      int64   `json:"stored"`
	Handled     int     `json:"handled"`
	Distinct    int     `json:"distinct"`
	Duplicates  int     `json:"duplicates"`
	Unexplained int     `json:"unexplained"`
	Lost        int     `json:"lost"`
	Killed      Killed  `json:"killed"`
	PerSecond   float64 `json:"records_per_second"`
}

// fill enters the end of the books.
func (r *TopicResult) fill(t *topicTally, began time.Time) {
	r.Handled, r.Distinct, r.Unexplained = t.handled, t.distinct, t.unexplained
	r.Duplicates, r.Lost = t.handled-t.distinct, r.Put-t.distinct
	if took := t.last.Sub(began); took > 0 {
		r.PerSecond = float64(int(float64(t.distinct) / took.Seconds()))
	}
}

func (r *TopicResult) String() string {
	return fmt.Sprintf("put %d  stored %d  handled %d  distinct %d  duplicates %d (unexplained %d)  lost %d  %.0f records/s",
		r.Put, r.Stored, r.Handled, r.Distinct, r.Duplicates, r.Unexplained, r.Lost, r.PerSecond)
}

// Verdict is the error of a demo that has not kept what topics promise.
func (r *TopicResult) Verdict(records int) error {
	var errs []error
	if r.Put != records {
		errs = append(errs, fmt.Errorf("%d of %d records were put", r.Put, records))
	}
	if r.Lost != 0 {
		errs = append(errs, fmt.Errorf("%d records were lost", r.Lost))
	}
	if r.Unexplained != 0 {
		errs = append(errs, fmt.Errorf("%d records were handled twice without a reason", r.Unexplained))
	}
	if r.Stored != int64(r.Put) {
		errs = append(errs, fmt.Errorf("the topic holds %d records, and %d were put", r.Stored, r.Put))
	}
	return errors.Join(errs...)
}
