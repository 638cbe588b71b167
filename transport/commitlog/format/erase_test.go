package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// offsetsLeft are the records of b that are not erased; each must have the value of its
// offset.
func offsetsLeft(t interface{ Fatalf(string, ...any) }, b *Batch) (left []int64) {
	rest := b.Raw
	for at := b.Base; len(rest) > 0; at++ {
		var p messages.Payload
		n, err := messages.ConsumeRecord(rest, &p)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if !messages.Erased(&p) {
			if !strings.HasPrefix(string(p.Value), fmt.Sprint(at, " ")) {
				t.Fatalf("offset %d has %q", at, p.Value)
			}
			left = append(left, at)
		}
		rest = rest[n:]
	}
	return left
}

// Promise: whatever is erased of a batch, in however many steps, the rest keeps its offsets,
// what an append compares of an entry with a body stays, and each version has another value.
func TestEraseKeepsOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "records")
		base := rapid.Int64Range(0, 1<<40).Draw(t, "base")
		pad := rapid.SampledFrom([]int{0, 100}).Draw(t, "padding")
		var raw []byte
		for i := range n {
			m := messages.Message{Value: []byte(fmt.Sprint(base+int64(i), " ") + strings.Repeat("x", pad))}
			raw = messages.AppendRecord(raw, &m)
		}
		c := rapid.SampledFrom([]messages.Compression{messages.CompressS2, messages.CompressZstd, messages.CompressNone}).Draw(t, "compression")
		s := Seal(raw, n, 1, 2, 3, c, 7, 9)
		s.GoBehind(LogEnd{Offset: base, Last: -1})
		value, body := []byte(s.Way.Entry), bytes.Clone(s.Body(base))
		left := make([]int64, n)
		for i := range left {
			left[i] = base + int64(i)
		}
		for edit := range uint64(3) {
			e := Entry{Base: base}
			if !e.Decode(value) || e.Count != n || e.Producer != 7 || e.Sequence != 9 {
				t.Fatalf("edit %d: entry %+v", edit, e)
			}
			var b *Batch
			var err error
			if e.Body != nil {
				b, err = e.Batch()
			} else if b, err = OpenBody(base, body); err == nil {
				err = e.Describes(b)
			}
			if err != nil {
				t.Fatalf("edit %d: %v", edit, err)
			}
			if got := offsetsLeft(t, b); !slices.Equal(got, left) {
				t.Fatalf("edit %d: left %v, want %v", edit, got, left)
			}
			gone := rapid.SliceOf(rapid.Int64Range(base, base+int64(n)-1)).Draw(t, "gone")
			r, err := Erase(e, b, func(o int64, _ *messages.Payload) bool { return slices.Contains(gone, o) }, c, edit+1)
			if err != nil {
				t.Fatalf("edit %d: %v", edit, err)
			}
			kept := slices.DeleteFunc(slices.Clone(left), func(o int64) bool { return slices.Contains(gone, o) })
			if r == nil {
				if len(kept) != len(left) {
					t.Fatalf("edit %d: nothing was erased of %v", edit, gone)
				}
				continue
			}
			if r.Erased != len(left)-len(kept) || r.Left != len(kept) {
				t.Fatalf("edit %d: %d erased and %d left of %v", edit, r.Erased, r.Left, left)
			}
			if end := e.LogEnd(); end.Inline && (string(r.Value) <= end.Entry || string(r.Value) >= end.Above()) {
				t.Fatalf("edit %d: an append does not know the entry again", edit)
			}
			if bytes.Equal(r.Value, value) {
				t.Fatalf("edit %d: the entry has not changed", edit)
			}
			value, left = r.Value, kept
			if r.Body != nil {
				body = r.Body
			}
		}
	})
}

// Promise: an entry of anything decodes to an edit or not at all, and stripping the edit
// of what decodes changes nothing else.
func FuzzEdit(f *testing.F) {
	s := Seal(messages.AppendRecord(nil, &messages.Message{Value: []byte("v")}), 1, 1, 1, 1, messages.CompressNone, 7, 1)
	s.GoBehind(LogEnd{Last: -1})
	f.Add([]byte(s.Way.Entry))
	f.Add(append([]byte(s.Way.Behind.Entry), 0x51, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add([]byte{0x51})
	f.Fuzz(func(t *testing.T, value []byte) {
		var e, stripped Entry
		if !e.Decode(value) {
			return
		}
		plain := unedited(e.Value)
		if e.Body != nil {
			plain = withBody(plain, e.Body)
		}
		if !stripped.Decode(plain) {
			t.Fatalf("%x was an entry, and is none without its edit: %x", value, plain)
		}
		if stripped.Edit != 0 || stripped.Count != e.Count || stripped.LogBytes != e.LogBytes || stripped.Producer != e.Producer || stripped.Sequence != e.Sequence || stripped.MaxTime != e.MaxTime {
			t.Fatalf("%+v became %+v", e, stripped)
		}
		if b, err := e.Batch(); err == nil {
			if r, err := Erase(e, b, func(int64, *messages.Payload) bool { return true }, messages.CompressS2, 5); err != nil || r != nil && r.Left != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
	})
}
