package format

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

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
	if want := (Entry{Base: 345, Count: 3, Bytes: 99, Raw: 3, LogBytes: 1000, MinTime: -5, MaxTime: 6, Producer: 7, Sequence: 8, ModRevision: 77, Value: good}); !ok || p != 12 || !reflect.DeepEqual(e, want) || e.End() != 348 {
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
		if p, e, ok := ParseEntry(space, "id", bad[0], []byte(bad[1]), 1); ok || p != 0 || !reflect.DeepEqual(e, Entry{}) {
			t.Errorf("%s: %d, %+v, %v", name, p, e, ok)
		}
	}
}

// entryBefore is an entry as it was written before entries had bodies, and entryWith
// one that has: of the records "one" and "two", put at 345.
const (
	entryBefore = "0803106319fbffffffffffffff2106000000000000002907000000000000003008380340e807"
	entryWith   = "0802102519fbffffffffffffff2106000000000000002907000000000000003008380e408d08" +
		"4a2508d9021002200e29010000000000000035335d04963a0e120512036f6e651205120374776f"
)

// What was ever written can be read.
func TestStoredEntries(t *testing.T) {
	decode := func(value string) Entry {
		t.Helper()
		b, err := hex.DecodeString(value)
		e := Entry{Base: 345}
		if err != nil || !e.Decode(b) {
			t.Fatalf("%s: %v", value, err)
		}
		return e
	}
	e := decode(entryBefore)
	if e.Body != nil || e.Count != 3 || e.Bytes != 99 || e.Producer != 7 || e.LogEnd().Inline || hex.EncodeToString([]byte(e.LogEnd().Entry)) != entryBefore {
		t.Errorf("%+v", e)
	}
	e = decode(entryWith)
	b, err := e.Batch()
	if err != nil || b.Base != 345 || b.Count != 2 || !bytes.Equal(b.Raw, records("one", "two")) {
		t.Errorf("%+v: %+v, %v", e, b, err)
	}
	if end := e.LogEnd(); !end.Inline || !strings.HasPrefix(entryWith, hex.EncodeToString([]byte(end.Entry))) {
		t.Errorf("%+v", end)
	}
	s := Seal(records("one", "two"), 2, -5, 6, 1, messages.CompressNone, 7, 8)
	s.GoBehind(LogEnd{Offset: 345, Last: -1, Bytes: 1000})
	if now := hex.EncodeToString([]byte(s.Way.Entry)); now != entryWith {
		t.Errorf("it is written as %s", now)
	}
}

// What an entry says of its batch must be so, because memory is set aside by it.
func TestEntryDescribesItsBatch(t *testing.T) {
	s := Seal(records("one", "two"), 2, -5, 6, 1, messages.CompressNone, 7, 8)
	good := s.Entry(345)
	good.Raw, good.Body = s.Raw, bytes.Clone(s.Body(345))
	b, err := good.Batch()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Entry){
		"fewer records":         func(e *Entry) { e.Count-- },
		"fewer bytes":           func(e *Entry) { e.Raw-- },
		"more bytes":            func(e *Entry) { e.Raw++ },
		"no bytes and the body": func(e *Entry) { e.Raw = 0 },
	} {
		e := good
		change(&e)
		if _, err := e.Batch(); !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	early := good
	early.Raw, early.Body = 0, nil
	if err := early.Describes(b); err != nil {
		t.Errorf("an entry that does not tell how many bytes: %v", err)
	}
	if early.Raw = 1; early.Describes(b) == nil {
		t.Error("a body with a key of its own has more bytes than its entry says")
	}
}

