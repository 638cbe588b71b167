package sendq

// Requests: to whom they go, and how they are taken back.

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// toldOf notes what Each is told.
func toldOf(told map[string]error) func(string, error) {
	return func(group string, cause error) { told[group] = cause }
}

// A request goes to the groups that it names, and an ack without a reply is told.
func TestAskIsForItsGroups(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	other := o.Backlog("other", messages.GroupSettings{Mode: messages.AtMostOnce, Policy: messages.QueueBlock})
	l, k := linkTo(t, o, b, "m", 1<<20, 1<<30), linkTo(t, o, other, "m", 1<<20, 1<<30)
	told := map[string]error{}
	m := messages.Ask(*recordtest.Numbered(1, 8), 7)
	if err := o.Ask(t.Context(), &m, &Asking{Groups: []string{b.Group}, Each: toldOf(told)}); err != nil {
		t.Fatal(err)
	}
	if ids, others := carried(t, o, b, l), carried(t, o, other, k); !slices.Equal(ids, []uint64{1}) || len(others) != 0 {
		t.Errorf("%v went to the group, %v to the other", ids, others)
	}
	settle(t, o, b, l, 1)
	if cause, ok := told[b.Group]; !ok || cause != nil {
		t.Errorf("told was %v", told)
	}
	// At most once it is settled when it is written, which says nothing of a reply.
	clear(told)
	if err := o.Ask(t.Context(), &m, &Asking{Groups: []string{"other"}, Each: toldOf(told)}); err != nil {
		t.Fatal(err)
	}
	if carried(t, o, other, k); len(told) != 0 {
		t.Errorf("told was %v, of what was only written", told)
	}
}

// Without a linked member a request fails at once, or when one that is expected has not come
// within the grace; nothing is queued.
func TestAskWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		m := messages.Ask(*recordtest.Numbered(1, 8), 7)
		ask := func(group string) error {
			return o.Ask(t.Context(), &m, &Asking{Groups: []string{group}, Grace: time.Second, Each: func(string, error) { t.Error("told of what was refused") }})
		}
		began := time.Now()
		if err := ask("nobody"); !errors.Is(err, messages.ErrNoGroup) {
			t.Errorf("no such group: %v", err)
		}
		if err := ask(b.Group); !errors.Is(err, messages.ErrNoMember) || time.Since(began) != 0 {
			t.Errorf("nobody expected: %v after %s", err, time.Since(began))
		}
		o.Expect(b, map[string]int64{"m": 1})
		if err := ask(b.Group); !errors.Is(err, messages.ErrNoMember) || time.Since(began) != time.Second {
			t.Errorf("a member that does not come: %v after %s", err, time.Since(began))
		}
		if n := o.Pending(); n != 0 {
			t.Errorf("%d are queued", n)
		}
		done := make(chan error, 1)
		go func() { done <- ask(b.Group) }()
		synctest.Wait()
		linkTo(t, o, b, "m", 1, 1<<30)
		if err := <-done; err != nil || o.Pending() != 1 {
			t.Errorf("a member that comes: %v, %d are queued", err, o.Pending())
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("no more"))
		if err := o.Ask(ctx, &m, &Asking{Groups: []string{b.Group}}); err == nil {
			t.Error("a context that has ended asks")
		}
		told := map[string]error{}
		if err := o.Ask(t.Context(), &m, &Asking{Groups: []string{"nobody", b.Group}, Some: true, Each: toldOf(told)}); err != nil || !errors.Is(told["nobody"], messages.ErrNoMember) || len(told) != 1 {
			t.Errorf("some of the groups: %v, told was %v", err, told)
		}
	})
}

// What is withdrawn is not sent, what stays comes in order, and the books balance.
func TestWithdraw(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		var asked []*Asking
		var want []uint64
		n := rapid.IntRange(1, 30).Draw(rt, "messages")
		for i := range n {
			m := recordtest.Numbered(uint64(i+1), 8)
			if rapid.Bool().Draw(rt, "request") {
				a := &Asking{Groups: []string{b.Group}, Each: func(string, error) {}}
				r := messages.Ask(*m, uint64(i+1))
				if err := o.Ask(t.Context(), &r, a); err != nil {
					rt.Fatal(err)
				}
				if rapid.Bool().Draw(rt, "withdraw") {
					asked = append(asked, a)
					continue
				}
			} else if err := o.Send(t.Context(), m); err != nil {
				rt.Fatal(err)
			}
			want = append(want, uint64(i+1))
		}
		if rapid.Bool().Draw(rt, "again") { // what a link had is queued in another way
			carried(t, o, b, l)
			o.Detach(b, l, false, time.Now())
			l = NewLink("m", 1, 1<<20)
			o.Attach(b, l)
			settle(t, o, b, l, 0)
		}
		for _, a := range rapid.Permutation(asked).Draw(rt, "order") {
			o.Withdraw(a)
			o.Withdraw(a) // the second does nothing
		}
		if o.Pending() != len(want) || int(b.counters.Dropped) != len(asked) {
			rt.Fatalf("%d pending and %d dropped, want %d and %d", o.Pending(), b.counters.Dropped, len(want), len(asked))
		}
		if ids := carried(t, o, b, l); !slices.Equal(ids, want) {
			rt.Fatalf("%v were sent, want %v", ids, want)
		}
		for _, a := range asked {
			o.Withdraw(a)
		}
		settle(t, o, b, l, l.sent)
		if b.count != 0 || b.size != 0 || o.open != (openChunks{}) {
			rt.Fatalf("%d messages of %d bytes are left, a chunk: %t", b.count, b.size, o.open != (openChunks{}))
		}
	})
}
