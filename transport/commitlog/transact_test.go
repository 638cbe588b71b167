package commitlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// desk is where transactions are made: two partitions to put to, a claim to one that is
// read, and two keys of the user's, of which one is compared and one is written.
type desk struct {
	t       testing.TB
	log     *Log
	f       *faults
	me      Me
	claim   Claimed
	at      int64 // committed
	outs    []*Appender
	parts   []*Partition
	gate    string
	count   string
	session clientv3.LeaseID
}

// variant is what a transaction has.
type variant struct{ puts, moves, keys bool }

func (v variant) String() string {
	return strings.Trim(fmt.Sprintf("puts %t, moves %t, keys %t", v.puts, v.moves, v.keys), " ")
}

var variants = []variant{{true, false, false}, {false, true, false}, {false, false, true}, {true, true, false}, {true, false, true}, {false, true, true}, {true, true, true}}

func newDesk(t testing.TB) *desk {
	t.Helper()
	l, f := startEtcd(t)
	d := &desk{t: t, log: l, f: f, gate: "/user" + string(l.space) + "/gate", count: "/user" + string(l.space) + "/count"}
	in := create(t, l, "incoming", 1)
	fill(t, l, in, 0, 5)
	d.me = join(t, l, in, "group", "me")
	d.session = d.me.Lease
	d.claim = claimOne(t, l, d.me, 0)
	for _, name := range []string{"outgoing", "another"} {
		p := l.Partition(create(t, l, name, 2), 1)
		d.parts = append(d.parts, p)
		d.outs = append(d.outs, p.Appender(AppenderConfig{Lease: d.lease}))
	}
	put(t, l, d.gate, "open")
	return d
}

func (d *desk) lease() clientv3.LeaseID { return d.session }

// begin makes a transaction that moves the group on by one record.
func (d *desk) begin(v variant) *Transaction {
	t := d.log.Begin()
	t.Lease = d.lease
	if v.puts {
		for i, a := range d.outs {
			s := format.Seal(records(fmt.Sprint(i), "more"), 2, 1, 1, 1, messages.CompressNone, t.Producer, t.Sequence)
			t.Outputs = append(t.Outputs, Output{Appender: a, Batch: s, End: AnyEnd})
		}
	}
	if v.moves {
		t.Inputs = []Input{{Me: d.me, Position: d.claim.at(d.at+1, 0), From: d.at}}
	}
	if v.keys {
		t.If = []clientv3.Cmp{clientv3.Compare(clientv3.Value(d.gate), "=", "open")}
		t.Then = []clientv3.Op{clientv3.OpPut(d.count, "once more")}
	}
	return t
}

// applied notes what is known after a transaction, and landed that it was applied.
func (d *desk) seen(t *Transaction, landed bool) {
	if len(t.Inputs) > 0 {
		d.claim.Known = t.Inputs[0].Position.Known
		if landed {
			d.at++
		}
	}
}

// wants fails the test unless so many transactions of that variant have had their effects.
func (d *desk) wants(v variant, times int64) {
	d.t.Helper()
	if v.puts {
		for i, p := range d.parts {
			var want []string
			for range times {
				want = append(want, fmt.Sprint(i), "more")
			}
			wantContents(d.t, p, want...)
		}
	}
	if at, _, _ := committed(d.t, d.log, d.me, 0); v.moves && at != times && (at > 0 || times > 0) {
		d.t.Fatalf("committed is %d, want %d", at, times)
	}
	if n := version(d.t, d.log, d.count); v.keys && n != times {
		d.t.Fatalf("the key was written %d times, want %d", n, times)
	}
}

func version(t testing.TB, l *Log, key string) int64 {
	t.Helper()
	resp, err := l.client.Get(testContext(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return 0
	}
	return resp.Kvs[0].Version
}

func eachVariant(t *testing.T, f func(t *testing.T, d *desk, v variant)) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			f(t, newDesk(t), v)
		})
	}
}

