package format

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: an entry says when the first of its records expires by itself, as the generated
// code reads it too, whether the body is in it or not; erasing records says it of those that
// are left. What an append compares of an entry with a body does not depend on it.
func TestEntrySaysWhenRecordsExpire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 2000}).Draw(t, "size")
		all := rapid.SliceOfN(rapid.Int64Range(0, 5), 1, 6).Draw(t, "expiries")
		var raw []byte
		var expires int64
		first := func(among []int64) (soonest int64) {
			for _, at := range among {
				if at != 0 && (soonest == 0 || at < soonest) {
					soonest = at
				}
			}
			return soonest
		}
		for _, at := range all {
			m := messages.Message{Value: make([]byte, size)}
			if at != 0 {
				m.ExpiresAt = time.Unix(0, at)
			}
			expires = Sooner(expires, m.ExpiresAt)
			raw = messages.AppendRecord(raw, &m)
		}
		if want := first(all); expires != want {
			t.Fatalf("%d, want %d", expires, want)
		}
		s := Seal(raw, len(all), 1, 1, 1, messages.CompressNone, 7, 1)
		s.GoBehind(LogEnd{Last: -1})
		without := s.Way
		s.Expires = expires
		s.GoBehind(LogEnd{Last: -1})
		if size == 1 && s.Way.Behind.Entry != without.Behind.Entry {
			t.Fatal("an append would compare it")
		}
		var e Entry
		var read pb.IndexEntry
		if !e.Decode([]byte(s.Way.Entry)) || e.Expires != expires || e.LogEnd().Entry != s.Way.Behind.Entry {
			t.Fatalf("%+v", e)
		}
		if err := proto.Unmarshal([]byte(s.Way.Entry), &read); err != nil || read.ExpiresUnixNano != expires {
			t.Fatalf("%v, %v", &read, err)
		}
		b, err := s.Batch(0)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Erase(e, b, func(at int64, _ *messages.Payload) bool { return at == 0 }, messages.CompressNone, 9)
		if err != nil {
			t.Fatal(err)
		}
		var left Entry
		if !left.Decode(r.Value) || left.Expires != first(all[1:]) || r.Expires != left.Expires || left.Edit != 9 {
			t.Fatalf("%+v, %+v", left, r)
		}
	})
}
