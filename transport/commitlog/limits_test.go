package commitlog

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// Whatever the limit, everything is handed over once, in order, and after the
// first time nothing is refused; what one alone cannot be is an error.
func TestInTurnFindsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLimits()
		limit := rapid.IntRange(0, 80).Draw(t, "limit")
		tooMany := &messages.LimitError{Limit: messages.LimitOps, Err: errors.New("etcd's")}
		refused := 0
		for round := range 2 {
			all := upTo(rapid.IntRange(0, 200).Draw(t, "all"))
			var got []int
			before := refused
			err := inTurn(l, nests, all, func(some []int) error {
				if len(some) > limit {
					refused++
					return tooMany
				}
				got = append(got, some...)
				return nil
			})
			switch {
			case limit == 0 && len(all) > 0:
				if !errors.Is(err, tooMany) {
					t.Fatalf("one alone is refused: %v", err)
				}
			case err != nil || !slices.Equal(got, all):
				t.Fatalf("%v of %v: %v", got, all, err)
			case round == 1 && refused > before && len(all) <= 1:
				t.Fatal("nothing was learned")
			}
		}
		if refused > 8 && limit > 0 {
			t.Fatalf("refused %d times", refused)
		}
	})
	if err := inTurn(newLimits(), nests, upTo(3), func([]int) error { return messages.ErrUnavailable }); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("another error: %v", err)
	}
}
