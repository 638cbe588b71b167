package commitlog

// A transaction of the user's: batches for several partitions, the places of a group,
// and comparisons and operations of the user's own, all of them or none.
//
//	fresh ──send──▶ doubtful ──▶ landed
//	  ▲                │ ╲
//	  └── something that it compares can never hold again
//
// It is sent unchanged until its fate is known. No attempt can be applied twice, because
// each takes away what it compares: the slots of its batches are taken then, the
// committed offsets have another revision, and one that has neither leaves a mark. What it
// leaves says whose it is, so an answer that was lost is found out.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// What etcd takes in one transaction unless it is configured otherwise.
const (
	stepOps   = 128
	stepBytes = 3 << 19
)

// AnyEnd is the End of an Output that goes wherever its partition ends.
const AnyEnd = -1

// Cmp and Op are the user's comparisons and operations, for callers who make none.
type (
	Cmp = clientv3.Cmp
	Op  = clientv3.Op
)

// Output is one batch of a transaction.
type Output struct {
	// Appender is of the partition. The caller has it to itself for the call.
	Appender *Appender
	// Batch has the identity of the transaction, and was never sent.
	Batch *format.Sealed
	// End is where the partition has to end, or AnyEnd.
	End int64
}

// Input is a claim that a transaction stands on, and where it moves the group in that
// partition.
type Input struct {
	Me Me
	// Position is what is written. With Offset -1 nothing is, and the claim is compared
	// all the same. Known is that of after the call, when that returns.
	Position format.Position
	// From, FromBase and FromProgress are where the group is before: Offset, Base and
	// Progress of Position if nothing is done.
	From, FromBase int64
	FromProgress   format.Progress
	// Fenced is set by the call when the claim is no longer the member's.
	Fenced bool
}

func (in *Input) moves() bool { return in.Position.Offset >= 0 }

// Transaction is what Log.Transact writes. Begin makes one; the caller fills it. One
// goroutine at a time uses it, and it is sent once.
type Transaction struct {
	// Producer and Sequence are its identity, which its batches are sealed with.
	Producer, Sequence uint64

	Inputs  []Input
	Outputs []Output
	// If are compared, Then done, besides.
	If   []clientv3.Cmp
	Then []clientv3.Op
	// Lease is that of the session; it holds the mark of a transaction that needs one.
	Lease func() clientv3.LeaseID
	// Delayed is called for each failure after which it is sent again. It may be nil.
	Delayed func(error)

	log     *Log
	state   format.WayState
	unheard int              // attempts that were not answered
	marked  clientv3.LeaseID // the lease that the mark of the attempts was put with, 0 for none
	spent   []string         // marks of others that it removes
}

// steps are the transactions of a log.
type steps struct {
	producer uint64 // of all of them
	last     atomic.Uint64

	mu    sync.Mutex
	spent []string // marks that are of no use any more
}

// Begin makes a transaction without anything in it.
func (l *Log) Begin() *Transaction {
	return &Transaction{Producer: l.steps.producer, Sequence: l.steps.last.Add(1), log: l}
}

// Transact writes t, all of it or nothing. It blocks until that is done, or refused, or
// ctx ends; while etcd is unreachable it tries again. Where others append to the same
// partitions, the batches are put behind theirs, and t is sent again.
//
// To move a record elsewhere as it is acked (a dead letter), give it one Output, and one
// Input whose Position is behind the record:
//
//	t := log.Begin()
//	batch := format.Seal(raw, 1, at, at, now, compression, t.Producer, t.Sequence)
//	t.Outputs = []commitlog.Output{{Appender: appender, Batch: batch, End: commitlog.AnyEnd}}
//	t.Inputs = []commitlog.Input{{Me: me, Position: position, From: from, FromBase: base}}
//	err := log.Transact(ctx, t)
//
// The caller has the appenders for itself, and no other write of the inputs' offsets is
// under way. The bases of the batches are in their Way, when it returns nil.
//
// The error wraps
//   - messages.ErrUnknownOutcome when ctx ended, or the evidence is gone, while an
//     attempt may have been, or may yet be, applied. To end that, release the claims
//     of the inputs;
//   - messages.ErrFenced, and the inputs say which: a claim is another's now;
//   - messages.ErrCondition: what If compares does not hold;
//   - a *messages.ConflictError: a partition does not end at the End of its output;
//   - a *messages.LimitError: it has more operations or bytes than etcd takes;
//   - messages.ErrTopicDeleted, ErrTopicFull, ErrNoSpace, ErrDenied, ErrInvalid, ctx's cause, or is a
//     *CorruptError.
//
// With all but the first, nothing of it was written and nothing will be. Any other error
// is returned after some attempts, with ErrUnknownOutcome unless it was never sent.
func (l *Log) Transact(ctx context.Context, t *Transaction) error {
	if err := t.check(); err != nil {
		return t.failed(err)
	}
	if t.isEmpty() {
		t.state = format.Landed
		return nil
	}
	defer t.returnSpent()
	for failures, odd := 0, 0; ; {
		if ctx.Err() != nil {
			return t.gaveUp(context.Cause(ctx))
		}
		err := t.step(ctx)
		switch {
		case err == nil && t.state == format.Landed:
			return nil
		case err == nil:
			failures, odd = 0, 0
		case ctx.Err() != nil:
			return t.gaveUp(context.Cause(ctx))
		case l.isFinal(err) || odd == oddTries:
			return t.gaveUp(err)
		default:
			if !errors.Is(err, messages.ErrUnavailable) {
				odd++
			}
			if t.Delayed != nil {
				t.Delayed(err)
			}
			usualTiming.rest(ctx, failures)
			failures++
		}
	}
}

