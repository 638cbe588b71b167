package commitlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages/pb"
)

// Taking turns. A transaction that loses the race for a slot has carried its
// batch through raft all the same, so appenders that met others queue: each puts
// a leased ticket, the oldest ticket appends, and its append gives the ticket up
// and, when more is to come, takes a new one at the end, which tells the others
// where the partition ends now.
//
//	alone ──▶ crowded: ticketless ──put──▶ waiting ──▶ first ──append──▶ ticketless, or waiting
//	  ▲                    │
//	  └── nobody else for a while
//
// Tickets are advice. Whoever does not know of them, has no lease, or waits too
// long, appends without; the transaction's guard is what keeps the log right.

// turn is an appender's place among others.
type turn struct {
	place place
	// mine is the key of the ticket held; next of the one that the append takes
	// for what comes after it, in all its attempts.
	mine, next string
	// overtaken are the tickets before mine whose holders did nothing. The
	// append removes them, so that they hold up nobody else.
	overtaken []string
	// crowded is until when tickets are taken.
	crowded time.Time
	// clash is when a slot was last lost to another.
	clash time.Time
	// ended is the last lease that etcd did not know.
	ended clientv3.LeaseID
}

// mostOvertaken bounds what one append removes: a transaction has a limit.
const mostOvertaken = 32

type place uint8

const (
	ticketless place = iota
	waiting
	first
)

// met notes that there are others.
func (t *turn) met(timing timing) { t.crowded = time.Now().Add(timing.crowd) }

// clashed notes that a batch of so many bytes lost its slot. A small one that did
// so once is no crowd: to try again is cheaper than to queue.
func (t *turn) clashed(bytes int, timing timing) {
	now := time.Now()
	if bytes >= leastSpare || now.Before(t.crowded) || now.Sub(t.clash) < timing.crowd {
		t.met(timing)
	}
	t.clash = now
}

// leave notes that no ticket is held any more.
func (t *turn) leave() { *t = turn{crowded: t.crowded, clash: t.clash, ended: t.ended} }

// lost notes that etcd does not know the lease, and so no ticket with it.
func (t *turn) lost(lease clientv3.LeaseID) {
	t.leave()
	t.ended = lease
}

// lease is the one to take tickets with, 0 for none.
func (a *Appender) lease() clientv3.LeaseID {
	if lease := a.cfg.Lease(); lease != a.turn.ended {
		return lease
	}
	return 0
}

// ops is what an append that ends at end does to the tickets. The lease is the
// one to take another with, if more is to come.
func (t *turn) ops(a *Appender, lease clientv3.LeaseID, end tail, more bool) (ops []clientv3.Op) {
	for _, key := range t.overtaken {
		ops = append(ops, clientv3.OpDelete(key))
	}
	if t.mine == "" {
		return ops
	}
	ops = append(ops, clientv3.OpDelete(t.mine))
	if more && lease != 0 && time.Now().Before(t.crowded) {
		if t.next == "" {
			t.next = a.newTicket()
		}
		ops = append(ops, putTicket(t.next, lease, end))
	}
	return append(ops, a.p.queueOp())
}

// took notes that the append with ops was applied.
func (t *turn) took(resp *clientv3.TxnResponse, timing timing) {
	held, next := t.mine != "", t.next
	t.leave()
	if t.mine = next; held {
		t.look(newQueue(resp, len(resp.Responses)-1), timing)
	}
}

// uncertain notes that an append of which the answer was lost was applied:
// whether with the tickets of the last attempt is not known.
func (t *turn) uncertain() {
	next := t.next
	t.leave()
	if t.mine = next; next != "" {
		t.place = waiting
	}
}

// look compares the queue with the ticket held.
func (t *turn) look(q *queue, timing timing) {
	if q.others(t.mine) {
		t.met(timing)
	}
	switch {
	case !q.has(t.mine):
		t.mine, t.place = "", ticketless
	case q.ahead(t.mine) == 0:
		t.place = first
	default:
		t.place = waiting
	}
}

// await waits for this appender's turn, as far as that is worth it, and sees to
// it that the end is known as of then. It answers early when ctx ends.
func (a *Appender) await(ctx context.Context) {
	t := &a.turn
	for t.place != first && ctx.Err() == nil {
		switch {
		case t.place == waiting:
			if a.wait(ctx) == bargeIn {
				return
			}
		case time.Now().After(t.crowded) || !a.queueUp(ctx):
			return
		}
	}
}

