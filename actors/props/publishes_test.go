package props

// What waits to be accepted: in order, within bounds, and nothing once it is closed.

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

func TestPublishesAreInOrderAndBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newPublishes()
		var model []*publish
		count, bytes := 0, 0
		closed := error(nil)
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is not there is not waited for
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2, 3, 4:
				p := &publish{}
				var n, size int
				var unregisters bool
				switch rapid.IntRange(0, 4).Draw(t, "what") {
				case 0:
					p.mark = &messages.Flush{}
				case 1:
					p.mark, unregisters = &messages.Unregister{}, true
				default:
					n, size = rapid.IntRange(0, MaxWaiting).Draw(t, "n"), rapid.IntRange(0, MaxWaitingBytes/1024).Draw(t, "size")
					value := make([]byte, size)
					if n > 0 {
						p.msgs = make([]messages.Message, n)
						p.msgs[0].Value = value
					}
				}
				size = 0
				if len(p.msgs) > 0 {
					size = len(p.msgs[0].Value)
				}
				full := count > 0 && !unregisters && (count+max(1, n) > MaxWaiting || bytes+size > MaxWaitingBytes)
				switch err := q.add(p); {
				case closed != nil:
					if !errors.Is(err, closed) {
						t.Fatalf("added to a closed queue: %v", err)
					}
				case full:
					if !errors.Is(err, messages.ErrGroupFull) {
						t.Fatalf("%d messages and %d to %d and %d: %v", n, size, count, bytes, err)
					}
				case err != nil:
					t.Fatalf("%d messages and %d to %d and %d: %v", n, size, count, bytes, err)
				default:
					model = append(model, p)
					count, bytes = count+max(1, n), bytes+size
				}
			case 5, 6, 7, 8:
				p := q.first(ctx)
				if len(model) == 0 {
					if p != nil {
						t.Fatal("the first of none")
					}
					continue
				}
				if p != model[0] {
					t.Fatalf("not the first")
				}
				q.done(&publish{}) // somebody else's
				if q.passed(ctx, p) {
					t.Fatal("passed while it is the first")
				}
				q.done(p)
				q.done(p)
				model = model[1:]
				count, bytes = count-p.cost, bytes-p.bytes
				if !q.passed(ctx, p) {
					t.Fatal("not passed")
				}
			case 9:
				if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
					why := errors.New("closed")
					if left := q.close(why); !slices.Equal(left, model) {
						t.Fatalf("%d are left, want %d", len(left), len(model))
					}
					model, count, bytes = nil, 0, 0
					if closed == nil {
						closed = why
					}
				}
			}
			if gotCount, gotBytes := q.size(); gotCount != count || gotBytes != bytes {
				t.Fatalf("%d messages and %d bytes, want %d and %d", gotCount, gotBytes, count, bytes)
			}
		}
	})
}

// Who waits for the first, or for it to be passed, is woken.
func TestPublishesWakeWhoWaits(t *testing.T) {
	q := newPublishes()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const n = 1000
	go func() {
		for range n {
			for q.add(&publish{mark: &messages.Flush{}}) != nil {
				t.Error("refused")
			}
		}
	}()
	for range n {
		p := q.first(ctx)
		if p == nil {
			t.Fatal("the wake-up was lost")
		}
		go q.done(p)
		if !q.passed(ctx, p) {
			t.Fatal("the wake-up was lost")
		}
	}
	p := &publish{mark: &messages.Flush{}}
	if err := q.add(p); err != nil {
		t.Fatal(err)
	}
	go q.close(messages.ErrClosed)
	if !q.passed(ctx, p) {
		t.Error("the end did not wake")
	}
}
