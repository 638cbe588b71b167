package commitlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func granted(t testing.TB, l *Log) clientv3.LeaseID {
	t.Helper()
	resp, err := l.client.Grant(testContext(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

// queued is an appender with a lease, that has met others.
func queued(t testing.TB, p *Partition, producer uint64) *Appender {
	t.Helper()
	lease := granted(t, p.log)
	a := p.Appender(AppenderConfig{Producer: producer, Lease: func() clientv3.LeaseID { return lease }})
	a.turn.crowded = time.Now().Add(time.Hour)
	return a
}

func tickets(t testing.TB, p *Partition) []string { return under(t, p.log, "/queue/") }

// Sixteen processes on one partition: each batch is there once, in its
// appender's order, and few transactions were in vain.
func TestManyAppendersOnOnePartition(t *testing.T) {
	const appenders, each = 16, 12
	l, _ := startEtcd(t)
	p := l.Partition(create(t, l, "topic", 1), 0)
	filler := strings.Repeat("x", 16<<10)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	writes := 0
	for w := range appenders {
		l, f := logAt(t, l.space)
		lease := granted(t, l)
		a := l.Partition(p.topic, 0).Appender(AppenderConfig{Producer: uint64(w), Lease: func() clientv3.LeaseID { return lease }})
		ctx := testContext(t)
		wg.Go(func() {
			for n := range each {
				s := Seal(records(fmt.Sprintf("%d %d %s", w, n, filler)), 1, 1, 1, 1, messages.CompressNone, uint64(100+w), uint64(n))
				begun := time.Now()
				if _, err := a.Append(ctx, s, n < each-1); err != nil {
					t.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(begun))
				mu.Unlock()
			}
			mu.Lock()
			writes += f.count()
			mu.Unlock()
		})
	}
	wg.Wait()
	next := make([]int, appenders)
	for _, v := range contents(t, p) {
		var w, n int
		if _, err := fmt.Sscan(v, &w, &n); err != nil || n != next[w] {
			t.Fatalf("appender %d: batch %d where %d should be", w, n, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("appender %d has %d batches", w, n)
		}
	}
	// Without tickets it is eight times as many.
	if most := 3 * appenders * each; writes > most {
		t.Errorf("%d transactions for %d batches", writes, appenders*each)
	}
	if left := tickets(t, p); len(left) > 0 {
		t.Errorf("tickets were left: %q", left)
	}
	slices.Sort(took)
	t.Logf("%d transactions for %d batches; p50 %v, p99 %v", writes, appenders*each, took[len(took)/2], took[len(took)*99/100])
}

// A ticket tells the next one where the partition ends, so that it sends once.
func TestTurns(t *testing.T) {
	p, f := topicPartition(t)
	a, b := queued(t, p, 1), queued(t, p, 2)
	ctx := testContext(t)
	add := func(a *Appender, value string, more bool) {
		t.Helper()
		if _, err := a.Append(ctx, sealedWith(value), more); err != nil {
			t.Fatal(err)
		}
	}
	add(a, "a", true)
	if held := tickets(t, p); len(held) != 1 || held[0] != a.turn.mine || a.turn.place != first {
		t.Fatalf("after an append with more to come: %q, %+v", held, a.turn)
	}
	// b queues behind a.
	done := make(chan error, 1)
	go func() { _, err := b.Append(ctx, sealedWith("b"), true); done <- err }()
	waitFor(t, func() bool { return len(tickets(t, p)) == 2 })
	add(a, "c", true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	before := f.count()
	add(a, "d", false)
	add(b, "e", false)
	if n := f.count() - before; n != 2 {
		t.Errorf("two appends in turn took %d transactions", n)
	}
	wantContents(t, p, "a", "c", "b", "d", "e")
	if left := tickets(t, p); len(left) > 0 {
		t.Errorf("tickets were left: %q", left)
	}
	// Nobody else for a while: no tickets.
	add(a, "f", false)
	a.turn.crowded = time.Now()
	before = f.count()
	add(a, "g", true)
	if n := f.count() - before; n != 1 || a.turn.mine != "" {
		t.Errorf("a lone append took %d transactions, and the ticket %q", n, a.turn.mine)
	}
}

// waitFor polls a condition about etcd, of which nothing signals.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("never")
		}
	}
}

// A head that does nothing is overtaken once, and then out of the way.
func TestIdleHeadIsOvertakenOnce(t *testing.T) {
	p, _ := topicPartition(t)
	idle, a := queued(t, p, 1), queued(t, p, 2)
	ctx := testContext(t)
	if _, err := idle.Append(ctx, sealedWith("a"), true); err != nil {
		t.Fatal(err)
	}
	a.timing.barge = 100 * time.Millisecond
	for n, most := range []time.Duration{20 * time.Second, time.Hour} {
		begun := time.Now()
		if _, err := a.Append(ctx, sealedWith("b"), true); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		if n == 0 && took < a.timing.barge {
			t.Errorf("the head was given %v", took)
		}
		if took > most {
			t.Errorf("append %d took %v", n, took)
		}
		if held := tickets(t, p); len(held) != 1 || held[0] != a.turn.mine || a.turn.place != first {
			t.Errorf("append %d: the queue is %q", n, held)
		}
	}
	// The head comes back, and finds its place taken.
	if _, err := idle.Append(ctx, sealedWith("c"), false); err != nil {
		t.Fatal(err)
	}
	if err := a.Leave(ctx); err != nil || len(tickets(t, p)) != 0 {
		t.Errorf("%v, left are %q", err, tickets(t, p))
	}
	if err := a.Leave(ctx); err != nil {
		t.Error(err)
	}
	wantContents(t, p, "a", "b", "b", "c")
}

// A ticket that ends with its lease makes way at once.
func TestTicketEndsWithItsLease(t *testing.T) {
	p, f := topicPartition(t)
	dead, a := queued(t, p, 1), queued(t, p, 2)
	a.timing.barge = time.Hour
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	if _, err := dead.Append(ctx, sealedWith("a"), true); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := a.Append(ctx, sealedWith("b"), false); done <- err }()
	waitFor(t, func() bool { return len(tickets(t, p)) == 2 })
	if _, err := p.log.client.Revoke(ctx, dead.cfg.Lease()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Without its lease, the first goes on without tickets.
	for range 3 {
		before := f.count()
		if _, err := dead.Append(ctx, sealedWith("c"), true); err != nil {
			t.Fatal(err)
		}
		if n := f.count() - before; n > 3 {
			t.Errorf("an append took %d transactions", n)
		}
	}
	before := f.count()
	mustAppend(t, dead, sealedWith("d"))
	if n := f.count() - before; n != 1 {
		t.Errorf("an append without a lease took %d transactions", n)
	}
	wantContents(t, p, "a", "b", "c", "c", "c", "d")
}

// Waiting ends with its context, and leaves no doubt.
func TestWaitingEndsWithContext(t *testing.T) {
	p, _ := topicPartition(t)
	head, a := queued(t, p, 1), queued(t, p, 2)
	if _, err := head.Append(testContext(t), sealedWith("a"), true); err != nil {
		t.Fatal(err)
	}
	a.timing.barge = time.Hour
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	s := sealedWith("b")
	go func() { _, err := a.Append(ctx, s, false); done <- err }()
	waitFor(t, func() bool { return len(tickets(t, p)) == 2 })
	cancel()
	if err := <-done; err == nil || s.way.state != fresh {
		t.Errorf("%v, %+v", err, s.way)
	}
	if err := head.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, s)
	wantContents(t, p, "a", "b")
}

// Lost replies of appends with tickets.
func TestLostRepliesWithTickets(t *testing.T) {
	p, f := topicPartition(t)
	a, b := queued(t, p, 1), queued(t, p, 2)
	ctx := testContext(t)
	for i, kind := range []faultKind{lose, drop, lose} {
		f.next(fault{}, fault{kind: kind}) // the ticket, and the append
		if i > 0 {
			f.next(fault{kind: kind}) // the ticket is there
		}
		if _, err := a.Append(ctx, sealedWith(fmt.Sprint("a", i)), true); err != nil {
			t.Fatal(err)
		}
		f.used(t)
		if held := tickets(t, p); len(held) != 1 {
			t.Errorf("append %d: the queue is %q", i, held)
		}
	}
	if err := a.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	// The reply to taking the ticket.
	f.next(fault{kind: lose})
	if _, err := b.Append(ctx, sealedWith("b"), false); err != nil {
		t.Fatal(err)
	}
	wantContents(t, p, "a0", "a1", "a2", "b")
	if left := tickets(t, p); len(left) > 0 {
		t.Errorf("tickets were left: %q", left)
	}
}

func TestQueueFollowsEvents(t *testing.T) {
	// entry is of the batch of ten that ends at end.
	entry := func(end int64) string {
		return string((&Sealed{Count: 10}).entry(100, 10*end))
	}
	kv := func(key string, create int64, end int64) *mvccpb.KeyValue {
		ticket := &pb.Ticket{}
		if end > 0 {
			ticket.Base, ticket.Entry = end-10, []byte(entry(end))
		}
		value, err := proto.Marshal(ticket)
		if err != nil {
			t.Fatal(err)
		}
		return &mvccpb.KeyValue{Key: []byte(key), Value: value, CreateRevision: create, ModRevision: create}
	}
	put := func(key string, at, end int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv(key, at, end)}
	}
	gone := func(key string, at int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: at}}
	}
	q := &queue{revision: 10}
	for _, k := range []*mvccpb.KeyValue{kv("c", 9, 0), kv("a", 7, 50), kv("b", 8, 0)} {
		q.add(k)
	}
	want := func(what string, end int64, keys ...string) {
		t.Helper()
		var got []string
		for _, x := range q.tickets {
			got = append(got, x.key)
		}
		ends := tail{}
		if end > 0 {
			ends = tail{end: end, last: end - 10, bytes: 10 * end, entry: entry(end)}
		}
		if !slices.Equal(got, keys) || q.end != ends {
			t.Fatalf("%s: %q ending at %+v, want %q at %+v", what, got, q.end, keys, ends)
		}
	}
	want("listed", 0, "a", "b", "c")
	q.apply([]*clientv3.Event{gone("b", 8), put("z", 9, 1)})
	want("older than the list", 0, "a", "b", "c")
	q.apply([]*clientv3.Event{put("c", 10, 0), gone("x", 10)})
	want("in the list already", 0, "a", "b", "c")
	q.apply([]*clientv3.Event{gone("a", 11), put("a2", 11, 60)})
	want("appended, and more to come", 60, "b", "c", "a2")
	if q.head() != "b" || q.ahead("a2") != 2 || !slices.Equal(q.before("a2"), []string{"b", "c"}) || q.has("a") || !q.has("c") || !q.others("c") {
		t.Fatalf("%+v", q)
	}
	q.apply([]*clientv3.Event{put("d", 12, 0)})
	want("one more waits", 60, "b", "c", "a2", "d")
	q.apply([]*clientv3.Event{gone("b", 13)})
	want("appended, and no more", 0, "c", "a2", "d")
	q.apply([]*clientv3.Event{{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte("e"), Value: []byte("\xff"), CreateRevision: 14, ModRevision: 14}}})
	want("one that does not decode", 0, "c", "a2", "d", "e")
	if empty := (&queue{}); empty.head() != "" || empty.others("") || empty.ahead("a") != 0 {
		t.Fatal("an empty queue")
	}
}

func TestPatienceGrowsWithThePlace(t *testing.T) {
	tm := timing{barge: time.Second}
	last := time.Duration(0)
	for ahead := range 100 {
		now := tm.patience(ahead)
		if now < time.Second || now > 3*time.Second || now < last {
			t.Fatalf("%d ahead: %v after %v", ahead, now, last)
		}
		last = now
	}
	if tm.patience(2) == tm.patience(1) {
		t.Error("the first two barge in together")
	}
}