// An entry has the batch in it as long as that is small; what is said about it is the
// same as in an entry without, and an append recognises it without the batch.
func TestEntriesWithBodies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 5).Draw(t, "records")
		raw := noise(count, rapid.IntRange(0, 2*InlineBytes/count).Draw(t, "size"))
		s := Seal(raw, count, rapid.Int64().Draw(t, "from"), rapid.Int64().Draw(t, "to"), 5, rapid.SampledFrom(choices).Draw(t, "compression"),
			rapid.Uint64().Draw(t, "producer"), rapid.Uint64().Draw(t, "sequence"))
		s.GoBehind(LogEnd{Offset: rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "base"), Last: -1, Bytes: rapid.Int64Range(0, 1<<40).Draw(t, "log")})
		body := bytes.Clone(s.Body(s.Way.Base))
		e := Entry{Base: s.Way.Base}
		if !e.Decode([]byte(s.Way.Entry)) {
			t.Fatalf("%x does not decode", s.Way.Entry)
		}
		behind := s.Way.Behind
		if want := e.Body != nil && len(s.Way.Entry) <= mostWhole; want && behind.Whole != s.Way.Entry || !want && behind.Whole != "" {
			t.Fatalf("%x is known as a whole: %x", s.Way.Entry, behind.Whole)
		}
		behind.Whole = ""
		if e.LogEnd() != behind || e.Bytes != len(body) || e.Raw != len(raw) || !e.IsOf(s.Entry(s.Way.Base)) {
			t.Fatalf("%+v became %+v", s.Way.Behind, e)
		}
		if inline := len(body) <= InlineBytes; (e.Body != nil) != inline || s.Way.Behind.Inline != inline {
			t.Fatalf("a body of %d bytes, in its entry: %v", len(body), e.Body != nil)
		}
		var v pb.IndexEntry
		if err := proto.Unmarshal([]byte(s.Way.Entry), &v); err != nil || !bytes.Equal(v.GetBody(), e.Body) || v.GetProducer() != e.Producer || v.GetMinTimeUnixNano() != e.MinTime || v.GetSequence() != e.Sequence {
			t.Fatalf("generated code reads %v, %v", &v, err)
		}
		end := e.LogEnd()
		if e.Body == nil {
			if end.Entry != s.Way.Entry {
				t.Fatalf("%x is not %x", end.Entry, s.Way.Entry)
			}
			return
		}
		if b, err := e.Batch(); err != nil || !bytes.Equal(b.Raw, raw) || b.Count != count || b.Base != e.Base {
			t.Fatalf("%+v, %v", b, err)
		}
		// As etcd compares values.
		is := func(value string) bool { return value > end.Entry && value < end.Above() }
		if !is(s.Way.Entry) {
			t.Fatalf("%x is not between %x and %x", s.Way.Entry, end.Entry, end.Above())
		}
		other := Seal(raw, count, s.MinTime, s.MaxTime, 5, messages.CompressNone, s.Producer, s.Sequence+1)
		other.GoBehind(s.Way.After)
		if is(other.Way.Entry) || is(other.Way.Behind.Entry) {
			t.Fatalf("%x is taken for %x", other.Way.Entry, s.Way.Entry)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	const space = keys.Space("/x")
	s := &Sealed{Raw: 3, Count: 3, MinTime: -5, MaxTime: 6, Producer: 7, Sequence: 8}
	f.Add(space.IndexEntry("id", 12, 345), s.EntryValue(99, 1000))
	f.Add(space.Index("id", 1023), []byte{8, 1})
	with := Seal(records("one", "two"), 2, -5, 6, 1, messages.CompressNone, 7, 8)
	with.GoBehind(LogEnd{Offset: 345, Last: -1})
	f.Add(space.IndexEntry("id", 12, 345), []byte(with.Way.Entry))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p, e, ok := ParseEntry(space, "id", key, value, 5)
		if !ok {
			return
		}
		if key != space.IndexEntry("id", p, e.Base) || e.Count < 1 || e.Count > messages.MaxBatchRecords || e.End() <= e.Base || e.Bytes < 0 || e.Raw < 0 || e.Raw > MaxRaw || e.LogBytes < 0 || e.ModRevision != 5 {
			t.Fatalf("%q: %d, %+v", key, p, e)
		}
		var v pb.IndexEntry
		if err := proto.Unmarshal(value, &v); err != nil || int(v.GetCount()) != e.Count || int(v.GetBytes()) != e.Bytes || v.GetProducer() != e.Producer ||
			v.GetSequence() != e.Sequence || v.GetMinTimeUnixNano() != e.MinTime || v.GetMaxTimeUnixNano() != e.MaxTime || !bytes.Equal(v.GetBody(), e.Body) {
			t.Fatalf("generated code reads %v, %v; we %+v", &v, err, e)
		}
		if !strings.HasPrefix(string(value), e.Value) || len(e.Value)+len(e.Body) > len(value) {
			t.Fatalf("%x has %x before its body", value, e.Value)
		}
		if e.Body != nil {
			if b, err := e.Batch(); err == nil && (b.Count != e.Count || b.Base != e.Base || len(b.Raw) != e.Raw) {
				t.Fatalf("%+v has %+v", e, b)
			} else if err != nil && !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
		}
		again := &Sealed{Raw: e.Raw, Count: e.Count, MinTime: e.MinTime, MaxTime: e.MaxTime, Producer: e.Producer, Sequence: e.Sequence}
		if _, e2, ok := ParseEntry(space, "id", key, again.EntryValue(e.Bytes, e.LogBytes), 5); !ok || !e2.same(e) {
			t.Fatalf("%+v became %+v", e, e2)
		}
	})
}

// same is equal but for how it is encoded.
func (e Entry) same(o Entry) bool {
	o.Value, o.Body = e.Value, e.Body
	return reflect.DeepEqual(e, o)
}
