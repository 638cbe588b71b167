package penstock

// Topics: durable, partitioned logs, their producers and consumer groups.

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// CreateTopic makes a topic and opens it. It blocks until etcd has it or ctx ends.
//
// Errors: ErrInvalid, ErrTopicExists, ErrUnavailable, ErrDenied, ErrNoSpace,
// ErrClosed, and ctx's cause.
func (r *Runtime) CreateTopic(ctx context.Context, name string, cfg TopicConfig, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.CreateTopic(ctx, name, cfg, producerConfig(opts)))
}

// CreateTopicAt is CreateTopic for a topic that is restored: the first record of
// partition p will have the offset starts[p], 0 where there is no such start. So records
// keep the offsets that they had elsewhere.
//
// Errors: those of CreateTopic, and ErrOffsetOutOfRange.
func (r *Runtime) CreateTopicAt(ctx context.Context, name string, cfg TopicConfig, starts []int64, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.CreateTopicAt(ctx, name, cfg, starts, producerConfig(opts)))
}

// EnsureTopic opens a topic, and makes it first where there is none. One that exists
// keeps its settings, whatever cfg says.
//
// Errors: those of CreateTopic without ErrTopicExists.
func (r *Runtime) EnsureTopic(ctx context.Context, name string, cfg TopicConfig, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.EnsureTopic(ctx, name, cfg, producerConfig(opts)))
}

// Topic opens a topic that exists.
//
// Errors: ErrNoTopic, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed, and ctx's
// cause.
func (r *Runtime) Topic(ctx context.Context, name string, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.Topic(ctx, name, producerConfig(opts)))
}

// ListTopics returns every topic, sorted by name.
//
// Errors: ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) ListTopics(ctx context.Context) ([]TopicInfo, error) {
	return r.engine.ListTopics(ctx)
}

// DescribeTopic returns a topic with its partitions and groups, as of one revision of
// etcd.
//
// Errors: ErrNoTopic, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) DescribeTopic(ctx context.Context, name string) (TopicDescription, error) {
	return r.engine.DescribeTopic(ctx, name)
}

// UpdateTopic changes a topic: more partitions, other settings. Runtimes that use it
// see the change within a second.
//
// Errors: ErrNoTopic, ErrInvalid (fewer partitions, for one), ErrUnavailable,
// ErrDenied, ErrNoSpace, ErrClosed.
func (r *Runtime) UpdateTopic(ctx context.Context, name string, change TopicUpdate) (TopicInfo, error) {
	return r.engine.UpdateTopic(ctx, name, change)
}

// DeleteTopic removes a topic with its records, groups and offsets. From its first
// moment nothing can be put or committed any more, and handles return
// ErrTopicDeleted. It blocks until all keys are deleted. When ctx ends first, the next
// DeleteTopic or CreateTopic of that name, from any runtime, deletes the rest.
//
// Errors: ErrNoTopic, ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (r *Runtime) DeleteTopic(ctx context.Context, name string) error {
	return r.engine.DeleteTopic(ctx, name)
}

// Topic is a handle of an open topic: what it puts goes through one producer. It is
// safe for concurrent use. All handles of a topic share what the runtime keeps of it,
// some goroutines, until the last is closed. A handle ends with Close or Stop
// (ErrClosed) or with the topic (ErrTopicDeleted).
type Topic struct {
	t *actors.Topic
}

func topic(t *actors.Topic, err error) (*Topic, error) {
	if err != nil {
		return nil, err
	}
	return &Topic{t}, nil
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.t.Name() }

// Info returns the topic as this runtime knows it now. It does not ask etcd.
func (t *Topic) Info() TopicInfo { return t.t.Info() }

// Put appends a message, waits until etcd has committed it, and returns where the
// record is. m's bytes are copied before Put returns.
//
// When ctx ends before the message was accepted, the error is ctx's cause and the message
// is not put. When it ends after that, the error is ErrUnknownOutcome with ctx's
// cause: the record may be in the topic or arrive there later. With any other error it
// is not and will not.
//
// In a topic with a window of ids (TopicConfig.DedupeWindow) a message whose ID a record
// has is not put again: the offset is that record's. After ErrUnknownOutcome, or after a
// restart, such a message can simply be put again.
//
// Other errors: ErrInvalid, ErrTooLarge (as a *LimitError when etcd takes no request
// that large), ErrTopicFull (DiscardNew), ErrTopicDeleted, ErrNoSpace, ErrDenied, ErrCorrupt (the end of the log
// does not decode), ErrClosed.
func (t *Topic) Put(ctx context.Context, m Message) (partition int, offset int64, err error) {
	r := t.t.Put(ctx, m)
	return r.Partition, r.Offset, r.Err
}

