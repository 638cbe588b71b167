package messages

// What a subscription's receiver gets, and how it is settled.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// RecordDelivery is what a subscription's receiver gets: a record, to be settled with the
// verbs of a Delivery. The partition's next one comes after that. The record's bytes may
// be kept.
type RecordDelivery struct {
	Record
	handling context.Context
	settled  chan<- error
}

// NewRecordDelivery makes a delivery, and returns what receives how it is settled: nil
// for Ack, else an error as a RecordHandler returns it, or one of IsRelease. It is for
// Penstock, and for tests of receivers. handling is Context's.
func NewRecordDelivery(handling context.Context, r Record) (*RecordDelivery, <-chan error) {
	settled := make(chan error, 1)
	return &RecordDelivery{r, handling, settled}, settled
}

// Context ends when the record's partition is lost, or the subscription ends: to settle
// the record has no effect then.
func (d *RecordDelivery) Context() context.Context { return d.handling }

// Ack finishes the record. It does not block, and may be called on any goroutine. The
// first verb counts.
func (d *RecordDelivery) Ack() { settle(d.settled, nil) }

// Nack says that the record could not be handled, and why: cause is read as a handler's
// error is. The record comes again after a delay, see penstock.RecordRetry, and its
// partition waits. As for Ack otherwise.
func (d *RecordDelivery) Nack(cause error) { settle(d.settled, nacked(cause)) }

// NackAfter is Nack that names the delay, as penstock.RetryAfter does.
func (d *RecordDelivery) NackAfter(delay time.Duration, cause error) {
	settle(d.settled, RetryAfter(delay, nacked(cause)))
}

// Release gives the record back as it came, which is no attempt. It is handed out again
// after the shortest delay of penstock.RecordRetry. As for Ack otherwise.
func (d *RecordDelivery) Release() { settle(d.settled, errReleased) }

// Reject says that the record can never be handled, as penstock.ErrReject does. As for
// Ack otherwise.
func (d *RecordDelivery) Reject(cause error) { settle(d.settled, rejected(cause)) }

// Records is what a receiver gets in place of *RecordDelivery when it takes batches:
// records of one partition, in order, at least one, to be settled together. The slice
// belongs to the receiver, and the records' bytes may be kept.
type Records struct {
	Records  []Record
	count    int // of them, whatever the receiver does to the slice
	handling context.Context
	settled  chan<- RecordsSettled
}

// RecordsSettled is how Records were settled: the first Handled of them are finished,
// and when Err is not nil the next one is given back, as a RecordDelivery is.
type RecordsSettled struct {
	Handled int
	Err     error
}

// NewRecords makes Records, and returns what receives how they are settled. As for
// NewRecordDelivery otherwise.
func NewRecords(handling context.Context, rs []Record) (*Records, <-chan RecordsSettled) {
	settled := make(chan RecordsSettled, 1)
	return &Records{rs, len(rs), handling, settled}, settled
}

// Context is that of RecordDelivery.
func (r *Records) Context() context.Context { return r.handling }

// Ack finishes all of them. It does not block, and may be called on any goroutine. The
// first verb counts.
func (r *Records) Ack() { settle(r.settled, RecordsSettled{Handled: r.count}) }

// Nack says that the first handled of them are finished, and gives the next one back as
// RecordDelivery.Nack does, and those behind it with it. A number outside of the batch is
// taken as the nearest within. As for Ack otherwise.
func (r *Records) Nack(handled int, cause error) { r.giveBack(handled, nacked(cause)) }

// NackAfter is Nack that names the delay.
func (r *Records) NackAfter(handled int, delay time.Duration, cause error) {
	r.giveBack(handled, RetryAfter(delay, nacked(cause)))
}

// Release says that the first handled of them are finished, and gives the others back as
// they came, as RecordDelivery.Release does.
func (r *Records) Release(handled int) { r.giveBack(handled, errReleased) }

// Reject says that the first handled of them are finished, and rejects the next one as
// RecordDelivery.Reject does. Those behind it are handed out again.
func (r *Records) Reject(handled int, cause error) { r.giveBack(handled, rejected(cause)) }

func (r *Records) giveBack(handled int, err error) {
	settle(r.settled, RecordsSettled{min(max(handled, 0), r.count-1), err})
}

var (
	// errUnnamed is a failure that nobody gave a cause for.
	errUnnamed = errors.New("the receiver failed it")
	// errReleased is how a Release comes back.
	errReleased = errors.New("it was released")
)

// Untried is an error for what middleware did not let a handler try, and why: no attempt
// counts, and it comes again at once. IsRelease reports it.
func Untried(cause error) error { return fmt.Errorf("%w: %w", errReleased, cause) }

// IsRelease reports whether err is how a receiver's Release comes back, or Untried.
func IsRelease(err error) bool { return errors.Is(err, errReleased) }

func nacked(cause error) error { return cmp.Or(cause, errUnnamed) }

func rejected(cause error) error {
	if cause == nil || errors.Is(cause, ErrReject) {
		return cmp.Or(cause, ErrReject)
	}
	return fmt.Errorf("%w: %w", ErrReject, cause)
}

// settle lets the first value through; nobody awaits another.
func settle[T any](settled chan<- T, value T) {
	select {
	case settled <- value:
	default:
	}
}
