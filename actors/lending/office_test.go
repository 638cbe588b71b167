package lending

import (
	"context"
	"testing"

	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// aSender is one on paper.
type aSender struct {
	done      chan struct{}
	abandoned bool
}

func (*aSender) Lend(context.Context, *messages.Message, senders.Loan) error { return nil }
func (*aSender) Recall(int64)                                                {}
func (s *aSender) Unregister(context.Context) error                          { return nil }
func (s *aSender) Abandon()                                                  { s.abandoned = true }
func (s *aSender) Done() <-chan struct{}                                     { return s.done }
func (s *aSender) Gone() bool                                                { return s.abandoned }

// Promise: a sender ends after the last who lends through it, also when that one is told to
// stop at the moment at which it has become ready; and nothing is kept of senders that are
// gone.
func TestSendersEndWithTheirUsers(t *testing.T) {
	l := New(nil)
	var made []*aSender
	stop := func() {}
	l.register = func(context.Context, string) (sender, error) {
		s := &aSender{done: make(chan struct{})}
		made = append(made, s)
		stop()
		return s, nil
	}
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		stop = cancel
		if got, err := l.Lend(ctx, "topic", "group"); err == nil {
			got.Abandon()
		}
		if s := made[len(made)-1]; !s.abandoned || len(l.offices) > 0 {
			t.Fatalf("the %dth sender lives without users, offices %v", len(made), l.offices)
		}
	}
	stop = func() {}
	for _, group := range []string{"one", "two", "three"} {
		first, err := l.Lend(t.Context(), "topic", group)
		if err != nil {
			t.Fatal(err)
		}
		second, err := l.Lend(t.Context(), "topic", group)
		if err != nil {
			t.Fatal(err)
		}
		s := made[len(made)-1]
		first.Abandon()
		first.Abandon()
		if s.abandoned {
			t.Error("a sender ended while somebody lent through it")
		}
		second.Abandon()
		if !s.abandoned {
			t.Error("a sender lives without users")
		}
	}
	if len(l.ending) > 1 {
		t.Errorf("%d senders are kept that are gone", len(l.ending))
	}
}
