package commitlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
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
	a.timing.barge, a.timing.crowd = time.Hour, time.Hour // a machine may stand still for a moment
	a.turn.crowded = time.Now().Add(a.timing.crowd)
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
				s := format.Seal(records(fmt.Sprintf("%d %d %s", w, n, filler)), 1, 1, 1, 1, messages.CompressNone, uint64(100+w), uint64(n))
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

// A ticket shows the next one where the partition ends, so that it sends once.
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

// sealedTimes are batches of one record.
func sealedTimes(n int, value string) (batches []*format.Sealed) {
	for range n {
		batches = append(batches, sealedWith(value))
	}
	return batches
}

// Taking turns costs a request and the news of it to the next one, not to all.
func TestTurnsWakeOneOther(t *testing.T) {
	const appenders, each = 8, 40
	l, _ := startEtcd(t)
	p := l.Partition(create(t, l, "topic", 1), 0)
	// All queue before the first may go on.
	gate := queued(t, p, 100)
	ctx := testContext(t)
	if _, err := gate.Append(ctx, sealedWith("first"), true); err != nil {
		t.Fatal(err)
	}
	var traffic []*faults
	var wg sync.WaitGroup
	for w := range appenders {
		l, f := logAt(t, l.space)
		traffic = append(traffic, f)
		a := queued(t, l.Partition(p.topic, 0), uint64(w))
		batches := sealedTimes(each, fmt.Sprint(w))
		wg.Go(func() {
			for n, s := range batches {
				if _, err := a.Append(ctx, s, n < each-1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	waitFor(t, func() bool { return len(tickets(t, p)) == 1+appenders })
	if err := gate.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	var requests, watches, events int
	for _, f := range traffic {
		requests += int(f.requests.Load())
		watches += int(f.watches.Load())
		events += int(f.events.Load())
	}
	t.Logf("%d appends: %d requests, %d watches, %d events", appenders*each, requests, watches, events)
	const appends, joining = appenders * each, 12 * appenders
	if requests > appends+joining || watches > joining || events > appends+joining {
		t.Errorf("%d appends took %d requests, %d watches and %d events", appends, requests, watches, events)
	}
	turns := contents(t, p)[1:]
	for i := appenders; i < len(turns); i++ {
		if turns[i] != turns[i-appenders] {
			t.Fatalf("the turns were not kept: %q", turns)
		}
	}
}

// Who hears that the one before it has left does not go before the others.
func TestOneInTheMiddleLeaves(t *testing.T) {
	p, f := topicPartition(t)
	head, middle, last := queued(t, p, 1), queued(t, p, 2), queued(t, p, 3)
	ctx := testContext(t)
	if _, err := head.Append(ctx, sealedWith("a"), true); err != nil {
		t.Fatal(err)
	}
	for i, a := range []*Appender{middle, last} {
		if n := len(tickets(t, p)); !a.queueUp(ctx) || a.turn.place != waiting || n != 1+i {
			t.Fatalf("%+v behind %d tickets", a.turn, n)
		}
	}
	looks := make(chan struct{}, 100)
	f.look = func() { looks <- struct{}{} }
	done := make(chan error, 1)
	go func() { _, err := last.Append(ctx, sealedWith("c"), false); done <- err }()
	looked := func() {
		select {
		case <-looks:
		case <-ctx.Done():
			t.Fatal("it did not look")
		}
	}
	looked() // it listens
	if _, err := p.log.client.Revoke(ctx, middle.cfg.Lease()); err != nil {
		t.Fatal(err)
	}
	looked() // it has heard
	if _, err := head.Append(ctx, sealedWith("b"), true); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantContents(t, p, "a", "b", "c")
}

// Who took itself for the first, and was not, waits again.
func TestNotTheFirstAfterAll(t *testing.T) {
	p, f := topicPartition(t)
	head, middle, last := queued(t, p, 1), queued(t, p, 2), queued(t, p, 3)
	ctx := testContext(t)
	if _, err := head.Append(ctx, sealedWith("a"), true); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Appender{middle, last} {
		a.learn(head.end)
		if !a.queueUp(ctx) || a.turn.place != waiting {
			t.Fatalf("%+v", a.turn)
		}
	}
	if _, err := head.Append(ctx, sealedWith("b"), false); err != nil {
		t.Fatal(err)
	}
	last.turn.place = first
	looks := make(chan struct{}, 100)
	f.look = func() { looks <- struct{}{} }
	done := make(chan error, 1)
	go func() { _, err := last.Append(ctx, sealedWith("d"), false); done <- err }()
	select {
	case <-looks:
	case err := <-done:
		t.Fatalf("it did not look, and answers %v", err)
	}
	if _, err := middle.Append(ctx, sealedWith("c"), false); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantContents(t, p, "a", "b", "c", "d")
}

// Without watches turns are slower, and still taken.
func TestTurnsWithoutWatches(t *testing.T) {
	for name, spoil := range map[string]watchFault{"refused": refuseWatches, "deaf": deafenWatches} {
		l, _ := startEtcd(t)
		p := l.Partition(create(t, l, "topic", 1), 0)
		const each = 5
		var wg sync.WaitGroup
		for w := range 2 {
			l, f := logAt(t, l.space)
			f.watching.Store(int32(spoil))
			a := queued(t, l.Partition(p.topic, 0), uint64(w))
			a.timing.barge = 100 * time.Millisecond
			ctx, batches := testContext(t), sealedTimes(each, fmt.Sprint(w))
			wg.Go(func() {
				for n, s := range batches {
					if _, err := a.Append(ctx, s, n < each-1); err != nil {
						t.Error(name, err)
					}
				}
			})
		}
		wg.Wait()
		if n := len(contents(t, p)); n != 2*each {
			t.Errorf("%s: %d records", name, n)
		}
	}
}

// A head that does nothing is overtaken once, and then out of the way.
func TestIdleHeadIsOvertakenOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("a ticket's lease has to end: a minute")
	}
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
	// Without its lease, the first continues without tickets.
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
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	s := sealedWith("b")
	go func() { _, err := a.Append(ctx, s, false); done <- err }()
	waitFor(t, func() bool { return len(tickets(t, p)) == 2 })
	cancel()
	if err := <-done; err == nil || s.Way.State != format.Fresh {
		t.Errorf("%v, %+v", err, s.Way)
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

func TestQueueIsByPut(t *testing.T) {
	kv := func(key string, created, put int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), CreateRevision: created, ModRevision: put}
	}
	resp := &clientv3.TxnResponse{
		Header: &etcdserverpb.ResponseHeader{Revision: 20},
		Responses: []*etcdserverpb.ResponseOp{{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: &etcdserverpb.RangeResponse{
			Kvs: []*mvccpb.KeyValue{kv("a", 7, 18), kv("b", 8, 8), kv("c", 9, 12), kv("d", 6, 12)},
		}}}},
	}
	q := newQueue(resp, 0)
	if q.head() != (placed{"b", 8}) || q.ahead("a") != 3 || !slices.Equal(q.before("a"), []string{"b", "c", "d"}) || q.has("x") || !q.has("c") || !q.others("c") {
		t.Fatalf("%+v", q)
	}
	if empty := (&queue{}); empty.head() != (placed{}) || empty.others("") || empty.ahead("a") != 0 {
		t.Fatal("an empty queue")
	}
}

func TestHearing(t *testing.T) {
	// entry is of the batch of ten that ends at end.
	entry := func(end int64) string {
		return string((&format.Sealed{Count: 10}).EntryValue(100, 10*end))
	}
	put := func(at int64, ticket *pb.Ticket) *clientv3.Event {
		value, err := proto.Marshal(ticket)
		if err != nil {
			t.Fatal(err)
		}
		return &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Value: value, ModRevision: at}}
	}
	appended := func(at, end int64) *clientv3.Event {
		return put(at, &pb.Ticket{Base: end - 10, Entry: []byte(entry(end))})
	}
	queued := func(at int64) *clientv3.Event { return put(at, &pb.Ticket{}) }
	gone := func(at int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{ModRevision: at}}
	}
	rubbish := &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Value: []byte("\xff"), ModRevision: 99}}
	for name, c := range map[string]struct {
		events  []*clientv3.Event
		unclear bool
		place   place
		end     int64
	}{
		"nothing":                  {place: waiting, end: 50},
		"known already":            {[]*clientv3.Event{appended(9, 60), gone(10)}, false, waiting, 50},
		"appended":                 {[]*clientv3.Event{appended(11, 60)}, false, first, 60},
		"appended, behind":         {[]*clientv3.Event{appended(11, 40)}, false, first, 50},
		"appended twice":           {[]*clientv3.Event{appended(11, 60), appended(15, 70)}, false, first, 70},
		"appended, and left":       {[]*clientv3.Event{appended(11, 60), gone(12)}, false, first, 60},
		"left":                     {[]*clientv3.Event{gone(11)}, true, waiting, 50},
		"queued again":             {[]*clientv3.Event{queued(11)}, true, waiting, 50},
		"what does not decode":     {[]*clientv3.Event{rubbish}, true, waiting, 50},
		"left after what is known": {[]*clientv3.Event{appended(10, 60), gone(11)}, true, waiting, 50},
	} {
		a := (&Partition{}).Appender(AppenderConfig{})
		a.turn.place, a.turn.seen.revision = waiting, 10
		a.learn(format.LogEnd{Offset: 50, Last: 40})
		if unclear := a.heard(c.events); unclear != c.unclear || a.turn.place != c.place || a.end.Offset != c.end {
			t.Errorf("%s: unclear %v, place %d, end %d", name, unclear, a.turn.place, a.end.Offset)
		}
		if c.end > 50 && a.end != (format.LogEnd{Offset: c.end, Last: c.end - 10, Bytes: 10 * c.end, Entry: entry(c.end)}) {
			t.Errorf("%s: %+v", name, a.end)
		}
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