// PutTo is Put into a partition that the caller names.
//
// Errors: those of Put, and ErrNoPartition.
func (t *Topic) PutTo(ctx context.Context, partition int, m Message) (offset int64, err error) {
	r := t.t.PutTo(ctx, partition, m)
	return r.Offset, r.Err
}

// PutBatch puts several messages, in as few appends as they fit in, and returns a
// result for each, in order. Messages for one partition keep their order. The error is
// nil when every result's is, else all that are different, joined.
func (t *Topic) PutBatch(ctx context.Context, msgs []Message) ([]PutResult, error) {
	return t.t.PutBatch(ctx, msgs)
}

// PutAsync takes a message and returns; done, which may be nil, is called once with
// the result. It waits for room in the producer's buffer, see MaxBuffer, until ctx
// ends. When it returns an error the message is not put and done is not called.
//
// The callbacks of one handle are called one after the other, in the order of offsets
// within a partition, on a goroutine of their own: one that blocks holds up the later
// ones of its handle and nothing else. A callback may put the next message; Flush and
// Close of its handle, which would wait for it, return ErrBusy in it. Errors of
// messages without done are returned by Flush.
//
// Errors: ctx's cause; ErrBusy when MaxCallbacksWaiting callbacks wait and none has
// returned for a second; ErrInvalid, ErrTooLarge, ErrTopicDeleted, ErrClosed.
func (t *Topic) PutAsync(ctx context.Context, m Message, done func(PutResult)) error {
	return t.t.PutAsync(ctx, m, done)
}

// TryPut is PutAsync that never waits, neither for room nor for etcd: without room in the
// handle's buffer, see MaxBuffer, or while other puts wait for some, the message is not
// put and the error is ErrGroupFull. done, which may be nil, is called as that of PutAsync.
//
// Errors: ErrGroupFull; ErrBusy while MaxCallbacksWaiting callbacks wait; ErrInvalid,
// ErrTooLarge, ErrNoPartition, ErrTopicDeleted, ErrClosed.
func (t *Topic) TryPut(m Message, done func(PutResult)) error { return t.t.TryPut(m, done) }

// LastID returns the newest id of a producer in the topic's window, "" when there is
// none: of those messages whose ID begins with the producer's name and a slash. It
// reads the window of every partition and sees what any process has put before the
// call.
//
// A producer that starts again continues behind it. One that puts up to n messages
// before it waits for them (PutBatch, or PutAsync and Flush) begins n messages before
// it: what the topic has of these is known again by its ID.
//
// Errors: ErrInvalid (the topic has no window, or the name is empty), ErrCorrupt,
// ErrDenied, ErrTopicDeleted, ErrClosed, and ctx's cause: it waits for an etcd that is
// away.
func (t *Topic) LastID(ctx context.Context, producer string) (string, error) {
	return t.t.LastID(ctx, producer)
}

// Flush waits until everything accepted before the call is committed or has failed, and
// its callbacks have returned. It returns what happened to messages of PutAsync
// without done since the last Flush.
//
// Other errors: ctx's cause; ErrBusy in a callback of this handle.
func (t *Topic) Flush(ctx context.Context) error { return t.t.Flush(ctx) }

// Close takes nothing more (ErrClosed), waits for what was put and its callbacks,
// and gives up the handle. When the last handle of a topic is closed, and no
// Subscription or loop over Read is left, the runtime forgets the topic. A second Close
// does nothing.
//
// Errors: what Flush would return. When ctx ends first, its cause: what was put is
// still appended, the handle stays, and Close can be called again. ErrBusy when
// callbacks have not returned for five seconds, and at once in a callback of this
// handle; then too Close can be called again.
func (t *Topic) Close(ctx context.Context) error { return t.t.Close(ctx) }