// queueUp takes a ticket, and looks at queue and end in the same request. It
// answers false when that cannot be.
func (a *Appender) queueUp(ctx context.Context) bool {
	lease := a.lease()
	if lease == 0 {
		return false
	}
	key := a.newTicket()
	s := searchFrom(a.tail)
	ctx, cancel := context.WithTimeout(ctx, a.timing.barge)
	defer cancel()
	resp, err := a.p.log.client.Txn(ctx).If(a.p.log.lives(a.p.topic)).
		Then(putTicket(key, lease, tail{}), a.p.queueOp(), a.p.op(s.next(), 0)).Commit()
	if err == nil && !resp.Succeeded {
		return false
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		a.turn.lost(lease)
		return false
	}
	a.turn.mine = key
	if err != nil {
		// The ticket may be there. It is not waited for, but taken back.
		return false
	}
	a.turn.look(newQueue(resp, 1), a.timing)
	if a.turn.place == first {
		a.approach(ctx, s, kvsOf(resp, 2))
	}
	return true
}

// approach brings the known end up to date, by a search whose first answer is
// there. What goes wrong shows when the batch is sent.
func (a *Appender) approach(ctx context.Context, s search, kvs []*mvccpb.KeyValue) {
	e, ok, err := a.p.one(kvs)
	if err != nil {
		return
	}
	if s.feed(e, ok); s.phase == found {
		a.learn(s.tail)
		return
	}
	if t, err := a.p.seek(ctx, s); err == nil {
		a.learn(t)
	}
}

// catchUp is approach without an answer.
func (a *Appender) catchUp(ctx context.Context) {
	if t, err := a.p.seek(ctx, searchFrom(a.tail)); err == nil {
		a.learn(t)
	}
}

// waitOutcome is how a wait ended.
type waitOutcome uint8

const (
	lookAgain waitOutcome = iota // the place has changed, or may have
	bargeIn                      // those before do nothing
)

// wait watches the queue for a while. Only one that is waiting calls it.
func (a *Appender) wait(ctx context.Context) waitOutcome {
	t := &a.turn
	// To make a watch can hang when the connection breaks, so all this has an
	// end; then it begins anew.
	ctx, cancel := context.WithTimeout(ctx, 4*a.timing.barge)
	defer cancel()
	// The watch comes first and the list after it: so nothing falls between,
	// and the watch never begins in the past, which is expensive for etcd.
	changes := a.p.log.client.Watch(ctx, a.p.log.space.Tickets(a.p.topic.ID, a.p.p), clientv3.WithPrefix())
	resp, err := a.p.log.do(ctx, "look at the queue for "+a.p.String(), nil, []clientv3.Op{a.p.queueOp()}, nil)
	if err != nil {
		pause(ctx, a.timing.barge/10)
		return lookAgain
	}
	q := newQueue(resp, 0)
	timer := time.NewTimer(a.timing.patience(q.ahead(t.mine)))
	defer timer.Stop()
	for head := q.head(); ; {
		if t.look(q, a.timing); t.place != waiting {
			a.arrive(ctx, q)
			return lookAgain
		}
		if now := q.head(); now != head {
			head = now
			timer.Reset(a.timing.patience(q.ahead(t.mine)))
		}
		select {
		case change, open := <-changes:
			if !open || change.Err() != nil {
				pause(ctx, a.timing.barge/10)
				return lookAgain
			}
			q.apply(change.Events)
		case <-timer.C:
			ahead := q.before(t.mine)
			t.overtaken = ahead[:min(len(ahead), mostOvertaken)]
			a.catchUp(ctx)
			return bargeIn
		case <-ctx.Done():
			return lookAgain
		}
	}
}

// arrive takes from the queue where the partition ends, when this appender has
// become the first.
func (a *Appender) arrive(ctx context.Context, q *queue) {
	if a.turn.place != first {
		return
	}
	if q.end.end > a.tail.end {
		a.learn(q.end)
	}
	if q.end.end == 0 {
		a.catchUp(ctx)
	}
}

// patience is how long the head of the queue may stay where it is before one
// barges in that has so many before it: those further behind wait longer, so
// that one does and not all.
func (t timing) patience(ahead int) time.Duration {
	return min(t.barge+time.Duration(max(0, ahead-1))*t.barge/4, 3*t.barge)
}

