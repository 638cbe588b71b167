package penstock

// What a user's actors and those of ProducerProps and SubscriptionProps say to each
// other. As in types_props.go, each message is sent as a pointer, and comments show
// what aliases stand for.

import "github.com/penstock-io/penstock/messages"

// Put asks a producer's actor to put messages into its topic, those of one partition in
// order.
//
//	type Put struct{ Messages []Message }
//
// The reply is *PutDone, once each is committed or has failed. Several Puts may be under
// way; their replies come in the order of the questions. When more than 16,384 messages
// or 16 MiB wait, nothing of a Put is put and the reply is ErrGroupFull at once. Of a Put
// without a sender, what failed is told by the next PutsFlushed. The messages and their
// bytes belong to the actor until the reply.
type Put = messages.Put

// PutDone is the reply to Put.
//
//	type PutDone struct {
//		Results []PutResult // of each message, in order; nil when the whole Put was refused
//		Err     error       // nil when each message is committed
//	}
//
// The errors of Results are those of Topic.Put. Err joins those that are different, or is
// ErrGroupFull when too many wait, or ErrClosed when the actor has ended.
type PutDone = messages.PutDone

// FlushPuts asks a producer's actor to wait until everything that was put before is
// committed or has failed, as Topic.Flush does.
//
//	type FlushPuts struct{}
//
// The reply is *PutsFlushed, behind the *PutDone of what was put before. At most 256 are
// under way at once: one more gets ErrBusy.
type FlushPuts = messages.FlushPuts

// PutsFlushed is the reply to FlushPuts.
//
//	type PutsFlushed struct{ Err error }
//
// Err is that of Topic.Flush: what happened to Puts without a sender since the last one.
type PutsFlushed = messages.PutsFlushed

// CloseProducer asks a producer's actor to end in order, as Topic.Close does: what was put
// before is committed, then the actor stops.
//
//	type CloseProducer struct{}
//
// The reply is *ProducerClosed. A Put that comes later is answered with ErrClosed.
type CloseProducer = messages.CloseProducer

// ProducerClosed is the reply to CloseProducer. The actor stops behind it.
//
//	type ProducerClosed struct{ Err error }
//
// Err is that of Topic.Close.
type ProducerClosed = messages.ProducerClosed

// RecordDelivery is what the receiver of a subscription gets: one record, to be settled.
// The next one of its partition comes after that.
//
//	type RecordDelivery struct{ Record }
//
//	func (d *RecordDelivery) Ack()                                     // it was handled
//	func (d *RecordDelivery) Nack(cause error)                         // it failed: it comes again after a delay, see RecordRetry, and its partition waits
//	func (d *RecordDelivery) NackAfter(delay time.Duration, cause error) // the same after this delay
//	func (d *RecordDelivery) Release()                                 // it was not tried: it comes again, and no attempt is counted
//	func (d *RecordDelivery) Reject(cause error)                       // it can never be handled: to RecordDeadLetters at once
//	func (d *RecordDelivery) Context() context.Context                 // ends when its partition is lost, or the subscription ends
//
// The verbs do not block and may be called on any goroutine; the first call counts. Nack
// reads cause as Subscription.Consume does the error of a handler: ErrReject and
// RetryAfter mean the same here.
type RecordDelivery = messages.RecordDelivery

// Records is what the receiver of a subscription with a Batch gets in place of
// *RecordDelivery: records of one partition, in order, at least one.
//
//	type Records struct{ Records []Record }
//
//	func (r *Records) Ack()                                                       // all were handled
//	func (r *Records) Nack(handled int, cause error)                              // the first handled of them were, and the next one failed
//	func (r *Records) NackAfter(handled int, delay time.Duration, cause error)    // the same after this delay
//	func (r *Records) Release(handled int)                                        // the first handled of them were, and the next one was not tried
//	func (r *Records) Reject(handled int, cause error)                            // the first handled of them were, and the next one can never be
//	func (r *Records) Context() context.Context                                   // as of RecordDelivery
//
// The verbs are those of RecordDelivery. What was not handled comes again with what is
// behind it; behind a rejected one, the others come again.
type Records = messages.Records

// Opened is told to the parent of a producer's actor when its topic is open.
//
//	type Opened struct{ Topic string }
type Opened = messages.Opened

// Subscribed is told to the parent of a subscription's actor when it is in its group. It
// is an event, too.
//
//	type Subscribed struct{ Topic, Group, Member string }
type Subscribed = messages.Subscribed

// Assigned is told to the parent of a subscription's actor: it owns these partitions from
// now on, too.
//
//	type Assigned struct {
//		Topic, Group string
//		Partitions   []int
//	}
type Assigned = messages.Assigned

// Revoking is told to the parent of a subscription's actor: another member is to have
// these partitions, or this one leaves. The receiver has no record of them in hand, and
// gets none.
//
//	type Revoking struct {
//		Topic, Group string
//		Partitions   []int
//	}
//
// With AwaitReleased of Receiver it is a question: the partitions are released when the
// parent has replied with *Released. That is BeforeRelease for actors.
type Revoking = messages.Revoking

// Released is the parent's reply to Revoking, when it has written out what it gathered.
//
//	type Released struct{ Err error }
//
// With a nil Err everything finished in the partitions is committed as they are released,
// and the next owner begins behind it. With an Err nothing more is committed, and neither
// without a reply within RevokeTimeout.
type Released = messages.Released

// Lost is told to the parent of a subscription's actor: it was fenced from these
// partitions. What of them is not committed is handled again by their next owner.
//
//	type Lost struct {
//		Topic, Group string
//		Partitions   []int
//	}
type Lost = messages.Lost
