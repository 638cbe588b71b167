package suite

// Sweeps of the rate, until it breaks.

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// errBroken is the error of a step whose rate is beyond one that was not kept to.
var errBroken = errors.New("a lower rate was not kept to")

// kept is the part of a rate that has to be reached for it to be kept to.
const kept = 0.95

// sweep makes steps of one series, each at a higher rate. From the first on that is not
// kept to, which is measured, too, the others are left out for the rest of the suite.
func sweep(series string, rates []float64, quick float64, make func(id string, rate float64, quick bool) step) (all []step) {
	for _, rate := range rates {
		st := make(count(rate), rate, rate == quick)
		run := st.run
		st.run = func(ctx context.Context, b *bed, d time.Duration) (results.Run, error) {
			if b.broken[series] > 0 && rate > b.broken[series] {
				return results.Run{}, errBroken
			}
			r, err := run(ctx, b, d)
			if err == nil && r.Figures[results.PerSecond] < kept*rate {
				b.broken[series] = rate
			}
			return r, err
		}
		all = append(all, st)
	}
	return all
}