// Read yields a partition's records in order, without a group, until ctx ends; at the
// end of the partition it waits for more. An error comes once and last. It yields what
// has expired, too: Record.Expired reports that.
//
// Errors: ctx's cause, ErrNoPartition, ErrOffsetOutOfRange, ErrCorrupt,
// ErrLogRolledBack, ErrTopicDeleted, ErrClosed.
func (t *Topic) Read(ctx context.Context, partition int, from StartAt) iter.Seq2[Record, error] {
	return t.t.Read(ctx, partition, from.at)
}

// ReadTo is Read that ends without an error before the offset end: with that of
// DescribeTopic it yields what is there, and waits for nothing more.
func (t *Topic) ReadTo(ctx context.Context, partition int, from StartAt, end int64) iter.Seq2[Record, error] {
	return t.t.ReadTo(ctx, partition, from.at, end)
}

// Truncate deletes what lies before a place, in the partitions given or in all: FromOffset
// names one in each of them, FromTime the first batch that has a record of that time or
// later, FromLatest the end. A partition begins there afterwards. Where an offset lies
// within a batch, the partition begins with that batch, and the records before the offset
// are erased; see DeleteRecords. It returns what it did to each partition, also with an
// error, and can be called again.
//
// Errors: ErrOffsetOutOfRange (past the end; partitions before it are truncated),
// ErrNoPartition, ErrInvalid, ErrTopicDeleted, ErrUnavailable, ErrDenied, ErrCorrupt,
// ErrClosed, and ctx's cause.
func (t *Topic) Truncate(ctx context.Context, before StartAt, partitions ...int) ([]Truncated, error) {
	return t.t.Truncate(ctx, before.at, partitions)
}

// Purge deletes all records that the partitions given, or all, have when it is called, also
// those that wait until they are delivered. Groups continue behind them.
//
// Errors: those of Truncate without ErrOffsetOutOfRange.
func (t *Topic) Purge(ctx context.Context, partitions ...int) ([]Truncated, error) {
	return t.t.Purge(ctx, partitions)
}

// Cancel deletes a message that was put with a DeliverAt before it is delivered: the put
// returned its partition and offset. Either it is cancelled, or it is delivered; never both.
//
// Errors: ErrNotDelayed when nothing waits with its place there: it was delivered or
// cancelled, or never was delayed; ErrUnknownOutcome when it is gone, and whether by this
// call is not known; ErrOffsetOutOfRange, ErrNoPartition, ErrTopicDeleted, ErrUnavailable,
// ErrDenied, ErrCorrupt, ErrClosed, and ctx's cause.
func (t *Topic) Cancel(ctx context.Context, partition int, offset int64) error {
	return t.t.Cancel(ctx, partition, offset)
}

// Delayed yields the records that wait until they are delivered, in the partitions given or
// in all: partition by partition, in the order in which they are due. Offset is that which
// the put returned. It does not wait for more. An error comes once and last.
//
// Errors: ErrNoPartition, ErrCorrupt, ErrUnavailable, ErrDenied, ErrTopicDeleted, ErrClosed,
// and ctx's cause.
func (t *Topic) Delayed(ctx context.Context, partitions ...int) iter.Seq2[Record, error] {
	return t.t.Delayed(ctx, partitions)
}

// DeleteRecords erases single records, by partition and offset, and returns how many there
// were: what was deleted before does not count. Offsets never change. Nobody gets an erased
// record from then on, but who has read it ahead already; etcd's history has it until that
// is compacted. Each batch with such a record is written again without it.
//
// Errors: ErrOffsetOutOfRange and ErrNoPartition, before anything is erased of that
// partition; ErrTopicDeleted, ErrUnavailable, ErrDenied, ErrNoSpace, ErrCorrupt,
// ErrClosed, and ctx's cause. After an error it can be called again.
func (t *Topic) DeleteRecords(ctx context.Context, offsets map[int][]int64) (deleted int, err error) {
	return t.t.DeleteRecords(ctx, offsets)
}

// DeleteKey erases every record with that key that the topic has when it is called, and
// returns how many there were. It reads the whole topic: a key may be in any partition.
//
// Errors: ErrInvalid for an empty key; those of DeleteRecords.
func (t *Topic) DeleteKey(ctx context.Context, key []byte) (deleted int, err error) {
	return t.t.DeleteKey(ctx, key)
}

