package format

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestParseEntry(t *testing.T) {
	const space = keys.Space("/x")
	s := &Sealed{Raw: 3, Count: 3, MinTime: -5, MaxTime: 6, Producer: 7, Sequence: 8}
	good := string(s.EntryValue(99, 1000))
	value := func(e *pb.IndexEntry) string {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	key := space.IndexEntry("id", 12, 345)
	p, e, ok := ParseEntry(space, "id", key, []byte(good), 77)
	if want := (Entry{Base: 345, Count: 3, Bytes: 99, Raw: 3, LogBytes: 1000, MinTime: -5, MaxTime: 6, Producer: 7, Sequence: 8, ModRevision: 77, Value: good}); !ok || p != 12 || e != want || e.End() != 348 {
		t.Errorf("%d, %+v, %v", p, e, ok)
	}
	for name, bad := range map[string][2]string{
		"another topic":     {space.IndexEntry("other", 12, 345), good},
		"another prefix":    {"x" + key, good},
		"a body":            {space.Body("id", 12, 345), good},
		"no base":           {space.Index("id", 12), good},
		"a short base":      {key[:len(key)-1], good},
		"a long base":       {key + "0", good},
		"a negative base":   {space.Index("id", 12) + "-0000000000000000001", good},
		"a huge base":       {space.Index("id", 12) + "99999999999999999999", good},
		"a last base":       {space.IndexEntry("id", 12, math.MaxInt64), good},
		"partition in hex":  {space.Indexes("id") + "00ff/" + keys.Offset(1), good},
		"a short partition": {space.Indexes("id") + "012/" + keys.Offset(1), good},
		"a high partition":  {space.Indexes("id") + "1024/" + keys.Offset(1), good},
		"a signed one":      {space.Indexes("id") + "+012/" + keys.Offset(1), good},
		"noise":             {key, "\xff"},
		"nothing":           {key, ""},
		"too many":          {key, value(&pb.IndexEntry{Count: messages.MaxBatchRecords + 1})},
		"too large":         {key, value(&pb.IndexEntry{Count: 1, Bytes: math.MaxUint32})},
	} {
		if p, e, ok := ParseEntry(space, "id", bad[0], []byte(bad[1]), 1); ok || p != 0 || e != (Entry{}) {
			t.Errorf("%s: %d, %+v, %v", name, p, e, ok)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	const space = keys.Space("/x")
	s := &Sealed{Raw: 3, Count: 3, MinTime: -5, MaxTime: 6, Producer: 7, Sequence: 8}
	f.Add(space.IndexEntry("id", 12, 345), s.EntryValue(99, 1000))
	f.Add(space.Index("id", 1023), []byte{8, 1})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p, e, ok := ParseEntry(space, "id", key, value, 5)
		if !ok {
			return
		}
		if key != space.IndexEntry("id", p, e.Base) || e.Count < 1 || e.Count > messages.MaxBatchRecords || e.End() <= e.Base || e.Bytes < 0 || e.Raw < 0 || e.Raw > MaxRaw || e.LogBytes < 0 || e.ModRevision != 5 {
			t.Fatalf("%q: %d, %+v", key, p, e)
		}
		again := &Sealed{Raw: e.Raw, Count: e.Count, MinTime: e.MinTime, MaxTime: e.MaxTime, Producer: e.Producer, Sequence: e.Sequence}
		if _, e2, ok := ParseEntry(space, "id", key, again.EntryValue(e.Bytes, e.LogBytes), 5); !ok || !e2.same(e) {
			t.Fatalf("%+v became %+v", e, e2)
		}
	})
}

// same is equal but for how it is encoded.
func (e Entry) same(o Entry) bool {
	o.Value = e.Value
	return e == o
}