// All of a transaction is written, behind what others have put meanwhile.
func TestTransact(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *desk, v variant) {
		for range 3 {
			x := d.begin(v)
			if err := d.log.Transact(testContext(t), x); err != nil {
				t.Fatal(err)
			}
			d.seen(x, true)
		}
		d.wants(v, 3)
		if left := under(t, d.log, "/transactions/"); len(left) > 1 {
			t.Errorf("marks are left: %q", left)
		}
	})
}

func TestTransactGoesBehindOthers(t *testing.T) {
	d := newDesk(t)
	v := variant{true, true, true}
	if err := d.log.Transact(testContext(t), d.begin(v)); err == nil {
		d.at = 1
	} else {
		t.Fatal(err)
	}
	d.claim.Known = modRevision(t, d.log, d.log.space.Committed(d.me.Topic.ID, "group", 0))
	other := d.parts[1].Appender(AppenderConfig{})
	mustAppend(t, other, sealedWith("other"))
	x := d.begin(v)
	if err := d.log.Transact(testContext(t), x); err != nil {
		t.Fatal(err)
	}
	if b := x.Outputs[1].Batch.Way; b.Base != 3 {
		t.Errorf("it is at %d", b.Base)
	}
	wantContents(t, d.parts[0], "0", "more", "0", "more")
	wantContents(t, d.parts[1], "1", "more", "other", "1", "more")
}

// Whatever becomes of requests and answers, a transaction is written once, and a request
// that comes late changes nothing.
// Promise: a transaction that was sent again because others were first leaves no mark that
// outlasts the next one.
func TestMarksOfTransactionsBehindOthers(t *testing.T) {
	d := newDesk(t)
	other := d.parts[1].Appender(AppenderConfig{})
	for range 4 {
		mustAppend(t, other, sealedWith("other"))
		if err := d.log.Transact(testContext(t), d.begin(variant{puts: true, keys: true})); err != nil {
			t.Fatal(err)
		}
	}
	if left := under(t, d.log, "/transactions/"); len(left) > 1 {
		t.Errorf("marks are left: %q", left)
	}
}

func TestTransactWithLostAnswers(t *testing.T) {
	plans := map[string][]fault{
		"never sent":          {{kind: drop}},
		"answer lost":         {{kind: lose}},
		"answers lost":        {{kind: lose}, {kind: lose}, {kind: lose}},
		"late":                {{kind: stall}},
		"late, and lost":      {{kind: stall}, {kind: lose}},
		"lost, and late":      {{kind: lose}, {kind: stall}},
		"never sent, and all": {{kind: drop}, {kind: stall}, {kind: lose}, {kind: drop}},
	}
	eachVariant(t, func(t *testing.T, d *desk, v variant) {
		done, late := int64(0), 0
		for name, plan := range plans {
			d.f.next(plan...)
			x := d.begin(v)
			if err := d.log.Transact(testContext(t), x); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			d.f.used(t)
			d.seen(x, true)
			done++
			d.wants(v, done)
			for ; late < d.f.late(); late++ {
				d.f.arrive(t, late)
			}
			d.wants(v, done)
		}
		for i := range late {
			d.f.arrive(t, i)
		}
		d.wants(v, done)
	})
}

// When what the user compares does not hold nothing is written, not even by a request
// that comes when it holds again.
func TestTransactCondition(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *desk, v variant) {
		if !v.keys {
			return
		}
		put(t, d.log, d.gate, "closed")
		x := d.begin(v)
		if err := d.log.Transact(testContext(t), x); !errors.Is(err, messages.ErrCondition) {
			t.Fatal(err)
		}
		d.seen(x, false)
		put(t, d.log, d.gate, "open")
		// The first attempt is still under way when the second is refused.
		d.f.next(fault{kind: stall, before: func() { put(t, d.log, d.gate, "closed") }})
		x = d.begin(v)
		if err := d.log.Transact(testContext(t), x); !errors.Is(err, messages.ErrCondition) {
			t.Fatal(err)
		}
		d.seen(x, false)
		put(t, d.log, d.gate, "open")
		d.f.arrive(t, 0)
		d.wants(v, 0)
		// What was applied, and compares no longer, has landed.
		d.f.next(fault{kind: lose})
		x = d.begin(v)
		x.Then = append(x.Then, clientv3.OpPut(d.gate, "closed"))
		if err := d.log.Transact(testContext(t), x); err != nil {
			t.Fatal(err)
		}
		d.seen(x, true)
		d.wants(v, 1)
	})
}

