package age

import (
	"testing"
	"time"
)

// Promise: a number's age is known as exactly as it was noted, never more than it is, and
// with a bound of what is kept.
func TestMarks(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	var m Marks
	if got := m.Of(at(0), 1); got != 0 {
		t.Errorf("without a mark: %s", got)
	}
	for s := range 10 { // ten a second
		m.Note(at(s), uint64(10*s), 1)
	}
	for _, c := range []struct {
		of   uint64
		want int
	}{{1, 19}, {10, 19}, {11, 18}, {90, 11}, {91, 0}} {
		if got := m.Of(at(20), c.of); got != time.Duration(c.want)*time.Second {
			t.Errorf("%d is %s old, want %d s", c.of, got, c.want)
		}
	}
	m.Note(at(20), 90, 55) // nothing new, and much is settled
	if len(m.all) != 4 || m.Of(at(20), 55) != 14*time.Second {
		t.Errorf("%+v", m.all)
	}
	m.Note(at(21), 90, 91) // all is settled
	if len(m.all) != 0 {
		t.Errorf("%+v", m.all)
	}
	for s := range 5000 {
		m.Note(at(s), uint64(100+s), 100)
		if len(m.all) > mostMarks {
			t.Fatalf("%d marks", len(m.all))
		}
	}
	if got := m.Of(at(5000), 100); got > 5000*time.Second || got < 2500*time.Second {
		t.Errorf("the oldest is %s old, want up to 5000 s", got)
	}
}
