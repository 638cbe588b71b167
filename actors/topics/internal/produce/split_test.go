package produce

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// A batch has as many records that are delivered later as a transaction can put, and less
// where etcd takes fewer operations; no record is lost or put twice by that.
func TestABatchHoldsFewForLater(t *testing.T) {
	const n, most = 200, 10
	f := newFakeTopic(1)
	p, acc := f.producer(nil), f.accs[0]
	for i := range n {
		m := text("a")
		if i%2 == 0 {
			later := m.DeliverAfter(time.Hour)
			m = &later
		}
		if err := p.PutAsync(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	records, over := 0, make(chan error, 1)
	go func() {
		over <- acc.Run(ctx, func(_ context.Context, s *format.Sealed, _ bool) (int64, error) {
			switch later := len(s.Later()); {
			case later > format.MaxLater:
				t.Errorf("%d for later in a batch", later)
			case later > most:
				return 0, &messages.LimitError{Limit: messages.LimitOps, Err: errors.New("too many")}
			}
			records += s.Count
			return int64(records - s.Count), nil
		}, func(int64, *format.Sealed) {})
	}()
	if err := acc.Flushed(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-over
	if err := p.Flush(t.Context()); err != nil || records != n {
		t.Errorf("%d of %d are put: %v", records, n, err)
	}
	if s := acc.Counters(); s.Delayed != n/2 || s.Committed != n {
		t.Errorf("%+v", s)
	}
}

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
