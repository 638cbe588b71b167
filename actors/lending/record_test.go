package lending

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// travelled is r as it comes to a member.
func travelled(t interface{ Fatal(...any) }, r messages.Record) messages.Record {
	m := r.Message()
	m.ID = r.ID()
	m.Value = appendValue(nil, &r)
	wire := messages.AppendRecord(nil, &m)
	var p messages.Payload
	if _, err := messages.ConsumeRecord(wire, &p); err != nil {
		t.Fatal(err)
	}
	got, err := recordOf(r.Topic, p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Promise: a record comes to a member as its owner has it.
func TestRecordsTravelAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := messages.Message{
			Key: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
			ID: rapid.StringMatching("[a-z]{0,5}").Draw(t, "id"),
		}
		if rapid.Bool().Draw(t, "times") {
			m.Time, m.ExpiresAt = time.Unix(0, rapid.Int64Range(1, 1<<60).Draw(t, "time")), time.Unix(0, 1<<61)
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			m.Headers = append(m.Headers, messages.Header{Name: rapid.StringMatching("[a-z]{0,5}").Draw(t, "name"), Value: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "header")})
		}
		if m.Tombstone = rapid.Bool().Draw(t, "tombstone"); m.Tombstone {
			m.Value = nil
		}
		r := messages.Record{
			Payload: messages.PayloadOf(&m), Topic: "work", Partition: rapid.IntRange(0, messages.MaxPartitions-1).Draw(t, "partition"),
			Offset: rapid.Int64Min(0).Draw(t, "offset"), Fence: rapid.Int64Min(0).Draw(t, "fence"),
			Attempt: rapid.IntRange(0, 1<<20).Draw(t, "attempt"), Deaths: rapid.IntRange(0, 9).Draw(t, "deaths"),
		}
		if rapid.Bool().Draw(t, "delayed") {
			d := messages.Delay{Due: rapid.Int64().Draw(t, "due")}
			if d.Delivered = rapid.Bool().Draw(t, "delivered"); d.Delivered {
				d.Offset = rapid.Int64Min(0).Draw(t, "put offset")
			}
			r.Payload = messages.WithDelay(r.Payload, d)
		}
		got := travelled(t, r)
		same := func(r messages.Record) string {
			put, delivered := r.PutOffset()
			return fmt.Sprint(put, delivered, r.DeliverAt(), r.Topic, r.Partition, r.Offset, r.Fence, r.Attempt, r.Deaths, string(r.Key), string(r.Value), r.Time(), r.ExpiresAt(), r.ID(), r.Tombstone(), r.Message().Headers)
		}
		if same(got) != same(r) || !bytes.Equal(got.Value, r.Value) {
			t.Fatalf("got  %s\nwant %s", same(got), same(r))
		}
	})
}

func FuzzRecordOf(f *testing.F) {
	r := messages.Record{Payload: messages.Payload{Value: []byte("value")}, Partition: 3, Offset: 1 << 40, Fence: 99, Attempt: 2, Deaths: 1}
	whole := appendValue(nil, &r)
	f.Add(whole)
	f.Add(whole[:4])
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := recordOf("work", messages.Payload{Value: value})
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if r.Partition < 0 || r.Partition >= messages.MaxPartitions || r.Offset < 0 || r.Fence < 0 || r.Attempt < 0 || r.Deaths < 0 {
			t.Fatalf("%+v", r)
		}
		again, err := recordOf("work", messages.Payload{Value: appendValue(nil, &r)})
		if err != nil || again.Offset != r.Offset || !bytes.Equal(again.Value, r.Value) {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
