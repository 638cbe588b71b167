package tail

// Promise: whatever order news come in, memory returns one unbroken run of
// batches that holds the offset asked for, and keeps no more than it may.

import (
	"bytes"
	"reflect"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
	"github.com/penstock-io/penstock/transport/commitlog/format/formattest"
)

// smallLog has tiny batches.
var smallLog = formattest.NewLog(0)

// entryOf is what the index says of a batch, with the batch in it or not.
func entryOf(b *format.Batch, inline bool) format.Entry {
	e := format.Entry{Base: b.Base, Count: b.Count, Raw: len(b.Raw), Sequence: uint64(b.Base)}
	if inline {
		s := format.Seal(b.Raw, b.Count, b.Time, b.Time, b.Time, messages.CompressNone, 1, e.Sequence)
		e.Body = bytes.Clone(s.Body(b.Base))
	}
	return e
}

func TestReadingInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewReader[int]()
		written := 0 // batches that etcd has
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0: // a few more, whose news come or not
				written += rapid.IntRange(1, 3).Draw(t, "more")
			case 1:
				if written > 0 {
					b := smallLog.Batch(0, rapid.IntRange(0, written-1).Draw(t, "appended"))
					r.Appended(format.Entry{Base: b.Base, Count: b.Count}, b)
				}
			case 2:
				if written > 0 {
					b := smallLog.Batch(0, rapid.IntRange(0, written-1).Draw(t, "entry"))
					known := r.end
					inline := rapid.Bool().Draw(t, "inline")
					kept := len(r.fresh)
					gap := r.Indexed(entryOf(b, inline))
					if next := b.Base == known && inline; next && len(r.inMemory(b.Base, 0)) == 0 || !next && len(r.fresh) > kept {
						t.Fatalf("the batch at %d behind %d, in its entry %v: %d are kept, were %d", b.Base, known, inline, len(r.fresh), kept)
					}
					if want := known != UnknownEnd && b.Base > known; gap != want {
						t.Fatalf("news of %d behind %d: gap is %v", b.Base, known, gap)
					}
				}
			case 3:
				from := r.BeginLook()
				r.Looked(from, Finding{End: smallLog.End(0, written), Common: WholeLog})
				if r.LogNumber() != 1 {
					t.Fatalf("rolled back from %d to %d", from.end, smallLog.End(0, written))
				}
			case 4:
				limit := rapid.IntRange(0, 3*overhead).Draw(t, "limit")
				if r.Evict(limit); r.bytes > limit {
					t.Fatalf("%d bytes are left, %d may be", r.bytes, limit)
				}
			}
			checkReading(t, &r, smallLog.End(0, written))
		}
	})
}

// checkReading compares what r says with the log that ends at end.
func checkReading(t *rapid.T, r *Reader[int], end int64) {
	bytes := 0
	for i, b := range r.fresh {
		bytes += len(b.Raw) + overhead
		if i > 0 && r.fresh[i-1].End() > b.Base {
			t.Fatalf("fresh batches overlap at %d", b.Base)
		}
	}
	if bytes != r.bytes {
		t.Fatalf("%d bytes are counted, there are %d", r.bytes, bytes)
	}
	if r.end > end {
		t.Fatalf("the end is said to be %d, it is %d", r.end, end)
	}
	room := rapid.IntRange(0, 200).Draw(t, "room")
	for offset := range end + 2 {
		got := r.inMemory(offset, room)
		size := 0
		for i, b := range got {
			size += len(b.Raw)
			if i == 0 && (offset < b.Base || offset >= b.End()) || i > 0 && b.Base != got[i-1].End() {
				t.Fatalf("asked for %d: batch %d begins at %d", offset, i, b.Base)
			}
			if !reflect.DeepEqual(b, smallLog.Batch(0, smallLog.Holding(0, b.Base))) {
				t.Fatalf("the batch at %d is another", b.Base)
			}
		}
		if len(got) > 1 && size > room {
			t.Fatalf("%d bytes, there is room for %d", size, room)
		}
		want := NeedsBodies
		switch {
		case len(got) > 0:
			want = NeedsNothing
		case r.end == UnknownEnd || offset > r.end:
			want = NeedsLook
		case offset == r.end:
			want = NeedsNews
		}
		if n := r.Needs(&Request[int]{Offset: offset}); n != want {
			t.Fatalf("offset %d of %d needs %d, want %d", offset, r.end, n, want)
		}
	}
}

// News that come while somebody looks are no sign of a log set back; an end
// before the one known when the look began is.
func TestReadingRollback(t *testing.T) {
	for name, tc := range map[string]struct {
		before, news, found int64
		rolledBack          bool
		end                 int64
	}{
		"first look":           {UnknownEnd, UnknownEnd, 10, false, 10},
		"nothing new":          {10, 10, 10, false, 10},
		"news meanwhile":       {10, 20, 10, false, 20},
		"both":                 {10, 20, 30, false, 30},
		"set back":             {10, 10, 5, true, 5},
		"set back, then news":  {10, 20, 5, true, 5},
		"set back to nothing":  {10, 10, 0, true, 0},
		"an end behind a hint": {0, 0, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Request[int]{Reader: "early", Offset: 4}
			r := Reader[int]{end: tc.before, page: []format.Entry{{Base: 0, Count: 4}}}
			r.Ask(f)
			from := r.BeginLook()
			r.end = tc.news
			r.Ask(&Request[int]{Reader: "late", Offset: 100})
			r.Looked(from, Finding{End: tc.found, Common: WholeLog})
			if got := r.LogNumber() == 2; got != tc.rolledBack || r.end != tc.end {
				t.Errorf("rolled back: %v, end %d; want %v, %d", got, r.end, tc.rolledBack, tc.end)
			}
			if tc.rolledBack && len(r.page) > 0 {
				t.Error("the old index is kept")
			}
			if len(from.Asked) != 1 || from.Asked[0] != f {
				t.Errorf("%d are refused for what was found before they asked", len(from.Asked)-1)
			}
		})
	}
}

