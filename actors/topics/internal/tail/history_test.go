package tail

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// changingLog is a log in etcd that is set back now and then, and what one reader of
// a partition hears of it.
type changingLog struct {
	t        *rapid.T
	r        Reader[int]
	log      []format.Entry
	untold   []format.Entry // put, and on their way in the watch
	sequence uint64
}

func (l *changingLog) end() int64 {
	if len(l.log) == 0 {
		return 0
	}
	return l.log[len(l.log)-1].End()
}

// put grows the log; some of the batches are of this process, which knows them
// before the watch tells.
func (l *changingLog) put(n int) {
	for range n {
		l.sequence++
		e := format.Entry{Base: l.end(), Count: rapid.IntRange(1, 5).Draw(l.t, "count"), Sequence: l.sequence}
		l.log = append(l.log, e)
		l.untold = append(l.untold, e)
		if rapid.Bool().Draw(l.t, "own") {
			l.r.Appended(e, &format.Batch{Base: e.Base, Count: e.Count})
		}
		for len(l.untold) > rapid.IntRange(0, mostOwn-1).Draw(l.t, "lag") {
			l.tell()
		}
	}
}

func (l *changingLog) tell() {
	l.r.Indexed(l.untold[0])
	l.untold = l.untold[1:]
}

// look is what the partition does, with what comes from etcd; news come while it
// looks.
func (l *changingLog) look() {
	from := l.r.BeginLook()
	has := make([]bool, len(from.Known))
	for i, e := range from.Known {
		has[i] = slices.ContainsFunc(l.log, e.IsOf)
	}
	s := Finding{End: l.end(), Common: CommonWith(from.Known, has)}
	if !slices.Contains(has[len(has)-len(from.Newest()):], false) && s.Common != WholeLog {
		l.t.Fatalf("the newest of %+v stand, and not all do", from.Known)
	}
	if len(l.log) > 0 {
		s.Newest = l.log[len(l.log)-1]
	}
	l.put(rapid.IntRange(0, 5).Draw(l.t, "put while it looks"))
	for len(l.untold) > 0 {
		l.tell()
	}
	l.r.Looked(from, s)
	if l.r.end < l.end() {
		l.t.Fatalf("the end is %d, it is said to be %d", l.end(), l.r.end)
	}
}

// setBack restores a backup, with a watch that hears nothing until it is opened
// again.
func (l *changingLog) setBack() {
	l.log = slices.Clone(l.log[:rapid.IntRange(0, len(l.log)).Draw(l.t, "kept")])
	l.untold = nil
	for range rapid.IntRange(0, 40).Draw(l.t, "grown") {
		l.sequence++
		e := format.Entry{Base: l.end(), Count: rapid.IntRange(1, 5).Draw(l.t, "count"), Sequence: l.sequence}
		l.log = append(l.log, e)
		if rapid.Bool().Draw(l.t, "own") {
			l.r.Appended(e, &format.Batch{Base: e.Base, Count: e.Count})
		}
	}
	if rapid.Bool().Draw(l.t, "busy") {
		l.r.Owe()
		l.put(rapid.IntRange(0, 30).Draw(l.t, "put before it looks"))
	}
	l.look()
}

// Promise: however often a log is set back and grows again, whoever has read a
// record that is not in it any more is warned, and the end is known.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &changingLog{t: t, r: NewReader[int]()}
		type reader struct {
			history int
			read    []format.Entry
		}
		var readers []*reader
		l.look()
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				l.put(rapid.IntRange(1, 20).Draw(t, "put"))
			case 1: // a reader that has come so far
				known := slices.IndexFunc(l.log, func(e format.Entry) bool { return e.End() > l.r.end })
				if known < 0 {
					known = len(l.log)
				}
				readers = append(readers, &reader{l.r.LogNumber(), slices.Clone(l.log[:rapid.IntRange(0, known).Draw(t, "read")])})
			case 2:
				l.setBack()
			case 3:
				l.look()
			}
			for _, x := range readers {
				var offset int64
				same := len(x.read) <= len(l.log)
				for i, e := range x.read {
					offset = e.End()
					same = same && l.log[i].IsOf(e)
				}
				if !same && !l.r.strays(x.history, offset) {
					t.Fatalf("who read to %d of log %d is not warned: %+v, %+v", offset, x.history, x.read, l.log)
				}
				if x.history == l.r.LogNumber() && l.r.strays(x.history, offset) {
					t.Fatalf("who read to %d of this log is warned", offset)
				}
			}
			if len(l.r.known) > mostKnown || len(l.r.own) > mostOwn {
				t.Fatalf("%d and %d are remembered", len(l.r.known), len(l.r.own))
			}
			if !slices.IsSortedFunc(l.r.marks(), func(a, b format.Entry) int { return int(a.Base - b.Base) }) {
				t.Fatalf("marks: %+v", l.r.marks())
			}
		}
	})
}

// A reader that waits at the end since it began has a place in the log of then.
func TestHistoryWarnsAReaderThatWaitsSinceItBegan(t *testing.T) {
	entry := func(base int64, sequence uint64) format.Entry {
		return format.Entry{Base: base, Count: 5, Sequence: sequence}
	}
	r := NewReader[int]()
	f := &Request[int]{Reader: 1, Offset: 20}
	r.Ask(f)
	r.Looked(r.BeginLook(), Finding{End: 20, Newest: entry(15, 1), Common: WholeLog})
	if got := r.Needs(f); got != NeedsNews {
		t.Fatal(got)
	}
	from := r.BeginLook()
	r.Looked(from, Finding{End: 40, Newest: entry(35, 2), Common: CommonWith(from.Known, []bool{false})})
	if got := r.Needs(f); got != NeedsWarning {
		t.Errorf("it needs %v, not a warning", got)
	}
}

// A reader that has not come to where the log is another one is not warned.
func TestHistoryWarnsNobodyWhoIsBehind(t *testing.T) {
	var h history
	for base := range int64(100) {
		h.remember(format.Entry{Base: base * 10, Count: 10, Sequence: uint64(base)})
	}
	has := make([]bool, len(h.known))
	for i, e := range h.known {
		has[i] = e.Base < 800
	}
	common := CommonWith(h.known, has)
	if common > 800 || common < 600 {
		t.Fatalf("the log is said to be the same up to %d, it is up to 800", common)
	}
	h.replaced(common)
	for offset, want := range map[int64]bool{0: false, common: false, common + 1: true, 1000: true} {
		if got := h.strays(1, offset); got != want {
			t.Errorf("offset %d: warned %v, want %v", offset, got, want)
		}
	}
	if h.strays(2, 1000) || h.strays(0, 1000) {
		t.Error("who begins now is warned")
	}
}