// Subscribe joins a consumer group, whose members share out the topic's partitions:
// each partition has one owner at a time. It blocks until the subscription has its
// share and has claimed what is free of it, or ctx ends. The group's first subscription
// decides its mode, and where it begins in the partitions of that moment: see StartAt.
//
// Errors: ErrGroupMode, ErrTaken (MemberID), ErrOffsetOutOfRange (FromOffset),
// ErrInvalid, ErrTopicDeleted, ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed, and
// ctx's cause.
func (t *Topic) Subscribe(ctx context.Context, group string, opts ...SubscribeOption) (*Subscription, error) {
	return t.subscribe(ctx, group, nil, opts)
}

// SubscribePartitions joins a group whose members name their partitions. It does not
// wait for a partition that another member has claimed: the subscription claims it once
// that is released.
//
// Errors: those of Subscribe, and ErrNoPartition.
func (t *Topic) SubscribePartitions(ctx context.Context, group string, partitions []int, opts ...SubscribeOption) (*Subscription, error) {
	if partitions == nil {
		partitions = []int{}
	}
	return t.subscribe(ctx, group, partitions, opts)
}

func (t *Topic) subscribe(ctx context.Context, group string, partitions []int, opts []SubscribeOption) (*Subscription, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("subscribe %q to %q: %w", group, t.t.Name(), err)
	}
	cfg := actors.SubscriptionConfig{Topic: t.t.Name(), Group: group, Partitions: partitions}
	for _, o := range opts {
		o.applySubscribe(&cfg)
	}
	s, err := t.t.Subscribe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Subscription{s}, nil
}

// Subscription is a place in a consumer group. It is safe for concurrent use; one
// loop over Records, one Poll or one Consume reads at a time, a second gets ErrBusy.
type Subscription struct {
	s *actors.Subscription
}

// ID returns the member's id in its group.
func (s *Subscription) ID() string { return s.s.ID() }

// Partitions returns the partitions that this subscription owns now, sorted. One that it
// gives up is among them until PartitionReleased; another member may have claimed it just
// before.
func (s *Subscription) Partitions() []int { return s.s.Partitions() }

// Records yields records of the partitions that the subscription owns, each partition
// in order. Taking the next record finishes the one before. Finished records are
// committed, as CommitEvery says and when their partition is released, unless
// ManualCommit was given. A loop that breaks or panics gives its record back. An error
// comes once and last: ctx's cause, or why the subscription ended; after Unsubscribe or
// Stop the loop ends without one.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[Record, error] {
	return s.s.Records(ctx)
}

// Poll waits for records and returns between one and max of them. The next Poll
// finishes them, also when its ctx has ended, and so does Commit with them. What was
// polled last and not committed is handed out again after Release or Unsubscribe.
//
// Errors: ctx's cause, ErrInvalid (max below 1), ErrBusy, ErrClosed after Unsubscribe,
// or why the subscription ended.
func (s *Subscription) Poll(ctx context.Context, max int) ([]Record, error) {
	return s.s.Poll(ctx, max)
}

// Release gives the records of the last Poll back, but for those that Commit was called
// with: the next Poll returns them again, with the same Attempt. Call it when they could
// not be handled. It does nothing when there are none.
//
// Errors: ErrBusy while another goroutine reads.
func (s *Subscription) Release() error { return s.s.Release() }

// Consume calls handler for each record, one after the other within a partition and as
// many partitions at once as PartitionsAtOnce says, until ctx ends or the subscription
// does. A nil error finishes the record. After an error or a panic it is handled again
// after a delay, see RecordRetry or RetryAfter, and its partition waits. An error that
// wraps ErrReject gives it to RecordDeadLetters at once. An error after the handler's ctx
// has ended is no failure: the record was not handled, and is handed out again. Consume
// returns ctx's cause, nil after Unsubscribe or Stop, or why the subscription ended.
func (s *Subscription) Consume(ctx context.Context, handler RecordHandler) error {
	return s.s.Consume(ctx, messages.RecordHandler(handler))
}