// Who reads ahead of a look that may find another log gets nothing of that log from
// memory, or it would not be warned.
func TestBatchesOfADoubtedLogAreNotKept(t *testing.T) {
	first, second, third := smallLog.Batch(0, 0), smallLog.Batch(0, 1), smallLog.Batch(0, 2)
	for name, doubt := range map[string]func(r *Reader[int]) (over func()){
		"owed": func(r *Reader[int]) func() {
			r.Owe()
			return func() { r.Looked(r.BeginLook(), Finding{End: second.End(), Common: WholeLog}) }
		},
		"under way": func(r *Reader[int]) func() {
			from := r.BeginLook()
			return func() { r.Looked(from, Finding{End: second.End(), Common: WholeLog}) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader[int]()
			r.Looked(r.BeginLook(), Finding{End: first.End(), Newest: entryOf(first, false), Common: WholeLog})
			at := func(b *format.Batch) Need { return r.Needs(&Request[int]{Offset: b.Base, History: 1}) }
			over := doubt(&r)
			r.Indexed(entryOf(second, true))
			if n := at(second); n != NeedsBodies {
				t.Errorf("while it is doubted: %v", n)
			}
			over()
			r.Indexed(entryOf(third, true))
			if n := at(third); n != NeedsNothing {
				t.Errorf("afterwards: %v", n)
			}
		})
	}
}

// Batches of next to no bytes take memory all the same.
func TestTinyBatchesCount(t *testing.T) {
	r := NewReader[int]()
	for base := range int64(FreshBytes / 32) {
		b := &format.Batch{Base: base, Count: 1, Raw: []byte{0}}
		r.Appended(format.Entry{Base: base, Count: 1, Raw: 1}, b)
	}
	r.Evict(FreshBytes)
	if took := len(r.fresh) * int(unsafe.Sizeof(format.Batch{})+unsafe.Sizeof(&format.Batch{})); took > FreshBytes {
		t.Errorf("%d batches take %d bytes, there may be %d", len(r.fresh), took, FreshBytes)
	}
	if len(r.fresh) == 0 {
		t.Error("nothing is kept")
	}
}

// What an entry has in it is not believed.
func TestDamagedBatchesAreNotKept(t *testing.T) {
	b := smallLog.Batch(0, 0)
	r := NewReader[int]()
	r.Looked(r.BeginLook(), Finding{Common: WholeLog})
	e := entryOf(b, true)
	e.Body[len(e.Body)-1] ^= 1
	if r.Indexed(e) || r.End() != b.End() || r.Bytes() != 0 {
		t.Errorf("the end is %d, %d bytes are kept", r.End(), r.Bytes())
	}
}

// One request takes as much as there is room for in memory, which is more than
// in etcd where batches are packed, and one batch whatever its size.
func TestPortion(t *testing.T) {
	packed := func(base int64, bytes, raw int) format.Entry {
		return format.Entry{Base: base, Count: 10, Bytes: bytes, Raw: raw}
	}
	apart := func(n int) (entries []format.Entry) {
		for i := range n {
			entries = append(entries, packed(10*int64(i), 1, 1))
		}
		return entries
	}
	inline := func(n int) []format.Entry {
		entries := apart(n)
		for i := range entries {
			entries[i].Body = []byte{1}
		}
		return entries
	}
	for name, test := range map[string]struct {
		entries []format.Entry
		room    int
		want    int
	}{
		"all":                          {[]format.Entry{packed(0, 10, 100), packed(10, 10, 100)}, 200, 2},
		"by unpacked":                  {[]format.Entry{packed(0, 10, 100), packed(10, 10, 101)}, 200, 1},
		"one at least":                 {[]format.Entry{packed(0, 10, 1000), packed(10, 10, 10)}, 5, 1},
		"heads count too":              {[]format.Entry{packed(0, 30, 1), packed(10, 30, 1)}, 59, 1},
		"a gap":                        {[]format.Entry{packed(0, 1, 1), packed(11, 1, 1)}, 200, 1},
		"eight that are apart":         {apart(9), 200, 8},
		"as many as are in entries":    {inline(9), 200, 9},
		"no more than a request takes": {[]format.Entry{packed(0, 1, FetchBytes), packed(10, 1, 1)}, 2 * FetchBytes, 1},
	} {
		if got := Portion(test.entries, test.room); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// Promise: a batch in memory of which records are erased is dropped, and so are all of its
// bytes.
func TestEditedBatchIsDropped(t *testing.T) {
	r := NewReader[int]()
	r.Looked(r.BeginLook(), Finding{Common: WholeLog})
	b := smallLog.Batch(0, 0)
	e := entryOf(b, false)
	r.Appended(e, b)
	e.Edit = 1
	if r.Indexed(e); r.Bytes() != 0 || len(r.inMemory(0, 1)) != 0 {
		t.Errorf("%d bytes are counted, %v is in memory", r.Bytes(), r.inMemory(0, 1))
	}
}
