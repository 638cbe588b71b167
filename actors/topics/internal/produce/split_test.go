package produce

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// A batch is split as long as that may help: a limit of bytes is met by each half,
// one of operations by none.
func TestABatchIsSplitWhenPartsMayPass(t *testing.T) {
	for limit, attempts := range map[messages.Limit]int{messages.LimitRequest: 7, messages.LimitOps: 1} {
		t.Run(string(limit), func(t *testing.T) {
			f := newFakeTopic(1)
			p, acc := f.producer(nil), f.accs[0]
			for range 4 {
				if err := p.PutAsync(t.Context(), text("a"), nil); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n, over := 0, make(chan error, 1)
			go func() {
				over <- acc.Run(ctx, func(context.Context, *format.Sealed, bool) (int64, error) {
					n++
					return 0, &messages.LimitError{Limit: limit, Err: errors.New("too much")}
				}, func(int64, *format.Sealed) {})
			}()
			if err := acc.Flushed(t.Context(), 4); err != nil {
				t.Fatal(err)
			}
			cancel()
			<-over
			if err := p.Flush(t.Context()); !errors.Is(err, messages.ErrTooLarge) || n != attempts {
				t.Errorf("%d appends, not %d: %v", n, attempts, err)
			}
		})
	}
}