// Commit writes how far the group is and waits for etcd: up to and with each record
// given, or everything finished when none is. Give a record as it was handed out: its
// Offset is its own, not that of the next. What Commit has returned nil for is not
// undone by an earlier commit, however late that reaches etcd.
//
// Errors: ErrOffsetOutOfRange, and nothing is committed, when the offset was not handed
// out since the partition was claimed or a Seek came before it was written; ErrInvalid,
// and nothing is committed, when topic, partition or fence are another
// subscription's; ErrFenced for partitions that were lost, while the others are
// committed; ErrUnavailable with ctx's cause, ErrNoSpace, ErrClosed.
func (s *Subscription) Commit(ctx context.Context, recs ...Record) error {
	return s.s.Commit(ctx, recs...)
}

// CommitAsync is Commit that does not wait: done, which may be nil, gets the error.
// Commits of one partition are written in the order of the calls, and done is called in
// that order, on a goroutine of its own: one that blocks holds up the later ones of its
// subscription and nothing else. While MaxCommitsWaiting calls wait for their done, as
// when etcd is away, CommitAsync with another does nothing but call it with ErrBusy.
// After the subscription's end done gets ErrClosed.
func (s *Subscription) CommitAsync(done func(error), recs ...Record) {
	s.s.CommitAsync(done, recs...)
}

// Seek moves the reading of an owned partition to another place. Taking the next record
// does not finish what was handed out before.
//
// Errors: ErrFenced when the partition is not owned, ErrNoPartition,
// ErrOffsetOutOfRange, ErrUnavailable, ErrClosed, and ctx's cause.
func (s *Subscription) Seek(ctx context.Context, partition int, to StartAt) error {
	return s.s.Seek(ctx, partition, to.at)
}

// Pause hands out nothing more of these partitions, or of all when none is given,
// until Resume. They stay owned, and stay paused when they are lost and come back.
func (s *Subscription) Pause(partitions ...int) { s.s.Pause(partitions...) }

// Resume ends Pause for these partitions, or for all when none is given.
func (s *Subscription) Resume(partitions ...int) { s.s.Resume(partitions...) }

// Lag returns the group's members, offsets and lag as of one revision of etcd.
//
// Errors: ErrUnavailable, ErrDenied, ErrTopicDeleted, ErrClosed.
func (s *Subscription) Lag(ctx context.Context) (GroupInfo, error) { return s.s.Lag(ctx) }

// Stats returns counters of what this subscription did.
func (s *Subscription) Stats() SubscriptionStats { return s.s.Stats() }

// Unsubscribe drains and leaves the group: the record in hand is finished, what is
// finished is committed in the transaction that releases its partition, and the next
// owner begins behind it, without duplicates. With nobody reading it returns as soon as
// etcd has the release.
//
// Errors: ctx's cause when it ends first: the rest is released when the session's lease
// ends. ErrBusy when a loop, handler or BeforeRelease does not return within
// RevokeTimeout and two seconds: it is left running, and the next owner begins at the
// last commit.
//
// Unsubscribe in one of those functions, or in a callback of CommitAsync or
// RecordExpired, cannot wait for its caller. It begins the end, returns ErrBusy at once,
// and the loop ends. To wait for the end, break the loop and unsubscribe then.
func (s *Subscription) Unsubscribe(ctx context.Context) error { return s.s.Unsubscribe(ctx) }

// StartAt says where to begin reading. Read, Seek and ResetOffsets take one, and
// Subscribe takes one as an option, for a new group; there the default is
// FromEarliest. Where a group begins is decided once, by its first
// subscription or by ResetOffsets of all partitions, for the partitions of that moment:
// one that is added later is read from its first record.
type StartAt struct{ at messages.Start }

// FromEarliest begins at the first record of each partition.
func FromEarliest() StartAt { return StartAt{messages.Earliest()} }

// FromLatest begins with what is put from now on.
func FromLatest() StartAt { return StartAt{messages.Latest()} }

// FromOffset begins at an offset. One whose record is no longer kept is
// FromEarliest.
func FromOffset(offset int64) StartAt { return StartAt{messages.AtOffset(offset)} }

// FromTime begins at the first batch that has a record of time t or later, or at the
// end when there is none. A t before 1677, the first time that a record can have, is
// FromEarliest; one after 2262 is FromLatest.
func FromTime(t time.Time) StartAt { return StartAt{messages.AtTime(t)} }

func (s StartAt) applySubscribe(c *actors.SubscriptionConfig) { c.Start = s.at }

// String returns earliest, latest, the offset, or the time in RFC 3339.
func (s StartAt) String() string { return s.at.String() }
