package penstock

// Transactions: records consumed, records put and keys of the user's own in one
// transaction of etcd.

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Tx is what a transaction is to do: all of it or nothing. It does nothing by itself;
// when the function that it was given to returns nil, everything is written at once. One
// goroutine uses it, until the function returns; a method that is called later panics.
//
// A transaction has at most 128 operations, or what etcd's --max-txn-ops says, and 1.5
// MiB, or what its --max-request-bytes says. A partition that is put to takes five, one
// that is consumed two.
type Tx struct {
	tx *actors.Tx
}

// Context returns the context of the call.
func (tx *Tx) Context() context.Context { return tx.tx.Context() }

// Put adds messages for a topic, each for the partition that the handle's partitioner
// chooses; the handle's middleware sees them. Those for one partition keep their order
// and follow one another in the log. Their bytes are copied. A message with an ID for a topic
// with a window of ids is ErrInvalid: the window is not looked into. A message that cannot be put
// (ErrTooLarge, ErrInvalid, ErrNoPartition, ErrClosed) is the error of the transaction, and so
// is nil, and a topic of another runtime (ErrInvalid).
func (tx *Tx) Put(t *Topic, msgs ...Message) {
	if t == nil {
		tx.tx.Fail(fmt.Errorf("put in a transaction: nil topic: %w", ErrInvalid))
		return
	}
	t.t.PutIn(tx.tx, msgs)
}

// Ack names records that are handled: each with those of its partition before it, as
// Commit does. Without an Ack the transaction acks every record that the function was
// given. What is not acked is handed out again.
//
// A record that the function was not given is ErrInvalid, as the error of the transaction.
func (tx *Tx) Ack(recs ...Record) { tx.tx.Ack(recs...) }

// If adds comparisons. When one does not hold, nothing is written and the error is
// ErrCondition.
func (tx *Tx) If(comparisons ...clientv3.Cmp) { tx.tx.If(comparisons...) }

// Then adds operations on keys of the caller's own. Writes under the runtime's prefix,
// and two of one key, are ErrInvalid, as the error of the transaction.
func (tx *Tx) Then(operations ...clientv3.Op) { tx.tx.Then(operations...) }

// Transact puts records to several topics and partitions, and writes keys of the
// caller's own, all or nothing. fn says what; it runs once, and with an error of its own
// nothing is written. While others append to the same partitions, the records are put
// behind theirs.
//
// It blocks until etcd has committed it, or ctx ends. When the answer of etcd is lost, it
// finds out what became of the transaction; nothing is written twice. When ctx ends before that is
// known, the error is ErrUnknownOutcome with ctx's cause. With any other error nothing
// was written, and nothing will be.
//
// Other errors: fn's; ErrCondition; those of Tx's methods; a *LimitError, which says by
// how much the transaction is too large; ErrTopicDeleted, ErrNoSpace, ErrDenied,
// ErrInvalid, ErrCorrupt, ErrClosed.
func (r *Runtime) Transact(ctx context.Context, fn func(tx *Tx) error) error {
	var do func(*actors.Tx) error
	if fn != nil {
		do = func(tx *actors.Tx) error { return fn(&Tx{tx}) }
	}
	return r.engine.Transact(ctx, do)
}

// Transact waits for records, has fn handle between one and max of them, and then commits
// them together with what fn gave to tx: the records' acks, what is put, and keys of the
// caller's own are one transaction of etcd. So each record has its effects once, whoever
// dies when. It returns how many records were acked.
//
// fn runs once. With an error of it, or a panic, nothing is written, and its records are
// handed out again after a delay, see RecordRetry. The transaction commits only while
// the partitions are owned: else the error is ErrFenced, nothing was written, and the next owner handles the
// records. With ErrCondition too nothing was written, and the next call gets the records
// again. While others append to the same partitions, what is put goes behind theirs.
//
// When ctx ends before it is known what became of the transaction, the error is
// ErrUnknownOutcome with ctx's cause. The subscription gives those partitions up then and
// claims them again, from where the group really is, so no effect is lost or doubled.
//
// A transaction takes records of at most 16 partitions. It reads as Poll does: one reader
// at a time, and what the last Poll returned is finished. RecordDeadLetters gets nothing: fn
// can put to a dead-letter topic in the same transaction. Effects outside of tx are not part
// of it. A subscription with middleware (UseRecords, Recover, Timeout, Throttle) is
// ErrInvalid: it surrounds single records.
//
// Other errors: those of Runtime.Transact, and of Poll.
func (s *Subscription) Transact(ctx context.Context, max int, fn func(tx *Tx, recs []Record) error) (int, error) {
	return s.s.Transact(ctx, max, txFunc(fn))
}

// ConsumeTx is Transact again and again, until ctx ends or the subscription does. After
// an error or a panic of fn it continues with a RecordFailed event, after ErrCondition,
// ErrFenced, ErrUnavailable and ErrNoSpace after a pause that grows to a second. It returns
// ctx's cause, nil after Unsubscribe or Stop, why the subscription ended, or an error of
// the transaction that it would have again: ErrInvalid, ErrTooLarge, ErrDenied,
// ErrTopicDeleted, ErrNoPartition, ErrBusy, ErrClosed, ErrCorrupt.
func (s *Subscription) ConsumeTx(ctx context.Context, max int, fn func(tx *Tx, recs []Record) error) error {
	return s.s.ConsumeTx(ctx, max, txFunc(fn))
}

func txFunc(fn func(tx *Tx, recs []Record) error) func(*actors.Tx, []messages.Record) error {
	if fn == nil {
		return nil
	}
	return func(tx *actors.Tx, recs []messages.Record) error { return fn(&Tx{tx}, recs) }
}

// Expectation is what PutIf compares. ExpectEnd makes one.
type Expectation struct{ end int64 }

// ExpectEnd expects a partition to end at an offset: that of the next record. 0 is one
// that was never put to.
func ExpectEnd(offset int64) Expectation { return Expectation{offset} }

// PutIf appends messages to a partition, in one piece, only if it ends where expected. The
// partitioner chooses the partition, which must be the same for all. It returns the
// offset of the first; the partition ends at that and the number of messages then. So
// whoever has read all records of a partition can append what follows from them, without
// a lock: of several who do, one succeeds.
//
// Errors: a *ConflictError, which is ErrConflict, says where the partition ends; ErrInvalid
// also when the messages go to several partitions, and for one with an ID where the topic
// has a window of ids; ErrOffsetOutOfRange for an expected end
// below 0; those of Put and, as for it, ErrUnknownOutcome when ctx ends first.
func (t *Topic) PutIf(ctx context.Context, expect Expectation, msgs ...Message) (partition int, offset int64, err error) {
	return t.t.PutIf(ctx, expect.end, msgs)
}
