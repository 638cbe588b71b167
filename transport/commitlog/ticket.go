package commitlog

// Taking turns. A transaction that loses the race for a slot has carried its
// batch through raft all the same, so appenders that met others queue: each puts
// a leased ticket, the one put longest ago appends, and its append gives the
// ticket up or, when more is to come, puts it again, after the others, with where
// the partition ends now.
//
//	alone ──▶ crowded: ticketless ──put──▶ waiting ──▶ first ──append──▶ ticketless, or waiting
//	  ▲                    │
//	  └── nobody else for a while
//
// An appender that waits listens to the one ticket before its own: an append wakes
// one other.
// As long as all have more to come, that stays the same one, and a turn takes no
// request but the append.
//
// Tickets are advice. An appender that does not know of them, has no lease, or
// waits too long, appends without; the transaction's guard keeps the log right.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// turn is an appender's place among others.
type turn struct {
	place place
	// mine is the key of the ticket held, or empty.
	mine string
	// seen is the queue when it was last looked at, if that is worth anything.
	seen queue
	// head is whose turn it was then, and since when.
	head  placed
	since time.Time
	// overtaken are the tickets before mine whose holders did nothing. The
	// append removes them, so that they hold up no other appender.
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

// largeBatch is the size of a batch from which one lost slot costs more than a
// place in the queue.
const largeBatch = messages.MaxBatchBytes / 8

// clashed notes that a batch of so many bytes lost its slot. A small one that did
// so once is no crowd: to try again is cheaper than to queue.
func (t *turn) clashed(bytes int, timing timing) {
	now := time.Now()
	if bytes >= largeBatch || now.Before(t.crowded) || now.Sub(t.clash) < timing.crowd {
		t.met(timing)
	}
	t.clash = now
	t.doubt()
}

// doubt notes that the place is to be looked up: after an append whose response was
// lost, and after one that was refused. Two that both take themselves for the first
// would wake two others, and so on.
func (t *turn) doubt() {
	t.overtaken, t.seen = nil, queue{}
	if t.mine != "" {
		t.place = waiting
	}
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
// one to hold another with, if more is to come.
func (t *turn) ops(p *Partition, lease clientv3.LeaseID, end format.LogEnd, more bool) (ops []clientv3.Op) {
	for _, key := range t.overtaken {
		ops = append(ops, clientv3.OpDelete(key))
	}
	if t.mine == "" {
		return ops
	}
	if more && lease != 0 && time.Now().Before(t.crowded) {
		ops = append(ops, putTicket(t.mine, lease, end))
	} else {
		ops = append(ops, clientv3.OpDelete(t.mine))
	}
	return append(ops, p.queueOp())
}

// took notes that the append with ops was applied.
func (t *turn) took(resp *clientv3.TxnResponse, timing timing) {
	t.overtaken = nil
	if t.mine != "" {
		t.look(newQueue(resp, len(resp.Responses)-1), timing)
	}
}

// look compares the queue with the ticket held.
func (t *turn) look(q queue, timing timing) {
	if head := q.head(); head != t.head {
		t.head, t.since = head, time.Now()
	}
	t.seen = q
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

// await waits for this appender's turn, as far as that is worth it; the end is
// known as of then. It returns early when ctx ends.
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

// queueUp takes a ticket. It returns false when that fails.
func (a *Appender) queueUp(ctx context.Context) bool {
	t, lease := &a.turn, a.lease()
	if lease == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, a.timing.barge)
	defer cancel()
	t.mine = a.ticket()
	// With an error the ticket may be there. It is not waited for, but taken
	// back.
	err := a.survey(ctx, []clientv3.Cmp{a.p.log.lives(a.p.topic)}, putTicket(t.mine, lease, format.LogEnd{}))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.lost(lease)
	}
	return err == nil && t.place != ticketless
}

// survey looks at the queue, and at the end in the same request: when it is this
// appender's turn, the end is known as of then.
func (a *Appender) survey(ctx context.Context, guards []clientv3.Cmp, ops ...clientv3.Op) error {
	s := searchFrom(a.end)
	n := len(ops)
	resp, err := a.p.log.do(ctx, "look at the queue for "+a.p.String(), guards, append(ops, a.p.queueOp(), a.p.op(s.next(), 0)), nil)
	if err == nil && !resp.Succeeded {
		err = messages.ErrTopicDeleted
	}
	if err != nil {
		return err
	}
	t := &a.turn
	if t.look(newQueue(resp, n), a.timing); t.place == waiting && !t.isStuck(a.timing) {
		return nil
	}
	// What goes wrong with the search shows when the batch is sent.
	e, ok, err := a.p.one(kvsOf(resp, n+1))
	if err != nil {
		return nil
	}
	if s.feed(e, ok); s.phase == found {
		a.learn(s.LogEnd)
	} else if t, err := a.p.seek(ctx, s); err == nil {
		a.learn(t)
	}
	return nil
}

// waitOutcome is how a wait ended.
type waitOutcome uint8

const (
	lookAgain waitOutcome = iota // the place has changed, or may have
	bargeIn                      // those before do nothing
)

// wait waits until the ticket before this appender's moves, but looks at the
// queue now and then. Only one that is waiting calls it.
func (a *Appender) wait(ctx context.Context) waitOutcome {
	t := &a.turn
	// The watch comes first and the look after it: so nothing falls between,
	// and the watch never begins in the past, which is expensive for etcd.
	before := t.seen.before(t.mine)
	if len(before) > 0 && a.ear.hears(ctx, before[len(before)-1]) {
		timer := time.NewTimer(min(a.timing.barge/4, time.Until(t.since.Add(a.timing.patience(len(before))))))
		defer timer.Stop()
		select {
		case change, open := <-a.ear.changes:
			if !open || change.Err() != nil {
				if a.ear.ctx.Err() == nil {
					pause(ctx, a.timing.barge/10)
				}
				a.ear.close()
				break
			}
			if !a.heard(change.Events) {
				return lookAgain
			}
		case <-timer.C:
		case <-ctx.Done():
			return lookAgain
		}
	} else if len(before) > 0 {
		a.ear.listen(ctx, a.p.log.client, before[len(before)-1], 4*a.timing.barge)
	}
	if err := a.survey(ctx, nil); err != nil {
		pause(ctx, a.timing.barge/10)
		return lookAgain
	}
	if t.place != waiting {
		// It was not heard. A watch can be deaf: one that was made before etcd
		// was set back waits until it is where it was.
		a.ear.close()
		return lookAgain
	}
	if t.isStuck(a.timing) {
		ahead := t.seen.before(t.mine)
		t.overtaken = ahead[:min(len(ahead), a.p.log.limits.of(overtook))]
		return bargeIn
	}
	return lookAgain
}

// isStuck reports whether the head of the queue does nothing.
func (t *turn) isStuck(timing timing) bool {
	return time.Since(t.since) >= timing.patience(t.seen.ahead(t.mine))
}

// heard takes from what happened to the ticket before this appender's that it is
// its turn, and where the partition ends. It returns true when the events do not
// show that.
func (a *Appender) heard(events []*clientv3.Event) (unclear bool) {
	for _, ev := range events {
		if ev.Kv.ModRevision <= a.turn.seen.revision {
			continue
		}
		end, ok := announced(ev)
		if !ok {
			unclear = true
			continue
		}
		a.turn.place = first
		if end.Offset > a.end.Offset {
			a.learn(end)
		}
	}
	return unclear && a.turn.place != first
}

// announced is the end that a new ticket has with it, if any.
func announced(ev *clientv3.Event) (format.LogEnd, bool) {
	var v pb.Ticket
	if ev.Type != clientv3.EventTypePut || proto.Unmarshal(ev.Kv.Value, &v) != nil {
		return format.LogEnd{}, false
	}
	e := format.Entry{Base: v.GetBase()}
	if e.Base < 0 || !e.Decode(v.GetEntry()) {
		return format.LogEnd{}, false
	}
	end := e.LogEnd()
	end.Inline = end.Inline || v.GetInline()
	return end, true
}

// ear is a watch of one ticket. It lasts for many turns, as long as it is of use,
// but has an end: to make a watch can hang when the connection breaks.
type ear struct {
	key         string
	parent, ctx context.Context
	cancel      context.CancelFunc
	changes     clientv3.WatchChan
}

// hears reports whether key is listened to, until ctx ends.
func (e *ear) hears(ctx context.Context, key string) bool {
	return e.cancel != nil && e.parent == ctx && e.key == key
}

// listen begins to listen to key, until ctx ends, and for no longer than life.
func (e *ear) listen(ctx context.Context, c *clientv3.Client, key string, life time.Duration) {
	e.close()
	e.key, e.parent = key, ctx
	e.ctx, e.cancel = context.WithTimeout(ctx, life)
	e.changes = c.Watch(e.ctx, key)
}

func (e *ear) close() {
	if e.cancel != nil {
		e.cancel()
		*e = ear{}
	}
}

// patience is how long the head of the queue may stay where it is before an
// appender with so many before it barges in: those with more before them wait
// longer, so that one does and not all.
func (t timing) patience(ahead int) time.Duration {
	return min(t.barge+time.Duration(max(0, ahead-1))*t.barge/4, 3*t.barge)
}

// Leave gives up the place in the queue that the last Append kept because more
// was to follow. It need not be called: the others wait a second, once.
func (a *Appender) Leave(ctx context.Context) error {
	a.patience.end()
	a.ear.close()
	if a.turn.mine == "" {
		return nil
	}
	_, err := a.p.log.do(ctx, "leave the queue for "+a.p.String(), nil, []clientv3.Op{clientv3.OpDelete(a.turn.mine)}, nil)
	if err == nil {
		a.turn.leave()
	}
	return err
}

// ticket is the key of this appender's tickets.
func (a *Appender) ticket() string {
	return a.p.log.space.Ticket(a.p.topic.ID, a.p.p, fmt.Sprintf("%016x", a.cfg.Producer))
}

// putTicket takes a place, and announces the end that the append with it makes, if
// there is one.
func putTicket(key string, lease clientv3.LeaseID, end format.LogEnd) clientv3.Op {
	value, err := proto.Marshal(&pb.Ticket{Base: end.Last, Entry: []byte(end.Entry), Inline: end.Inline})
	if err != nil {
		panic(err) // a number always encodes
	}
	return clientv3.OpPut(key, string(value), clientv3.WithLease(lease))
}

// queueOp asks for all tickets.
func (p *Partition) queueOp() clientv3.Op {
	return clientv3.OpGet(p.log.space.Tickets(p.topic.ID, p.p), clientv3.WithPrefix(), clientv3.WithLimit(int64(p.log.limits.of(pages))))
}

// queue is the tickets for a partition, as of a revision, the oldest first.
type queue struct {
	revision int64
	tickets  []placed
}

type placed struct {
	key string
	put int64
}

// newQueue reads the i-th operation of a transaction, a queueOp.
func newQueue(resp *clientv3.TxnResponse, i int) queue {
	q := queue{revision: resp.Header.Revision}
	for _, kv := range kvsOf(resp, i) {
		q.tickets = append(q.tickets, placed{string(kv.Key), kv.ModRevision})
	}
	slices.SortFunc(q.tickets, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.put, b.put), cmp.Compare(a.key, b.key))
	})
	return q
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

// head is whose turn it is, or zero.
func (q *queue) head() placed {
	if len(q.tickets) == 0 {
		return placed{}
	}
	return q.tickets[0]
}

// others reports whether there are tickets beside key.
func (q *queue) others(key string) bool {
	return slices.ContainsFunc(q.tickets, func(t placed) bool { return t.key != key })
}

// rest waits between two attempts.
func (t timing) rest(ctx context.Context, failures int) {
	most := min(float64(t.longest), float64(t.shortest)*math.Pow(2, float64(failures)))
	pause(ctx, time.Duration(most*(0.5+rand.Float64()/2)))
}

// pause waits, no longer than ctx lasts.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
