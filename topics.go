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

// CreateTopic makes a topic and opens it. It blocks until etcd has it, or ctx
// ends. Errors: ErrInvalid, ErrTopicExists, ErrUnavailable, ErrDenied,
// ErrNoSpace, ErrClosed.
func (r *Runtime) CreateTopic(ctx context.Context, name string, cfg TopicConfig, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.CreateTopic(ctx, name, cfg, producerConfig(opts)))
}

// EnsureTopic opens a topic, and makes it first where there is none. One that
// exists keeps its settings, whatever cfg says. Errors: as CreateTopic, without
// ErrTopicExists.
func (r *Runtime) EnsureTopic(ctx context.Context, name string, cfg TopicConfig, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.EnsureTopic(ctx, name, cfg, producerConfig(opts)))
}

// Topic opens a topic that exists. Errors: ErrNoTopic, ErrInvalid,
// ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) Topic(ctx context.Context, name string, opts ...ProducerOption) (*Topic, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return topic(r.engine.Topic(ctx, name, producerConfig(opts)))
}

// ListTopics answers every topic, sorted by name.
func (r *Runtime) ListTopics(ctx context.Context) ([]TopicInfo, error) {
	return r.engine.ListTopics(ctx)
}

// DescribeTopic answers a topic, its partitions and groups, as of one revision
// of etcd. Errors: ErrNoTopic, ErrInvalid, ErrUnavailable, ErrDenied.
func (r *Runtime) DescribeTopic(ctx context.Context, name string) (TopicDescription, error) {
	return r.engine.DescribeTopic(ctx, name)
}

// UpdateTopic changes a topic: more partitions, other settings. Runtimes that
// use it notice within a second. Errors: ErrNoTopic, ErrInvalid (fewer
// partitions among others), ErrUnavailable, ErrDenied, ErrNoSpace.
func (r *Runtime) UpdateTopic(ctx context.Context, name string, change TopicUpdate) (TopicInfo, error) {
	return r.engine.UpdateTopic(ctx, name, change)
}

// DeleteTopic removes a topic with its records, groups and offsets. From the
// first moment on nothing can be put or committed any more; handles answer
// ErrTopicDeleted. It blocks until everything is swept; when ctx ends before,
// the next DeleteTopic or CreateTopic of anybody goes on sweeping. Errors:
// ErrNoTopic, ErrUnavailable, ErrDenied.
func (r *Runtime) DeleteTopic(ctx context.Context, name string) error {
	return r.engine.DeleteTopic(ctx, name)
}

// ListGroups answers the names of a topic's consumer groups, sorted.
func (r *Runtime) ListGroups(ctx context.Context, topic string) ([]string, error) {
	return r.engine.ListGroups(ctx, topic)
}

// DescribeGroup answers a group's members, offsets and lag as of one revision,
// of groups without members too. Errors: ErrNoTopic, ErrNoGroup, ErrInvalid,
// ErrUnavailable, ErrDenied.
func (r *Runtime) DescribeGroup(ctx context.Context, topic, group string) (GroupInfo, error) {
	return r.engine.DescribeGroup(ctx, topic, group)
}

// ResetOffsets moves a group's committed offsets to where to says, in all
// partitions or those of the option. It is refused with ErrGroupLive while a
// member has a claim, unless forced; then the claims are taken away and the
// members begin anew. With ErrUnavailable it may yet come to pass, but only while
// nothing that it found has been written since. Errors: ErrNoTopic, ErrNoPartition, ErrGroupLive,
// ErrOffsetOutOfRange, ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace.
func (r *Runtime) ResetOffsets(ctx context.Context, topic, group string, to StartAt, opts ...ResetOption) ([]OffsetChange, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("reset offsets of group %s in %q: %w", group, topic, err)
	}
	cfg := actors.ResetConfig{}
	for _, o := range opts {
		o.applyReset(&cfg)
	}
	return r.engine.ResetOffsets(ctx, topic, group, to.at, cfg)
}

// Topic is an open topic: what its handle puts goes through one producer. It is
// safe for concurrent use. Handles of one topic share what the runtime keeps of it
// (some goroutines, whoever opens it how often), until Close of the last one. A
// handle ends with Close or the runtime (ErrClosed) or with the topic
// (ErrTopicDeleted).
type Topic struct {
	t *actors.Topic
}

func topic(t *actors.Topic, err error) (*Topic, error) {
	if err != nil {
		return nil, err
	}
	return &Topic{t}, nil
}

// Name is the topic's.
func (t *Topic) Name() string { return t.t.Name() }

// Info is the topic as this runtime knows it now.
func (t *Topic) Info() TopicInfo { return t.t.Info() }

// Put appends a message and waits until etcd has committed it, or ctx ends: it
// answers where the record is. m's bytes are copied before Put returns. When
// ctx ends before the message was taken it is not put, and the error is ctx's
// cause; after that it is ErrUnknownOutcome with ctx's cause, and the record
// may still come. Errors besides: ErrInvalid, ErrTooLarge, ErrTopicDeleted,
// ErrNoSpace, ErrDenied, ErrCorrupt (the end of the log does not decode),
// ErrClosed.
func (t *Topic) Put(ctx context.Context, m Message) (partition int, offset int64, err error) {
	r := t.t.Put(ctx, m)
	return r.Partition, r.Offset, r.Err
}

