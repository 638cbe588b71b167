package format

// Promise: what a group has done of a partition comes back from etcd as it was, and every
// question about it has one answer, whichever way it is asked. What makes no sense is
// ErrCorrupt, never less than there was.

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// progresses draws a progress behind an offset, and what it says of each of the next 60.
func progresses(t *rapid.T, offset int64) (p Progress, done map[int64]bool, tried map[int64]Tried) {
	done, tried = map[int64]bool{}, map[int64]Tried{}
	for o := offset; o < offset+60; o++ {
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0, 1:
			done[o] = true
			p.Done = AppendRange(p.Done, o, o+1)
		case 2:
			tried[o] = Tried{Offset: o, Attempts: rapid.IntRange(0, 300).Draw(t, "attempts"), Deaths: rapid.IntRange(0, 3).Draw(t, "deaths")}
			if rapid.Bool().Draw(t, "waits") {
				tr := tried[o]
				tr.NotBefore = time.UnixMilli(rapid.Int64Range(1, 1<<41).Draw(t, "until")).UTC()
				tried[o] = tr
			}
			p.Tried = append(p.Tried, tried[o])
		}
	}
	p.Takeovers, p.Careful = rapid.IntRange(0, 5).Draw(t, "takeovers"), rapid.Int64Range(0, 100).Draw(t, "careful")
	return p, done, tried
}

func TestProgress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 1000).Draw(t, "offset")
		p, done, tried := progresses(t, offset)
		now := time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "now"))
		c, err := ParseCommitted("k", []byte(CommittedValue(Position{Offset: offset, Progress: p}, 0, 0, now)))
		if err != nil {
			t.Fatal(err)
		}
		back, ok := ProgressOf(c)
		if !ok || !back.Equal(p) || back.IsZero() != p.IsZero() {
			t.Fatalf("%+v came back as %+v", p, back)
		}
		from := rapid.Int64Range(offset, offset+70).Draw(t, "from")
		rest, mark, past, count := p.From(from), int64(math.MaxInt64), from, int64(0)
		for done[past] {
			past++
		}
		for o := from; o < offset+60; o++ {
			if _, had := tried[o]; (had || done[o]) && mark == math.MaxInt64 {
				mark = o
			}
			if done[o] {
				count++
			}
		}
		if p.Mark(from) != mark || p.Past(from) != past || rest.Count() != count {
			t.Fatalf("from %d the mark is %d, past it %d, %d are finished; want %d, %d and %d", from, p.Mark(from), p.Past(from), rest.Count(), mark, past, count)
		}
		for o := offset; o < offset+70; o++ {
			got, had := rest.TriedAt(o)
			want, is := tried[o]
			if rest.IsDone(o) != (done[o] && o >= from) || had != (is && o >= from) || had && got != want {
				t.Fatalf("offset %d from %d: %v, %+v", o, from, rest.IsDone(o), got)
			}
		}
		with := p.With(Tried{Offset: from, Attempts: 1000})
		if got, _ := with.TriedAt(from); got.Attempts != 1000 || !slices.IsSortedFunc(with.Tried, func(a, b Tried) int { return int(a.Offset - b.Offset) }) {
			t.Fatalf("%+v", with)
		}
		if again, _ := ProgressOf(c); !again.Equal(p) {
			t.Fatal("With has changed what it was called on")
		}
	})
}

// A position without progress is what earlier versions wrote, byte for byte.
func TestCommittedWithoutProgress(t *testing.T) {
	now := time.UnixMilli(1234)
	got := CommittedValue(Position{Offset: 7, Base: 5, Fence: 3}, 0, 0, now)
	if want := Encode(&pb.Committed{Offset: 7, Base: 5, Fence: 3, UnixMs: 1234}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProgressThatMakesNoSense(t *testing.T) {
	for name, c := range map[string]*pb.Committed{
		"half a range":         {Done: []uint64{1}},
		"an empty range":       {Done: []uint64{1, 0}},
		"ranges that touch":    {Done: []uint64{1, 1, 0, 1}},
		"a range past the end": {Offset: 1, Done: []uint64{math.MaxInt64 - 1, 1}},
		"a gap past the end":   {Done: []uint64{math.MaxUint64, 1}},
		"a length past it":     {Done: []uint64{1, math.MaxUint64}},
		"tried twice":          {Tried: []*pb.Tried{{Gap: 1}, {Gap: 0}}},
		"tried past the end":   {Offset: 1, Tried: []*pb.Tried{{Gap: math.MaxInt64}}},
		"too many attempts":    {Tried: []*pb.Tried{{Gap: 1, Attempts: math.MaxUint32}}},
		"careful of nothing":   {Careful: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCommitted("k", []byte(Encode(c))); !errors.Is(err, messages.ErrCorrupt) {
				t.Errorf("%v", err)
			}
		})
	}
}

// FuzzCommitted: whatever stands in etcd is a position that can be written again as it
// is, or ErrCorrupt.
func FuzzCommitted(f *testing.F) {
	f.Add([]byte(Encode(&pb.Committed{Offset: 5, Done: []uint64{1, 2, 3, 4}, Tried: []*pb.Tried{{Attempts: 1}, {Gap: 3, Deaths: 2, WaitMs: proto.Int64(-5)}}, Takeovers: 2, Careful: 9})))
	f.Add([]byte(Encode(&pb.Committed{Offset: 5, Base: 3, Fence: 2})))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := ParseCommitted("k", value)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		p, _ := ProgressOf(c)
		again, err := ParseCommitted("k", []byte(CommittedValue(Position{Offset: c.Offset, Base: c.Base, Progress: p}, 0, 0, time.UnixMilli(c.UnixMs))))
		if err != nil {
			t.Fatal(err)
		}
		if q, _ := ProgressOf(again); !q.Equal(p) {
			t.Fatalf("%+v came back as %+v", p, q)
		}
	})
}
