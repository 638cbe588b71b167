package topics

import (
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever is done to a stream, judge finds what a plain count finds.
func TestJudgeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		put := rapid.Uint64Range(0, 200).Draw(t, "put")
		members := make([]*journal, rapid.IntRange(1, 4).Draw(t, "members"))
		for i := range members {
			members[i] = newJournal(2)
		}
		want := results.Check{Sent: put}
		for seq := range put {
			times := rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3}).Draw(t, "times")
			if times == 0 {
				want.Lost++
			} else {
				want.Duplicates += uint64(times - 1)
			}
			for range times {
				members[rapid.IntRange(0, len(members)-1).Draw(t, "member")].note(int(seq%2), seq)
			}
		}
		if got := judge(members, put); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// Only records of one partition have an order.
func TestJournalOrder(t *testing.T) {
	j := newJournal(2)
	for _, r := range []struct {
		partition int
		seq       uint64
	}{{0, 0}, {1, 4}, {0, 1}, {0, 5}, {1, 3}, {0, 2}} {
		j.note(r.partition, r.seq)
	}
	if got, want := judge([]*journal{j}, 7), (results.Check{Sent: 7, Lost: 1, Disordered: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		producer, seq := rapid.IntRange(0, 1<<20).Draw(t, "producer"), rapid.Uint64Range(0, 1<<seqBits-1).Draw(t, "seq")
		if p, s := parts(id(producer, seq)); p != producer || s != seq {
			t.Fatalf("%d, %d came as %d, %d", producer, seq, p, s)
		}
	})
}
