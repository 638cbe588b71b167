package prefetch

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// What a commit names must have been handed out: by this subscription, and in this
// partition; of the claim that there is, these very offsets.
func TestBufferAskKnowsWhatWasHandedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _ := newTestBuffer(Config{ManualCommit: true})
		begin := rapid.Int64Range(0, 20).Draw(t, "begin")
		batches := 30
		a := &paperConsumer{log: smallLog, have: &batches, c: &Claim{Fence: 100, Lease: theLease, MemberRevision: 1}}
		s.Add(a.c, Place{Offset: begin, Base: smallLog.Batch(0, smallLog.Holding(0, begin)).Base, Written: true})
		a.attach(s)
		settleAll(s, a)
		var out []int64 // what was handed out
		for range rapid.IntRange(0, 4).Draw(t, "polls") {
			if rapid.IntRange(0, 3).Draw(t, "seek") == 0 {
				to := rapid.Int64Range(0, 30).Draw(t, "to")
				s.Seek(a.c, to, smallLog.Batch(0, smallLog.Holding(0, to)).Base)
				settleAll(s, a)
			}
			got, err := s.Poll(context.Background(), rapid.IntRange(1, 5).Draw(t, "limit"))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, offsetsOf(0, got)...)
			settleAll(s, a)
		}
		at := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 40)).Draw(t, "offset")
		_, fenced, err := s.Ask([]messages.Record{{Topic: s.cfg.Topic, Partition: 0, Offset: at, Fence: 100}})
		switch due := s.Due(); {
		case err != nil && !errors.Is(err, messages.ErrOffsetOutOfRange), fenced != nil:
			t.Fatal(fenced, err)
		case err != nil && (slices.Contains(out, at) || len(due) > 0):
			t.Fatalf("%d of %d: %v, %+v is due", at, out, err, due)
		case err == nil && (len(out) == 0 || at < slices.Min(out) && at < begin || at > slices.Max(out)):
			t.Fatalf("%d was taken, handed out were %d", at, out)
		}
	})
}
