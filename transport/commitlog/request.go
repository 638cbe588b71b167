package commitlog

// A transaction of the user's as it is sent, and whether etcd takes that.

import (
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
)

// request is a transaction as it is sent.
type request struct {
	guards          []clientv3.Cmp
	then, otherwise []clientv3.Op
	// queues are where in then the tickets are asked for, by output; -1 for not.
	queues []int
}

// request is t with its batches where they are on their way to.
func (t *Transaction) request() request {
	l := t.log
	r := request{guards: append([]clientv3.Cmp(nil), t.If...), then: append([]clientv3.Op(nil), t.Then...)}
	topics := make(map[string]bool)
	for i := range t.Outputs {
		a, s := t.Outputs[i].Appender, t.Outputs[i].Batch
		if !topics[a.p.topic.ID] {
			topics[a.p.topic.ID] = true
			r.guards = append(r.guards, l.lives(a.p.topic))
		}
		r.guards = append(r.guards, a.slotGuards(s)...)
		r.then = append(r.then, a.putOps(s, true)...)
		r.otherwise = append(r.otherwise, a.p.refusalOp(s.Way.Base))
		tickets := a.turn.ops(a.p, 0, s.Way.Behind, false)
		r.then = append(r.then, tickets...)
		r.queues = append(r.queues, -1)
		if a.turn.mine != "" {
			r.queues[i] = len(r.then) - 1
		}
	}
	for i := range t.Inputs {
		in := &t.Inputs[i]
		claim, committed := in.keys(l)
		r.guards = append(r.guards, positionGuards(in.Position, claim, committed)...)
		if in.moves() {
			r.then = append(r.then, clientv3.OpPut(committed, committedValue(in.Position, t.Producer, t.Sequence)))
		}
		r.otherwise = append(r.otherwise, clientv3.OpGet(committed), exists(claim))
	}
	if t.needsMark() {
		r.guards = append(r.guards, clientv3.Compare(clientv3.CreateRevision(t.mark()), "=", 0))
		r.then = append(r.then, clientv3.OpPut(t.mark(), markDone, clientv3.WithLease(t.marked)))
		for _, key := range t.spent {
			r.then = append(r.then, clientv3.OpDelete(key))
		}
		r.otherwise = append(r.otherwise, clientv3.OpGet(t.mark()))
	}
	if len(t.If) > 0 { // whether it was these, at the revision of the answer
		r.otherwise = append(r.otherwise, clientv3.OpTxn(t.If, nil, nil))
	}
	return r
}

func (in *Input) keys(l *Log) (claim, committed string) {
	return l.space.Claim(in.Me.Topic.ID, in.Me.Group, in.Position.Partition), l.space.Committed(in.Me.Topic.ID, in.Me.Group, in.Position.Partition)
}

// ops is how many operations of etcd's limit r takes, of which so many comparisons are
// made once more within another transaction.
func (r *request) ops(again int) int {
	return max(len(r.guards), len(r.then), len(r.otherwise)) + again
}

// opBytes is about what an operation takes beside its key and value.
const opBytes = 32

// bytes is about how large r is: rather too much.
func (r *request) bytes() (n int) {
	for _, c := range r.guards {
		n += proto.Size(c.GetCompare()) + 4
	}
	for _, op := range append(r.then, r.otherwise...) {
		n += len(op.KeyBytes()) + len(op.RangeBytes()) + len(op.ValueBytes()) + opBytes
	}
	return n
}

// fits returns why etcd would not take r, or nil.
func (t *Transaction) fits(r *request) error {
	l := t.log.limits
	if n, most := int64(r.ops(len(t.If))), l.stepOps.Load(); n > most {
		return &messages.LimitError{Limit: messages.LimitOps, Err: fmt.Errorf("it has %d, which is %d more than the %d that it may have", n, n-most, most)}
	}
	if n, most := int64(r.bytes()), l.stepBytes.Load(); n > most {
		return &messages.LimitError{Limit: messages.LimitRequest, Err: fmt.Errorf("it has about %d bytes, which is %d more than the %d that it may have", n, n-most, most)}
	}
	return nil
}

// checkThen keeps the user's operations out of what is kept here.
func (t *Transaction) checkThen(ops []clientv3.Op) error {
	ours := string(t.log.space) + "/"
	for _, op := range ops {
		if op.IsTxn() {
			_, then, otherwise := op.Txn()
			if err := errors.Join(t.checkThen(then), t.checkThen(otherwise)); err != nil {
				return err
			}
			continue
		}
		if op.IsGet() || !reaches(op, ours) {
			continue
		}
		return fmt.Errorf("an operation of the transaction writes %q: %w: what is under %s is not for others to write", op.KeyBytes(), messages.ErrInvalid, ours)
	}
	return nil
}

// reaches reports whether an operation is about keys that begin with prefix.
func reaches(op clientv3.Op, prefix string) bool {
	key, end := string(op.KeyBytes()), string(op.RangeBytes())
	switch end {
	case "":
		return strings.HasPrefix(key, prefix)
	case "\x00": // whatever follows
		return key < clientv3.GetPrefixRangeEnd(prefix)
	}
	return key < clientv3.GetPrefixRangeEnd(prefix) && end > prefix
}