// gaveUp is the error of a transaction that ends without success.
func (t *Transaction) gaveUp(cause error) error {
	if t.state == format.Doubtful && !errors.Is(cause, messages.ErrUnknownOutcome) {
		return t.failed(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, cause))
	}
	return t.failed(cause)
}

func (t *Transaction) failed(err error) error { return fmt.Errorf("transact: %w", err) }

func (t *Transaction) isEmpty() bool {
	return len(t.Inputs)+len(t.Outputs)+len(t.If)+len(t.Then) == 0
}

// writes reports whether it changes anything in etcd.
func (t *Transaction) writes() bool { return len(t.Outputs)+len(t.Then) > 0 || t.move() != nil }

// move is an input that moves, or nil.
func (t *Transaction) move() *Input {
	for i := range t.Inputs {
		if t.Inputs[i].moves() {
			return &t.Inputs[i]
		}
	}
	return nil
}

// needsMark reports whether nothing else shows what became of it, or could keep an
// attempt from being applied later.
func (t *Transaction) needsMark() bool {
	return t.move() == nil && t.writes() && (len(t.Outputs) == 0 || len(t.If) > 0)
}

// check returns what is wrong with t.
func (t *Transaction) check() error {
	seen := make(map[string]bool)
	for i := range t.Outputs {
		o := &t.Outputs[i]
		if raw := o.Batch.Raw; raw > format.MaxRaw {
			return &messages.LimitError{Limit: messages.LimitRequest, Err: fmt.Errorf("it puts %d bytes to %s, which is %d more than the %d that it may", raw, o.Appender.p, raw-format.MaxRaw, format.MaxRaw)}
		}
		if err := o.Batch.Check(); err != nil {
			return err
		}
		if o.Appender.p.log != t.log {
			return fmt.Errorf("topic %q is another runtime's: %w: open it in the runtime of the transaction", o.Appender.p.topic.Name, messages.ErrInvalid)
		}
		at := o.Appender.p.indexAt
		if seen[at] {
			return fmt.Errorf("two batches for %s: %w", o.Appender.p, messages.ErrInvalid)
		}
		seen[at] = true
	}
	for i := range t.Inputs {
		if p := t.Inputs[i].Position; p.Fence <= 0 {
			t.Inputs[i].Fenced = true
			return fenced("move a group", p)
		}
	}
	return t.checkThen(t.Then)
}

// step makes one attempt, or one step towards it. Without an error, t has landed or
// another step is needed.
func (t *Transaction) step(ctx context.Context) error {
	if t.state == format.Fresh {
		if err := t.prepare(ctx); err != nil {
			return err
		}
	}
	return t.attempt(ctx)
}

// prepare decides where the batches are put.
func (t *Transaction) prepare(ctx context.Context) error {
	for i := range t.Outputs {
		if err := t.Outputs[i].goBehind(ctx); err != nil {
			return err
		}
	}
	if !t.needsMark() {
		return nil
	}
	if t.marked = t.Lease(); t.marked == 0 {
		return fmt.Errorf("its mark needs a session: %w", messages.ErrUnavailable)
	}
	if t.spent == nil {
		t.spent = t.log.steps.takeSpent()
	}
	return nil
}