// A transaction commits only while the claim stands.
func TestTransactIsFenced(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *desk, v variant) {
		if !v.moves {
			return
		}
		claim := d.log.space.Claim(d.me.Topic.ID, "group", 0)
		revoke := func() {
			remove(t, d.log, claim)
			claimOne(t, d.log, join(t, d.log, d.me.Topic, "group", "other"), 0)
		}
		// One attempt is under way when the claim is lost, and comes later.
		d.f.next(fault{kind: stall, before: revoke})
		x := d.begin(v)
		if err := d.log.Transact(testContext(t), x); !errors.Is(err, messages.ErrFenced) || errors.Is(err, messages.ErrUnknownOutcome) || !x.Inputs[0].Fenced {
			t.Fatal(err)
		}
		d.f.arrive(t, 0)
		d.wants(v, 0)
		// Without puts, what another owner has written since hides what became of it.
		remove(t, d.log, claim)
		d.claim = claimOne(t, d.log, d.me, 0)
		d.f.next(fault{kind: lose}, fault{kind: drop, before: func() {
			remove(t, d.log, claim)
			other := join(t, d.log, d.me.Topic, "group", "another")
			c := claimOne(t, d.log, other, 0)
			if err := commitOne(t, d.log, other, c.at(c.Offset+1, 0)); err != nil {
				t.Error(err)
			}
		}})
		x = d.begin(v)
		err := d.log.Transact(testContext(t), x)
		if v.puts && err != nil || !v.puts && (!errors.Is(err, messages.ErrUnknownOutcome) || !errors.Is(err, messages.ErrFenced)) {
			t.Fatal(err)
		}
	})
}

// An earlier transaction of the same claim, of which its member has not heard, is not
// written over: neither by another transaction nor by a commit.
func TestTransactIsNotWrittenOver(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(testContext(t))
	d.f.next(fault{kind: lose}, fault{kind: drop, before: cancel})
	if err := d.log.Transact(ctx, d.begin(variant{true, true, true})); !errors.Is(err, messages.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := d.log.Transact(testContext(t), d.begin(variant{false, true, true})); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("another transaction: %v", err)
	}
	if err := commitOne(t, d.log, d.me, d.claim.at(0, 0)); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("a commit: %v", err)
	}
	d.wants(variant{true, true, true}, 1)
	// A commit of which the member has not heard is no hindrance.
	d = newDesk(t)
	known := d.claim
	if err := commitOne(t, d.log, d.me, d.claim.at(0, 0)); err != nil {
		t.Fatal(err)
	}
	d.claim = known
	if err := d.log.Transact(testContext(t), d.begin(variant{true, true, true})); err != nil {
		t.Fatal(err)
	}
	d.wants(variant{true, true, true}, 1)
}