// Leave gives up the place in the queue that the last Append kept because more
// was to follow. It need not be called: the others wait a second, once.
func (a *Appender) Leave(ctx context.Context) error {
	a.patience.end()
	if a.turn.mine == "" {
		return nil
	}
	_, err := a.p.log.do(ctx, "leave the queue for "+a.p.String(), nil, []clientv3.Op{clientv3.OpDelete(a.turn.mine)}, nil)
	if err == nil {
		a.turn.leave()
	}
	return err
}

// newTicket is a key that was never used: one transaction cannot delete a key
// and put it again.
func (a *Appender) newTicket() string {
	return a.p.log.space.Ticket(a.p.topic.ID, a.p.p, fmt.Sprintf("%016x-%016x", a.cfg.Producer, rand.Uint64()))
}

// putTicket takes a place, and tells of the end that the append with it makes, if
// there is one.
func putTicket(key string, lease clientv3.LeaseID, end tail) clientv3.Op {
	value, err := proto.Marshal(&pb.Ticket{Base: end.last, Entry: []byte(end.entry)})
	if err != nil {
		panic(err) // a number always encodes
	}
	return clientv3.OpPut(key, string(value), clientv3.WithLease(lease))
}

// queueOp asks for all tickets.
func (p *Partition) queueOp() clientv3.Op {
	return clientv3.OpGet(p.log.space.Tickets(p.topic.ID, p.p), clientv3.WithPrefix(), clientv3.WithLimit(pageKeys))
}

// queue is the tickets for a partition, oldest first, as of a revision.
type queue struct {
	revision int64
	tickets  []placed
	// end is behind the append that came last, or zero.
	end tail
}

type placed struct {
	key    string
	create int64
}

// newQueue reads the i-th operation of a transaction, a queueOp.
func newQueue(resp *clientv3.TxnResponse, i int) *queue {
	q := &queue{revision: resp.Header.Revision}
	for _, kv := range kvsOf(resp, i) {
		q.add(kv)
	}
	return q
}

func (q *queue) add(kv *mvccpb.KeyValue) {
	t := placed{string(kv.Key), kv.CreateRevision}
	at, _ := slices.BinarySearchFunc(q.tickets, t, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.create, b.create), cmp.Compare(a.key, b.key))
	})
	q.tickets = slices.Insert(q.tickets, at, t)
}

// apply follows what a watch tells.
func (q *queue) apply(events []*clientv3.Event) {
	for _, ev := range events {
		r := ev.Kv.ModRevision
		if r < q.revision {
			continue
		}
		if r > q.revision {
			q.revision = r
		}
		at := slices.IndexFunc(q.tickets, func(t placed) bool { return t.key == string(ev.Kv.Key) })
		switch {
		case ev.Type == clientv3.EventTypeDelete && at >= 0:
			q.tickets = slices.Delete(q.tickets, at, at+1)
			q.end = tail{}
		case ev.Type == clientv3.EventTypePut && at < 0:
			q.add(ev.Kv)
		}
		if t, ok := announced(ev); ok {
			q.end = t
		}
	}
}

// announced is the end that a new ticket tells of, if it does.
func announced(ev *clientv3.Event) (tail, bool) {
	var v pb.Ticket
	if ev.Type != clientv3.EventTypePut || proto.Unmarshal(ev.Kv.Value, &v) != nil {
		return tail{}, false
	}
	e := Entry{Base: v.GetBase()}
	if e.Base < 0 || !e.decode(v.GetEntry()) {
		return tail{}, false
	}
	return e.tail(), true
}

func (q *queue) at(key string) int {
	return slices.IndexFunc(q.tickets, func(t placed) bool { return t.key == key })
}

func (q *queue) has(key string) bool { return q.at(key) >= 0 }

// ahead is how many tickets are older than key's.
func (q *queue) ahead(key string) int { return max(0, q.at(key)) }

// before are the tickets older than key's.
func (q *queue) before(key string) []string {
	keys := make([]string, q.ahead(key))
	for i := range keys {
		keys[i] = q.tickets[i].key
	}
	return keys
}

// head is whose turn it is, or empty.
func (q *queue) head() string {
	if len(q.tickets) == 0 {
		return ""
	}
	return q.tickets[0].key
}

// others tells that there are tickets beside key.
func (q *queue) others(key string) bool {
	return slices.ContainsFunc(q.tickets, func(t placed) bool { return t.key != key })
}
