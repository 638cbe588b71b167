package pipes_test

// Groups that keep an order, while their members die, stand still, come and go. The
// histories of all members are put together by time, and judged.

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// doing is that a handler of a member began with a message, at a time in nanoseconds.
type doing struct {
	id int
	at int64
	by string
}

// history is what one member did. It is safe for concurrent use.
type history struct {
	mu  sync.Mutex
	all []doing
}

func (h *history) add(d doing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, d)
}

// together are the histories of members, by time.
func together(members ...*child) (all []doing) {
	for _, m := range members {
		m.did.mu.Lock()
		all = append(all, m.did.all...)
		m.did.mu.Unlock()
	}
	slices.SortStableFunc(all, func(a, b doing) int { return cmp.Compare(a.at, b.at) })
	return all
}

// checkOrder fails t where a message was handled before an earlier one of its order, that
// had not been handled by then. Of messages with the same orderOf the one of the lower
// number is the earlier one, and step is what is between them. It returns how many were
// handled again.
func checkOrder(t *testing.T, all []doing, step int) (again int) {
	t.Helper()
	next := make(map[int]int) // of an order: the lowest number that was not handled
	for i := range step {
		next[i] = i
	}
	for i, d := range all {
		switch of := d.id % step; {
		case d.id == next[of]:
			next[of] += step
		case d.id < next[of]:
			again++
		default:
			t.Errorf("%s handled %d, and nobody had handled %d: %v", d.by, d.id, next[of], all[max(0, i-3):min(len(all), i+3)])
			next[of] = d.id + step
		}
	}
	return again
}

// orderly starts a member that says what it does.
func orderly(t *testing.T, ns, name string, mode penstock.Mode, concurrency int, l *harness.Ledger) *child {
	t.Helper()
	return spawn(t, childSpec{
		Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
		Member: name, Mode: mode, Window: window, History: true, Concurrency: concurrency,
	}, l)
}

// Promise: in a group that is Failover one member at a time gets all messages of a sender,
// in their order and without a gap, whichever members die, stand still, leave and join.
// Who was given up hands out nothing more of what it had, though it runs again.
func TestFailoverKeepsOrder(t *testing.T) {
	t.Parallel()
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	members := make(map[string]*child)
	join := func(name string, concurrency int) *child {
		m := orderly(t, ns, name, penstock.Failover, concurrency, l)
		m.awaitReady(t)
		members[name] = m
		return m
	}
	first, second, third := join("first", 1), join("second", 4), join("third", 1)
	load := harness.StartLoad(t, orders)
	works := func(m *child) {
		t.Helper()
		had := l.Tally().By[m.name]
		l.Await(t, m.name+" at work", func(now harness.Tally) bool { return now.By[m.name] > had+300 })
	}
	works(first) // the one that joined first

	events := penstocktest.Record(t, rt)
	resume := penstocktest.Freeze(t, first.cmd.Process)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "first" && e.Cause != nil })
	works(second)
	taken := time.Now().UnixNano()
	resume()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "first" })
	works(second) // no fail-back while it lives
	stale := 0
	for _, d := range together(first) {
		if d.at > taken {
			stale++
		}
	}
	if stale > 1 { // what it had in hand when it was frozen
		t.Errorf("a member that was given up handed out %d messages after that", stale)
	}
	join("fourth", 1)
	second.kill(t)
	works(first) // the oldest of those that are linked
	first.tell(t, "leave")
	harness.Await(t, "the leave of the first", harness.Closing(first.left))
	works(third)
	n := harness.Settle(t, load, orders, l)
	all := together(first, second, third, members["fourth"])
	again := checkOrder(t, all, 1)
	t.Logf("%d messages, %d handled again", n, again)
	if again > 3*window {
		t.Errorf("%d messages were handled again: at most a window for each member that failed", again)
	}
	if len(members["fourth"].did.all) > 0 {
		t.Error("the youngest member got messages, and an older one was there")
	}
}

// orderedKeys is how many keys the messages of a test have.
const orderedKeys = 97

// keyed is the message of a number, with the key of its order.
func keyed(id int) penstock.Message {
	m := harness.Numbered(id)
	m.Key = strconv.AppendInt([]byte("key-"), int64(id%orderedKeys), 10)
	return m
}

// Promise: in a group that is KeyAffinity one member at a time gets the messages of a key
// of a sender, in their order and without a gap, whichever members die, stand still, leave
// and join, and however many handlers they have. Who was given up hands out nothing more
// of what it had, though it runs again.
func TestKeyAffinityKeepsOrder(t *testing.T) {
	t.Parallel()
	ns, l := penstocktest.Space(t), harness.NewLedger()
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	var members []*child
	join := func(name string, concurrency int) *child {
		m := orderly(t, ns, name, penstock.KeyAffinity, concurrency, l)
		m.awaitReady(t)
		members = append(members, m)
		return m
	}
	dies, freezes, leaves := join("dies", 4), join("freezes", 8), join("leaves", 1)
	load := harness.StartLoadOf(t, orders, keyed)
	work := func(which ...*child) {
		t.Helper()
		had := l.Tally()
		for _, m := range which {
			l.Await(t, m.name+" at work", func(now harness.Tally) bool { return now.By[m.name] > had.By[m.name]+200 })
		}
	}
	work(members...)
	events := penstocktest.Record(t, rt)
	resume := penstocktest.Freeze(t, freezes.cmd.Process)
	work(dies, leaves) // the keys of others do not wait
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == "freezes" && e.Cause != nil })
	work(dies, leaves)
	taken := time.Now().UnixNano()
	resume()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "freezes" })
	again := time.Now().UnixNano()
	work(freezes)
	joins := join("joins", 2)
	work(joins)
	dies.kill(t)
	work(freezes, joins)
	leaves.tell(t, "leave")
	harness.Await(t, "the leave", harness.Closing(leaves.left))
	n := harness.Settle(t, load, orders, l)
	twice := checkOrder(t, together(members...), orderedKeys)
	t.Logf("%d messages, %d handled again", n, twice)
	if twice > 2*window {
		t.Errorf("%d messages were handled again: at most a window for each member that failed", twice)
	}
	stale := 0
	for _, d := range together(freezes) {
		if d.at > taken && d.at < again {
			stale++
		}
	}
	if stale > 8 { // what its handlers had in hand when it was frozen
		t.Errorf("a member that was given up handed out %d messages after that", stale)
	}
}