// ExpectEnd: one of several that know the same end puts, and the others hear the end.
func TestTransactExpectsAnEnd(t *testing.T) {
	p, f := topicPartition(t)
	expect := func(a *Appender, end int64, plan ...fault) error {
		f.next(plan...)
		x := p.log.Begin()
		x.Outputs = []Output{{Appender: a, End: end, Batch: format.Seal(records("a", "b"), 2, 1, 1, 1, messages.CompressNone, x.Producer, x.Sequence)}}
		return p.log.Transact(testContext(t), x)
	}
	wantConflict := func(err error, expected, end int64) {
		t.Helper()
		var c *messages.ConflictError
		if !errors.As(err, &c) || *c != (messages.ConflictError{Topic: "topic", Expected: expected, End: end}) || !errors.Is(err, messages.ErrConflict) {
			t.Fatalf("%v, want %d, not %d", err, end, expected)
		}
	}
	one, other := p.Appender(AppenderConfig{}), p.Appender(AppenderConfig{})
	if err := expect(one, 0, fault{kind: lose}); err != nil {
		t.Fatal(err)
	}
	wantConflict(expect(other, 0), 0, 2)
	wantConflict(expect(one, 5), 5, 2)
	if err := expect(other, 2); err != nil {
		t.Fatal(err)
	}
	wantConflict(expect(one, 2), 2, 4) // what it knows is old
	if err := expect(one, 4); err != nil {
		t.Fatal(err)
	}
	// Somebody is faster between the look and the request.
	wantConflict(expect(one, 6, fault{before: func() { mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("c")) }}), 6, 7)
	wantContents(t, p, "a", "b", "a", "b", "a", "b", "c")
}

// A transaction that is too large is refused before it is sent, and the error says by
// how much.
func TestTransactLimits(t *testing.T) {
	d := newDesk(t)
	many := func(n, size int) *Transaction {
		x := d.log.Begin()
		x.Lease = d.lease
		for i := range n {
			x.Then = append(x.Then, clientv3.OpPut(fmt.Sprintf("%s/%d", d.count, i), strings.Repeat("x", size)))
		}
		return x
	}
	batch := d.log.Begin()
	large := strings.Repeat("x", 900<<10) // twice, which compresses to next to nothing
	batch.Outputs = []Output{{Appender: d.outs[0], End: AnyEnd, Batch: format.Seal(records(large, large), 2, 1, 1, 1, messages.CompressS2, batch.Producer, batch.Sequence)}}
	for name, c := range map[string]struct {
		x     *Transaction
		limit messages.Limit
		text  string
	}{
		"operations": {many(140, 1), messages.LimitOps, "it has 141, which is 13 more than the 128"},
		"bytes":      {many(10, 200<<10), messages.LimitRequest, "more than the 1572864"},
		"a batch":    {batch, messages.LimitRequest, "more than the 1572864"},
	} {
		before := d.f.count()
		err := d.log.Transact(testContext(t), c.x)
		var limit *messages.LimitError
		if !errors.As(err, &limit) || limit.Limit != c.limit || !strings.Contains(err.Error(), c.text) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, err)
		}
		if n := d.f.count() - before; n != 0 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	if err := d.log.Transact(testContext(t), many(127, 1)); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
	if err := d.log.Transact(testContext(t), many(1, 1<<20)); err != nil {
		t.Errorf("a large one: %v", err)
	}
}

func TestTransactRefusesKeysOfPenstock(t *testing.T) {
	d := newDesk(t)
	s := string(d.log.space)
	for name, op := range map[string]clientv3.Op{
		"a put":           clientv3.OpPut(s+"/topics/mine", ""),
		"a prefix":        clientv3.OpDelete(s, clientv3.WithPrefix()),
		"all":             clientv3.OpDelete("\x00", clientv3.WithFromKey()),
		"a range":         clientv3.OpDelete("/", clientv3.WithRange("0")),
		"within a nested": clientv3.OpTxn(nil, nil, []clientv3.Op{clientv3.OpPut(s+"/x", "")}),
	} {
		x := d.log.Begin()
		x.Lease, x.Then = d.lease, []clientv3.Op{op}
		if err := d.log.Transact(testContext(t), x); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x := d.log.Begin()
	x.Lease = d.lease
	x.Then = []clientv3.Op{clientv3.OpGet(s, clientv3.WithPrefix()), clientv3.OpPut(s+"-of-mine", ""), clientv3.OpDelete(s+"0", clientv3.WithFromKey())}
	if err := d.log.Transact(testContext(t), x); err != nil && !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("others: %v", err)
	}
}

