package format

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// due is a record that is delivered at a time.
func due(at int64, value string) messages.Message {
	return messages.Message{Value: []byte(value), ID: "id-" + value, DeliverAt: time.Unix(0, at)}
}

// Promise: a batch has a place for each record that is due later, and the others as they
// are; taken apart again it is what was sealed. What waits is read back, and delivered it
// says where its place is.
func TestSealLater(t *testing.T) {
	const now, base, sentAt = 1000, 70, 5000
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "records")
		var raw []byte
		var msgs []messages.Message
		want := 0
		for i := range n {
			m := messages.Message{Value: []byte(fmt.Sprint(i))}
			if rapid.Bool().Draw(t, "delayed") {
				m = due(rapid.Int64Range(now-2, now+2).Draw(t, "due"), fmt.Sprint(i))
				if m.DeliverAt.UnixNano() > now {
					want++
				}
			}
			raw = messages.AppendRecord(raw, &m)
			msgs = append(msgs, m)
		}
		c := rapid.SampledFrom(choices).Draw(t, "compression")
		s, err := SealLater(raw, n, now, now, now, c, 7, 8)
		if err != nil || s.Check() != nil || len(s.Later()) != want {
			t.Fatalf("%d later, want %d: %v", len(s.Later()), want, err)
		}
		if back, err := s.Records(); err != nil || !bytes.Equal(back, raw) {
			t.Fatalf("%x became %x, %v", raw, back, err)
		}
		b, err := s.Batch(base)
		if err != nil || b.Count != n {
			t.Fatal(err)
		}
		rest := b.Raw
		for i := range n {
			var p messages.Payload
			took, err := messages.ConsumeRecord(rest, &p)
			if err != nil {
				t.Fatal(err)
			}
			later := msgs[i].DeliverAt.UnixNano() > now && !msgs[i].DeliverAt.IsZero()
			if messages.Erased(&p) != later || p.ID() != msgs[i].ID || !later && string(p.Value) != string(msgs[i].Value) {
				t.Fatalf("record %d is %+v, of %+v", i, p, msgs[i])
			}
			rest = rest[took:]
		}
		var waits []Waiting
		for i := range s.Later() {
			l := &s.Later()[i]
			w, err := OpenWaiting(l.Due, base+int64(l.Record), l.Value(base), 5)
			if err != nil || w.Time != now {
				t.Fatal(w, err)
			}
			waits = append(waits, w)
		}
		if len(waits) == 0 {
			return
		}
		delivered, err := SealDue(waits, sentAt, c, 9, 1)
		if err != nil || delivered.Count != len(waits) || delivered.MaxTime != sentAt {
			t.Fatalf("%+v, %v", delivered, err)
		}
		sent, err := delivered.Records()
		for _, w := range waits {
			var p messages.Payload
			took, cerr := messages.ConsumeRecord(sent, &p)
			at, ok := p.PutOffset()
			if err != nil || cerr != nil || !ok || at != w.Offset || p.DeliverAt().UnixNano() != w.Due || string(p.Value) != string(msgs[w.Offset-base].Value) {
				t.Fatalf("%+v: at %d, %v, %v", p, at, err, cerr)
			}
			sent = sent[took:]
		}
	})
}

// Promise: of what is due as much goes into a batch as fits, and one record at least.
func TestSealDueIsBounded(t *testing.T) {
	var waits []Waiting
	for i := range int64(5) {
		m := due(1, string(make([]byte, messages.MaxBatchBytes/2-100)))
		m.ID = ""
		waits = append(waits, Waiting{Due: 1, Offset: i, Raw: messages.AppendRecord(nil, &m)})
	}
	for _, tt := range []struct{ size, want int }{{messages.MaxBatchBytes/2 - 100, 2}, {messages.MaxRecordBytes - 100, 1}} {
		m := due(1, string(make([]byte, tt.size)))
		m.ID = ""
		for i := range waits {
			waits[i].Raw = messages.AppendRecord(nil, &m)
		}
		if s, err := SealDue(waits, 1, messages.CompressNone, 1, 1); err != nil || s.Count != tt.want || s.Check() != nil {
			t.Errorf("%d of %d bytes, %v", s.Count, tt.size, err)
		}
	}
}

func FuzzOpenWaiting(f *testing.F) {
	m := due(2000, "value")
	s, err := SealLater(messages.AppendRecord(nil, &m), 1, 1, 1, 1, messages.CompressS2, 7, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(2000), int64(3), bytes.Clone(s.Later()[0].Value(3)))
	f.Add(int64(1), int64(0), bytes.Clone(Seal(records("one", "two"), 2, 1, 1, 1, messages.CompressNone, 1, 1).Body(0)))
	f.Fuzz(func(t *testing.T, at, offset int64, value []byte) {
		w, err := OpenWaiting(at, offset, value, 9)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if w.Due != at || w.Offset != offset || w.ModRevision != 9 || len(w.Raw) > MaxRaw {
			t.Fatalf("%+v", w)
		}
		if s, err := SealDue([]Waiting{w}, 1, messages.CompressNone, 1, 1); err != nil || s.Count != 1 {
			t.Fatal(err)
		}
	})
}
