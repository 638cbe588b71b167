package props

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// paused is what a subscription would hand out nothing of.
type paused struct {
	all bool
	of  [messages.MaxPartitions]bool
}

func (p *paused) set(to bool, partitions []int) {
	if len(partitions) == 0 {
		p.all = to
		for i := range p.of {
			p.of[i] = to
		}
	}
	for _, i := range partitions {
		if i >= 0 && i < len(p.of) {
			p.of[i] = to
		}
	}
}

func (p *paused) Pause(partitions ...int)  { p.set(true, partitions) }
func (p *paused) Resume(partitions ...int) { p.set(false, partitions) }

// Promise: what is asked of a subscription before there is one has the effect that it
// would have had on one, in order, and takes no more room than its partitions.
func TestSteeringKeepsTheLastWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s steering
		var want, got paused
		for range rapid.IntRange(0, 50).Draw(t, "questions") {
			to := rapid.Bool().Draw(t, "paused")
			of := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 4), rapid.Int()), 0, 3).Draw(t, "partitions")
			s.set(to, of)
			want.set(to, of)
		}
		if len(s.but) > messages.MaxPartitions {
			t.Fatalf("it keeps %d", len(s.but))
		}
		s.apply(&got)
		if got != want {
			t.Fatalf("%+v", s)
		}
	})
}