// PutTo is Put into a partition named by the caller. Errors besides:
// ErrNoPartition.
func (t *Topic) PutTo(ctx context.Context, partition int, m Message) (offset int64, err error) {
	r := t.t.PutTo(ctx, partition, m)
	return r.Offset, r.Err
}

// PutBatch puts several messages, in as few appends as they fit in, and answers
// a result for each, in order. Messages for one partition keep their order. The
// error is nil when every result's is, else all that are different, joined.
func (t *Topic) PutBatch(ctx context.Context, msgs []Message) ([]PutResult, error) {
	return t.t.PutBatch(ctx, msgs)
}

// PutAsync takes a message and returns; done, which may be nil, is called once
// with the result. The calls of the done of one handle come one after the other, in
// the order of the offsets in a partition, on a goroutine of their own: one that
// blocks holds up the later ones of its handle and nothing else. It may put the
// next message; Flush and Close of its handle, which would wait for it, return ErrBusy
// in it at once. PutAsync waits for room
// in the producer's buffer until ctx ends, whose cause it answers; then, and with
// any other error of its own, done is not called. ErrBusy: MaxCallbacksWaiting
// calls of done wait, and none has returned for a second. Errors that came to
// messages without done are answered by Flush.
func (t *Topic) PutAsync(ctx context.Context, m Message, done func(PutResult)) error {
	return t.t.PutAsync(ctx, m, done)
}

// Flush waits until everything taken before the call is committed or failed, and
// its callbacks have returned, or ctx ends, whose cause it answers; in one of those
// callbacks it returns ErrBusy at once. It also answers what happened to messages
// of PutAsync without done since the last Flush.
func (t *Topic) Flush(ctx context.Context) error { return t.t.Flush(ctx) }

// Close takes nothing more (ErrClosed), waits for what was put and its callbacks,
// and gives up the handle. With the last one of a topic, and no Subscription or loop
// of Read left, the runtime forgets the topic. When ctx ends first the error wraps
// its cause, what was put goes on, the handle stays, and Close can be called again.
// Callbacks that do not return are waited for no longer than five seconds: ErrBusy.
// One that calls Close itself is told so at once, and Close can be called again.
// Close answers what Flush would. A second Close does nothing.
func (t *Topic) Close(ctx context.Context) error { return t.t.Close(ctx) }

// Read yields a partition's records in order, without a group, until ctx ends,
// whose cause comes last; at the end of the partition it waits for more. Errors
// besides: ErrNoPartition, ErrOffsetOutOfRange, ErrCorrupt, ErrLogRolledBack,
// ErrTopicDeleted, ErrClosed.
func (t *Topic) Read(ctx context.Context, partition int, from StartAt) iter.Seq2[Record, error] {
	return t.t.Read(ctx, partition, from.at)
}

// Subscribe joins a consumer group, which shares out the topic's partitions
// among its members: each has one owner at a time. It blocks until the
// subscription has its share and has claimed what is free of it, or ctx ends.
// The group's first subscription decides its mode, and where it begins in the
// partitions that there are: see StartAt. Errors: ErrGroupMode, ErrTaken (the
// MemberID), ErrOffsetOutOfRange (FromOffset), ErrInvalid, ErrTopicDeleted, ErrUnavailable,
// ErrDenied, ErrNoSpace, ErrClosed.
func (t *Topic) Subscribe(ctx context.Context, group string, opts ...SubscribeOption) (*Subscription, error) {
	return t.subscribe(ctx, group, nil, opts)
}

// SubscribePartitions joins a group whose members name their partitions. A
// partition that another member has claimed is waited for after
// SubscribePartitions has returned. Errors besides those of Subscribe:
// ErrNoPartition.
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

// Subscription is a place in a consumer group. It is safe for concurrent use;
// one loop, Poll or Consume reads at a time, a second is ErrBusy.
type Subscription struct {
	s *actors.Subscription
}

// ID is the member's in its group.
func (s *Subscription) ID() string { return s.s.ID() }

// Partitions are those that this subscription owns now, sorted.
func (s *Subscription) Partitions() []int { return s.s.Partitions() }

// Records yields records of the partitions that the subscription owns, each
// partition in order. Taking the next record finishes the one before it, and
// finished records are committed (each second and at release) unless
// ManualCommit was given. A loop that breaks or panics hands its record back.
// An error comes once, last: ctx's cause, or why the subscription ended; after
// Unsubscribe or Stop the loop ends silently.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[Record, error] {
	return s.s.Records(ctx)
}

// Poll waits for records and answers at least one and at most max of them. The
// next Poll finishes them, and so does Commit with them; what was polled last
// and not committed is handed out again after Unsubscribe. Errors: ctx's cause; ErrClosed after Unsubscribe;
// why the subscription ended.
func (s *Subscription) Poll(ctx context.Context, max int) ([]Record, error) {
	return s.s.Poll(ctx, max)
}