// goBehind makes the end of its partition the place of the batch.
func (o *Output) goBehind(ctx context.Context) error {
	a := o.Appender
	look := func() error {
		_, end, err := a.p.bounds(ctx)
		if err == nil {
			a.learn(end)
		}
		return err
	}
	if a.knows == nothing {
		if err := look(); err != nil {
			return err
		}
	}
	if a.await(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	if o.End != AnyEnd && a.end.Offset != o.End {
		if err := look(); err != nil { // what is known may be old
			return err
		}
		if a.end.Offset != o.End {
			return o.conflict()
		}
	}
	if err := a.fits(ctx, o.Batch); err != nil {
		return err
	}
	o.Batch.GoBehind(a.end)
	return nil
}

func (o *Output) conflict() error {
	p := o.Appender.p
	return &messages.ConflictError{Topic: p.topic.Name, Partition: p.p, Expected: o.End, End: o.Appender.end.Offset}
}

// attempt sends t once and concludes what it can from the response.
func (t *Transaction) attempt(ctx context.Context) error {
	r := t.request()
	if err := t.fits(&r); err != nil {
		return err
	}
	leave, err := t.log.room.enter(ctx, r.bytes())
	if err != nil {
		return err
	}
	defer leave()
	before := t.state
	if t.writes() {
		t.state = format.Doubtful
	}
	resp, err := t.log.do(ctx, "send", r.guards, r.then, r.otherwise)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		// etcd looks at the lease before it writes anything.
		t.state = before
		return t.leaseGone()
	case errors.Is(err, messages.ErrNoSpace):
		return t.look(ctx, before, err)
	case errors.Is(err, messages.ErrDenied), errors.Is(err, messages.ErrInvalid):
		t.state = before // turned away unread
		return err
	case isLimit(err) != "":
		return t.limited(&r, before, err)
	case err != nil:
		t.unheard++
		return err
	case resp.Succeeded:
		t.land(resp, &r)
		return nil
	}
	// This attempt is over. Those before it, if any, may not be.
	t.state = before
	found, err := t.evidence(resp)
	if err != nil {
		return err
	}
	return t.conclude(ctx, found)
}

// limited is for an attempt that ran into a limit of this etcd, or of its client.
func (t *Transaction) limited(r *request, before format.WayState, err error) error {
	l := t.log.limits
	switch isLimit(err) {
	case messages.LimitResponse: // it may have been applied; the next attempt finds out
		t.unheard++
		if l.fewer(pages, l.of(pages), err) {
			return nil
		}
		return err
	case messages.LimitOps:
		lower(&l.stepOps, int64(r.ops(len(t.If))-1))
	default:
		lower(&l.stepBytes, int64(r.bytes()-1))
	}
	t.state = before
	return err
}

// leaseGone is for an attempt whose lease etcd does not know: the user's, or that of
// the mark.
func (t *Transaction) leaseGone() error {
	switch {
	case t.marked == 0:
		return fmt.Errorf("a lease of its operations is gone: %w", messages.ErrInvalid)
	case t.Lease() == t.marked && t.state == format.Fresh:
		// The session has yet to find out, or it is the user's.
		return fmt.Errorf("a lease is gone: %w", rpctypes.ErrLeaseNotFound)
	case t.state == format.Doubtful:
		return fmt.Errorf("%w: the session that held its mark was lost", messages.ErrUnknownOutcome)
	}
	return nil
}

// land notes that t is in etcd, as the response to its attempt says.
func (t *Transaction) land(resp *clientv3.TxnResponse, r *request) {
	t.state = format.Landed
	for i := range t.Outputs {
		a := t.Outputs[i].Appender
		if at := r.queues[i]; at >= 0 {
			a.turn.took(part(resp, at, at+1), a.timing)
		} else {
			a.turn.overtaken = nil
		}
		a.land(t.Outputs[i].Batch)
	}
	for i := range t.Inputs {
		if in := &t.Inputs[i]; in.moves() {
			in.Position.Known = resp.Header.Revision
		}
	}
	t.landedMark()
}

// part is a response with some of its operations.
func part(resp *clientv3.TxnResponse, from, to int) *clientv3.TxnResponse {
	return (*clientv3.TxnResponse)(&etcdserverpb.TxnResponse{Header: resp.Header, Succeeded: resp.Succeeded, Responses: resp.Responses[from:to]})
}