// The topic of one of the batches is deleted.
func TestTransactIntoADeletedTopic(t *testing.T) {
	d := newDesk(t)
	if _, err := d.log.DeleteTopic(testContext(t), "another"); err != nil {
		t.Fatal(err)
	}
	if err := d.log.Transact(testContext(t), d.begin(variant{true, true, true})); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Fatal(err)
	}
	wantContents(t, d.parts[0])
	if n := version(t, d.log, d.count); n != 0 {
		t.Errorf("the key was written %d times", n)
	}
}

// Many transactions and appends at once, each to both partitions, in different orders:
// each is written once, as a whole.
func TestTransactionsBesideAppends(t *testing.T) {
	d := newDesk(t)
	const writers, rounds = 4, 15
	var all sync.WaitGroup
	for range writers {
		apps := []*Appender{d.parts[0].Appender(AppenderConfig{Lease: d.lease}), d.parts[1].Appender(AppenderConfig{Lease: d.lease})}
		for i, a := range apps {
			a.cfg.Producer = uint64(time.Now().UnixNano()) + uint64(i)
		}
		all.Go(func() {
			for range rounds {
				x := d.log.Begin()
				x.Lease = d.lease
				x.Then = []clientv3.Op{clientv3.OpPut(d.count, "x")}
				for _, a := range apps {
					x.Outputs = append(x.Outputs, Output{Appender: a, End: AnyEnd, Batch: format.Seal(records("tx"), 1, 1, 1, 1, messages.CompressNone, x.Producer, x.Sequence)})
				}
				if err := d.log.Transact(testContext(t), x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	plain := d.parts[0].Appender(AppenderConfig{Lease: d.lease, Producer: 99})
	for i := range rounds {
		s := format.Seal(records("plain"), 1, 1, 1, 1, messages.CompressNone, 99, uint64(i+1))
		mustAppend(t, plain, s)
	}
	all.Wait()
	if n := version(t, d.log, d.count); n != writers*rounds {
		t.Errorf("%d transactions", n)
	}
	if a, b := len(contents(t, d.parts[0])), len(contents(t, d.parts[1])); a != writers*rounds+rounds || b != writers*rounds {
		t.Errorf("%d and %d records", a, b)
	}
}

// Transactions with any faults, that are given up, made again, and reach etcd late: those
// that returned nil are applied once, those with an error that is not ErrUnknownOutcome
// never, and the others once at most.
func TestTransactionsHappenOnce(t *testing.T) {
	d := newDesk(t)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		if runs++; runs > 40 {
			return // each takes a while
		}
		late := d.f.late()
		key := fmt.Sprintf("%s/%d", d.count, runs)
		sure, possible := int64(0), int64(0)
		for range rapid.IntRange(1, 5).Draw(t, "transactions") {
			ctx, cancel := context.WithCancel(context.Background())
			var plan []fault
			for range rapid.IntRange(0, 3).Draw(t, "faults") {
				f := fault{kind: rapid.SampledFrom([]faultKind{drop, lose, stall}).Draw(t, "kind")}
				switch rapid.IntRange(0, 5).Draw(t, "what happens") {
				case 0:
					f.before = cancel
				case 1:
					f.before = func() { put(d.t, d.log, d.gate, "closed") }
				}
				plan = append(plan, f)
			}
			put(d.t, d.log, d.gate, "open")
			d.f.next(plan...)
			x := d.begin(variant{rapid.Bool().Draw(t, "puts"), false, true})
			x.Then = []clientv3.Op{clientv3.OpPut(key, "")}
			err := d.log.Transact(ctx, x)
			cancel()
			switch {
			case err == nil:
				sure, possible = sure+1, possible+1
			case errors.Is(err, messages.ErrUnknownOutcome):
				possible++
			}
			d.f.next()
			put(d.t, d.log, d.gate, "open")
			if rapid.Bool().Draw(t, "late ones come") {
				for ; late < d.f.late(); late++ {
					d.f.arrive(t, late)
				}
			}
			if n := version(d.t, d.log, key); n < sure || n > possible {
				t.Fatalf("applied %d times, want %d to %d", n, sure, possible)
			}
		}
	})
}
