package sendq

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Promise: the oldest message of a group is the lowest that is not settled, wherever it
// is: queued, out on a link, failed and waiting, or queued again.
func TestAgesOfTheOldest(t *testing.T) {
	q := New("orders", Config{
		MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 100, Bytes: 1 << 20},
		Retry: messages.Retry{Min: time.Hour, Max: time.Hour},
	}, func(messages.Event) {}, func(func()) {})
	b := q.Backlog("billing", messages.GroupSettings{})
	begin := time.Unix(1000, 0)
	now := begin
	is := func(what string, seq uint64, age int) {
		t.Helper()
		got := q.Ages(now)
		if low := b.oldest(); low != seq || len(got) != 1 || got[0] != (messages.OldestMessage{Destination: "orders", Group: "billing", Age: time.Duration(age) * time.Second}) {
			t.Errorf("%s: %d is the oldest, %+v; want %d, %d s", what, low, got, seq, age)
		}
	}
	is("empty", 1, 0)
	for range 4 { // one a second
		if err := q.Send(context.Background(), &messages.Message{Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		q.Note(now)
		now = now.Add(time.Second)
	}
	is("queued", 1, 4)
	take := func(n int) {
		s := b.fresh.take(n)
		b.delay(s, now.Add(time.Hour))
	}
	take(1)
	is("failed and waiting", 1, 4)
	s := b.fresh.take(1)
	q.repeat(b, s, &suspicion{})
	b.delayed = nil
	is("the first is settled, the second queued again", 2, 3)
	b.again = spans{}
	is("and the second", 3, 2)
	b.fresh = spans{}
	is("and the others", 5, 0)
}
