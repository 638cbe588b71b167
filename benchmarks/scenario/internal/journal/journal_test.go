package journal

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever is done to a stream, judge finds what a plain count finds.
func TestJudgeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.Uint64Range(0, 60).Draw(t, "sent")
		members := make([]*Journal, rapid.IntRange(1, 4).Draw(t, "members"))
		for i := range members {
			members[i] = &Journal{}
		}
		want := results.Check{Sent: sent}
		for seq := range sent {
			times := rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3}).Draw(t, "times")
			if times == 0 {
				want.Lost++
			} else {
				want.Duplicates += uint64(times - 1)
			}
			for range times {
				members[rapid.IntRange(0, len(members)-1).Draw(t, "member")].Note(seq, false)
			}
		}
		got := Judge(members, sent)
		got.Disordered = 0
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestJournalOrder(t *testing.T) {
	j := &Journal{}
	for _, seq := range []uint64{0, 1, 2, 5, 6, 3} {
		j.Note(seq, false)
	}
	j.Note(4, true)
	if got, want := Judge([]*Journal{j}, 8), (results.Check{Sent: 8, Lost: 1, Disordered: 1, Redelivered: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPayloadSeesDamage(t *testing.T) {
	p := NewPayload(64, false)
	buf := make([]byte, 64)
	want := Stamp{Sender: 3, Seq: 21, Meant: time.Second}
	p.Write(buf, want)
	if got, err := p.Read(buf); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := p.Read(buf[:63]); err == nil {
		t.Error("a short one is taken")
	}
	for _, at := range []int{0, Head, 63} {
		p.Write(buf, want)
		buf[at]++
		if _, err := p.Read(buf); err == nil {
			t.Errorf("byte %d can change", at)
		}
	}
}
