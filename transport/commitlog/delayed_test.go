package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// sealedLater is a batch of records that are due at 2000, 2001 …, put at 1000.
func sealedLater(t testing.TB, values ...string) *format.Sealed {
	t.Helper()
	var raw []byte
	for i, v := range values {
		m := messages.Message{Value: []byte(v), DeliverAt: time.Unix(0, int64(2000+i))}
		raw = messages.AppendRecord(raw, &m)
	}
	sequence++
	s, err := format.SealLater(raw, len(values), 1000, 1000, 1000, messages.CompressNone, 7, sequence)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inOffice is the office of a keeper.
func inOffice(t testing.TB, l *Log) Office {
	t.Helper()
	lease, err := l.client.Grant(testContext(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	o, held, err := l.TakeOffice(testContext(t), lease.ID, "me")
	if err != nil || !held {
		t.Fatal(held, err)
	}
	return o
}

// waits are the values that wait in a partition.
func waits(t testing.TB, p *Partition, due int64) (all []format.Waiting, values []string) {
	t.Helper()
	page, err := p.Waits(testContext(t), "", due, 100)
	if err != nil || len(page.Bad) > 0 || page.More {
		t.Fatal(page, err)
	}
	for _, w := range page.Records {
		var r messages.Payload
		if _, err := messages.ConsumeRecord(w.Raw, &r); err != nil {
			t.Fatal(err)
		}
		values = append(values, string(r.Value))
	}
	return page.Records, values
}

// read are the values of the records of a partition that are not places.
func read(t testing.TB, p *Partition) (values []string) {
	t.Helper()
	ctx := testContext(t)
	entries, err := p.Entries(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		batches, err := p.Fetch(ctx, []format.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		for raw := batches[0].Raw; len(raw) > 0; {
			var r messages.Payload
			n, err := messages.ConsumeRecord(raw, &r)
			if err != nil {
				t.Fatal(err)
			}
			if !messages.Erased(&r) {
				values = append(values, string(r.Value))
			}
			raw = raw[n:]
		}
	}
	return values
}

// Promise: a delivery whose answer was lost, that comes late or that another keeper made too
// is there once; the marks say when the first is due, and go when nothing waits.
func TestDeliverOnce(t *testing.T) {
	for _, kind := range []faultKind{pass, lose, stall} {
		l, f := startEtcd(t)
		ctx := testContext(t)
		p := l.Partition(create(t, l, "orders", 1), 0)
		a := p.Appender(AppenderConfig{Producer: 7})
		if base := mustAppend(t, a, sealedLater(t, "a", "b", "c")); base != 0 {
			t.Fatal(base)
		}
		mark := value(t, l, l.space.Delay(p.topic.ID, 0))
		if due, err := l.FirstDue(ctx, []Ahead{{P: p, By: math.MaxInt64}}); err != nil || due[0] != 2000 || mark != keys.Offset(2000) {
			t.Fatalf("due at %v, %v; marked %s", due, err, mark)
		}
		if due, err := l.FirstDue(ctx, []Ahead{{P: p, By: 1999}, {P: p, By: 2000}}); err != nil || due[0] != NoneWaits || due[1] != 2000 {
			t.Fatalf("due by 1999 and by 2000: %v, %v", due, err)
		}
		o := inOffice(t, l)
		due, values := waits(t, p, 2001)
		if !slices.Equal(values, []string{"a", "b"}) {
			t.Fatalf("due are %q", values)
		}
		keeper := p.Appender(AppenderConfig{Producer: 8})
		f.next(fault{kind: kind})
		n, err := keeper.Deliver(ctx, o, due, 3000, 1)
		if kind == pass && (n != 2 || err != nil) || kind != pass && !errors.Is(err, messages.ErrUnavailable) {
			t.Fatalf("kind %d: %d, %v", kind, n, err)
		}
		again := p.Appender(AppenderConfig{Producer: 9})
		for i := range 2 {
			if n, err := again.Deliver(ctx, o, due, 3000, uint64(i)); err != nil || n != 0 && (kind != stall || i > 0) {
				t.Errorf("kind %d: delivered again: %d, %v", kind, n, err)
			}
		}
		if kind == stall {
			f.arrive(t, 0)
		}
		if got := read(t, p); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("kind %d: read %q", kind, got)
		}
		if _, values := waits(t, p, math.MaxInt64); !slices.Equal(values, []string{"c"}) {
			t.Errorf("kind %d: %q wait", kind, values)
		}
		resp, err := l.get(ctx, "look", l.space.Delay(p.topic.ID, 0))
		if err != nil {
			t.Fatal(err)
		}
		if gone, err := p.Unmark(ctx, o, resp.Kvs[0].ModRevision); gone || err != nil {
			t.Errorf("unmarked while one waits: %v", err)
		}
		if n, err := p.CancelAll(ctx); n != 1 || err != nil {
			t.Errorf("%d cancelled, %v", n, err)
		}
		if gone, err := p.Unmark(ctx, o, resp.Kvs[0].ModRevision-1); gone || err != nil {
			t.Errorf("unmarked though it was marked again: %v", err)
		}
		if gone, err := p.Unmark(ctx, o, resp.Kvs[0].ModRevision); !gone || err != nil {
			t.Errorf("not unmarked: %v", err)
		}
	}
}

// Promise: a keeper that is none any more delivers nothing, nor does one that has read what
// was cancelled, put again or deleted with its topic since.
func TestDeliverComparesValues(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	p := l.Partition(info, 0)
	mustAppend(t, p.Appender(AppenderConfig{Producer: 7}), sealedLater(t, "a", "b"))
	o := inOffice(t, l)
	due, _ := waits(t, p, 5000)
	if err := p.Cancel(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := p.Cancel(ctx, 1); !errors.Is(err, messages.ErrNotDelayed) {
		t.Errorf("cancelled twice: %v", err)
	}
	a := p.Appender(AppenderConfig{Producer: 8})
	if n, err := a.Deliver(ctx, o, due, 1, 1); n != 0 || err != nil {
		t.Errorf("with one that was cancelled: %d, %v", n, err)
	}
	put(t, l, l.space.Keeper(), "another")
	if n, err := a.Deliver(ctx, o, due[:1], 1, 2); n != 0 || err != nil && !errors.Is(err, ErrNotKeeper) {
		t.Errorf("with another in the office: %d, %v", n, err)
	}
	remove(t, l, l.space.Keeper())
	if _, err := a.Deliver(ctx, o, due[:1], 1, 3); !errors.Is(err, ErrNotKeeper) {
		t.Errorf("without an office: %v", err)
	}
	if got := read(t, p); len(got) > 0 {
		t.Errorf("delivered %q", got)
	}
	if _, err := l.DeleteTopic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Deliver(ctx, Office{}, due[:1], 1, 4); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("of a deleted topic: %v", err)
	}
	for _, key := range under(t, l, "/log/") {
		t.Errorf("%s is left", key)
	}
	marks := under(t, l, "/delays/")
	if len(marks) != 1 {
		t.Fatalf("marks: %q", marks)
	}
	resp, err := l.get(ctx, "look", marks[0])
	if err != nil {
		t.Fatal(err)
	}
	o = inOffice(t, l)
	if err := l.UnmarkGone(ctx, o, info.ID, 0, resp.Kvs[0].ModRevision); err != nil {
		t.Fatal(err)
	}
	if marks := under(t, l, "/delays/"); len(marks) > 0 {
		t.Errorf("marks are left: %q", marks)
	}
}

// Promise: an append of records that are due later is found again after a lost answer, with
// all that it put, once.
func TestAppendLaterOnce(t *testing.T) {
	l, f := startEtcd(t)
	p := l.Partition(create(t, l, "orders", 1), 0)
	a := p.Appender(AppenderConfig{Producer: 7})
	mustAppend(t, a, sealedWith("first"))
	f.next(fault{kind: lose})
	if base := mustAppend(t, a, sealedLater(t, "a", "b")); base != 1 {
		t.Errorf("at %d", base)
	}
	if _, values := waits(t, p, math.MaxInt64); !slices.Equal(values, []string{"a", "b"}) {
		t.Errorf("%q wait", values)
	}
	d, err := l.Describe(testContext(t), "orders")
	if err != nil || d.Partitions[0].Delayed != 2 || d.Partitions[0].NextDue.UnixNano() != 2000 {
		t.Errorf("%+v, %v", d.Partitions, err)
	}
}

// Promise: a cancellation whose answer was lost does not say that nothing waits there.
func TestCancelInDoubt(t *testing.T) {
	l, f := startEtcd(t)
	p := l.Partition(create(t, l, "orders", 1), 0)
	mustAppend(t, p.Appender(AppenderConfig{Producer: 7}), sealedLater(t, "a"))
	f.next(fault{kind: lose})
	if err := p.Cancel(testContext(t), 0); !errors.Is(err, messages.ErrUnknownOutcome) {
		t.Errorf("%v", err)
	}
	if _, values := waits(t, p, math.MaxInt64); len(values) > 0 {
		t.Errorf("%q wait", values)
	}
}

// Promise: what makes no sense under the prefix is named, and holds up nothing.
func TestWaitsThatMakeNoSense(t *testing.T) {
	l, _ := startEtcd(t)
	p := l.Partition(create(t, l, "orders", 1), 0)
	mustAppend(t, p.Appender(AppenderConfig{Producer: 7}), sealedLater(t, "a", "b"))
	put(t, l, p.waiting()+keys.Offset(1)+"/"+keys.Offset(9), "no batch")
	put(t, l, p.waiting()+"0", "no key")
	page, err := p.Waits(testContext(t), "", 2000, 100)
	if err != nil || len(page.Records) != 1 || len(page.Bad) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	for _, bad := range page.Bad {
		if !errors.Is(bad, messages.ErrCorrupt) || !strings.Contains(fmt.Sprint(bad), "orders") {
			t.Error(bad)
		}
	}
	if due, err := l.FirstDue(testContext(t), []Ahead{{P: p, From: page.Next, By: math.MaxInt64}}); err != nil || due[0] != 2001 {
		t.Errorf("due at %v, %v", due, err)
	}
}
