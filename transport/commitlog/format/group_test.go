package format

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestParseBeginning(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		good  bool
	}{
		"good":           {Beginning{[]int64{0, Undecided, math.MaxInt64}}.Value(time.Now()), true},
		"empty":          {"", true},
		"garbage":        {"\xff", false},
		"less than none": {Encode(&pb.Beginning{Offsets: []int64{-2}}), false},
		"too many":       {Encode(&pb.Beginning{Offsets: make([]int64, messages.MaxPartitions+1)}), false},
	} {
		if _, err := ParseBeginning("the-key", []byte(c.value)); (err == nil) != c.good || err != nil && (!errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "the-key")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseBeginning(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(Beginning{[]int64{0, Undecided, math.MaxInt64}}.Value(time.UnixMilli(1))))
	f.Add([]byte(Encode(&pb.Beginning{Offsets: []int64{-2}})))
	f.Fuzz(func(t *testing.T, value []byte) {
		b, err := ParseBeginning("k", value)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) || len(b.offsets) != 0 {
				t.Fatal(b, err)
			}
			return
		}
		if len(b.offsets) > messages.MaxPartitions {
			t.Fatal(len(b.offsets))
		}
		if start, ok := b.In(len(b.offsets)); !ok || start != messages.Earliest() {
			t.Fatal("a partition that comes later begins at ", start, ok)
		}
		for p, o := range b.offsets {
			if start, ok := b.In(p); ok != (o != Undecided) || ok && start != messages.AtOffset(o) {
				t.Fatalf("partition %d: %v, %v; it is at %d", p, start, ok, o)
			}
		}
		again, err := ParseBeginning("k", []byte(b.Value(time.UnixMilli(1))))
		if err != nil || !slices.Equal(again.offsets, b.offsets) {
			t.Fatal(b, again, err)
		}
	})
}

func TestParseClaim(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		good  bool
	}{
		"good":          {Encode(&pb.Claim{Member: "m", MemberRevision: 1}), true},
		"empty":         {"", false},
		"garbage":       {"\xff", false},
		"bad member":    {Encode(&pb.Claim{Member: "a/b", MemberRevision: 1}), false},
		"no revision":   {Encode(&pb.Claim{Member: "m"}), false},
		"negative":      {Encode(&pb.Claim{Member: "m", MemberRevision: -1}), false},
		"not even UTF8": {"\x0a\x01\xff\x10\x01", false},
	} {
		if claim, err := ParseClaim("the-key", []byte(c.value)); (err == nil) != c.good || err != nil && (!errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "the-key")) {
			t.Errorf("%s: %v, %v", name, claim, err)
		}
	}
}

func FuzzParseClaim(f *testing.F) {
	f.Add([]byte(Encode(&pb.Claim{Member: "m", MemberRevision: 1, Generation: 2})))
	f.Add([]byte(Encode(&pb.Committed{Offset: 10, Base: 5, Fence: 3})))
	f.Fuzz(func(t *testing.T, value []byte) {
		if c, err := ParseClaim("k", value); (err == nil) == (c == nil) || err != nil && !errors.Is(err, messages.ErrCorrupt) {
			t.Fatal(c, err)
		}
		c, err := ParseCommitted("k", value)
		if (err == nil) == (c == nil) || err != nil && !errors.Is(err, messages.ErrCorrupt) {
			t.Fatal(c, err)
		}
		if c != nil && (c.Offset < 0 || c.Base < 0 || c.Base > c.Offset) {
			t.Fatal(c)
		}
	})
}

func TestParseCommitted(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		good  bool
	}{
		"good":            {Encode(&pb.Committed{Offset: 12, Base: 10, Fence: 3, UnixMs: 4}), true},
		"empty":           {"", true},
		"garbage":         {"\xff", false},
		"negative offset": {Encode(&pb.Committed{Offset: -1}), false},
		"negative base":   {Encode(&pb.Committed{Offset: 1, Base: -1}), false},
		"base past it":    {Encode(&pb.Committed{Offset: 1, Base: 2}), false},
	} {
		if m, err := ParseCommitted("the-key", []byte(c.value)); (err == nil) != c.good || err != nil && (!errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "the-key")) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}