// Consume calls handler for each record until ctx ends, whose cause it answers,
// or the subscription ends: nil. Records of one partition are handled one after
// the other; PartitionsAtOnce partitions at once. A nil error finishes the
// record. An error or a panic makes it wait as RecordRetry says and be handled
// again, and its partition with it.
func (s *Subscription) Consume(ctx context.Context, handler RecordHandler) error {
	return s.s.Consume(ctx, messages.RecordHandler(handler))
}

// Commit writes how far the group is and waits for etcd: up to and with each
// record given, or everything finished when none is. A record is named as it was
// handed out, so Offset is its own and not that of the next. With one that this
// subscription has not handed out nothing is committed: ErrOffsetOutOfRange when
// the offset was not, since the partition was claimed, or when a Seek came before it
// was written; ErrInvalid when topic,
// partition or fence are another subscription's. Nothing is committed for
// partitions that were lost since: ErrFenced, while the others are. What Commit
// has returned nil for is not undone by an earlier commit, however late that
// reaches etcd. Errors besides: ErrUnavailable with ctx's cause, ErrNoSpace,
// ErrClosed.
func (s *Subscription) Commit(ctx context.Context, recs ...Record) error {
	return s.s.Commit(ctx, recs...)
}

// CommitAsync is Commit that does not wait: done, which may be nil, gets the
// error. Commits of one partition are written in the order they were asked for, and
// done is called in that order, on a goroutine of its own: one that blocks holds up
// the later ones of its subscription and nothing else. While MaxCommitsWaiting
// calls wait for their done, as when etcd is away, CommitAsync with another does
// nothing but call it, with ErrBusy; after the end, behind those that are to come,
// with ErrClosed.
func (s *Subscription) CommitAsync(done func(error), recs ...Record) {
	s.s.CommitAsync(done, recs...)
}

// Seek goes on reading an owned partition elsewhere. What was handed out before
// is no longer finished by itself. Errors: ErrFenced when the partition is not
// owned, ErrNoPartition, ErrOffsetOutOfRange, ErrUnavailable.
func (s *Subscription) Seek(ctx context.Context, partition int, to StartAt) error {
	return s.s.Seek(ctx, partition, to.at)
}

// Pause hands out nothing more of these partitions, or of all, until Resume.
// They stay owned, and stay paused when they are lost and come back.
func (s *Subscription) Pause(partitions ...int) { s.s.Pause(partitions...) }

// Resume ends Pause for these partitions, or for all.
func (s *Subscription) Resume(partitions ...int) { s.s.Resume(partitions...) }

// Lag answers the group's offsets and lag as of one revision of etcd.
func (s *Subscription) Lag(ctx context.Context) (GroupInfo, error) { return s.s.Lag(ctx) }

// Stats counts what this subscription did.
func (s *Subscription) Stats() SubscriptionStats { return s.s.Stats() }

// Unsubscribe drains and leaves the group: the record in hand is finished, what
// is finished is committed together with the release of its partition, and
// others go on from there without a duplicate, unless a handler holds on to its
// partition for longer than RevokeTimeout. With nobody reading it returns
// as soon as etcd has the release. When ctx ends first, the rest is left to the
// end of the session's lease. A loop, handler or BeforeRelease that does not return
// within RevokeTimeout and two seconds is left behind: the error wraps ErrBusy, and
// others begin at the last commit.
//
// Unsubscribe called by one of those functions, or by a callback of CommitAsync,
// cannot wait for its caller. It begins the end, returns ErrBusy at once, and the
// loop ends. To wait for the end, break the loop and unsubscribe then.
func (s *Subscription) Unsubscribe(ctx context.Context) error { return s.s.Unsubscribe(ctx) }

// StartAt says where to begin reading. It is given to Read, Seek and
// ResetOffsets, and to Subscribe for a group that has yet to begin; the earliest
// record is the default. Where a group begins is decided once, by its first
// subscription or by ResetOffsets of all partitions, for the partitions of that
// moment: a partition that is added later is read from its first record.
type StartAt struct{ at messages.Start }

// FromEarliest begins at the first record there is.
func FromEarliest() StartAt { return StartAt{messages.Earliest()} }

// FromLatest begins with what is put from now on.
func FromLatest() StartAt { return StartAt{messages.Latest()} }

// FromOffset begins at an offset; one that was trimmed counts as the earliest.
func FromOffset(offset int64) StartAt { return StartAt{messages.AtOffset(offset)} }

// FromTime begins at the first batch with a record of t or later, at the end when
// there is none. Any t will do: before 1677, the first that a record can have, it
// is FromEarliest, after 2262 FromLatest.
func FromTime(t time.Time) StartAt { return StartAt{messages.AtTime(t)} }

func (s StartAt) applySubscribe(c *actors.SubscriptionConfig) { c.Start = s.at }

// String is earliest, latest, an offset or a time.
func (s StartAt) String() string { return s.at.String() }
