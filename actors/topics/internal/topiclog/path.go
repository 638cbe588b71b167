package topiclog

// A topic's data path in this process: what puts fill and appends empty, and
// what readers read. It outlives the incarnations of the actors around it.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Topic is one topic, shared by every handle and subscription of it.
type Topic struct {
	Env  *Env
	Name string
	ID   string
	PID  atomic.Pointer[actor.PID]

	Current atomic.Pointer[messages.TopicInfo]

	ending *produce.Ending // of everything
	Puts   *produce.Ending // of puts: no later

	// Users are the handles and loops of Read: the engine's actor alone counts.
	Users int

	mu        sync.Mutex
	parts     []*Partition // by number; nil until somebody uses it
	listeners []*actor.PID // of Listen
}

// Partition is one partition.
type Partition struct {
	Topic *Topic
	P     int
	Log   *commitlog.Partition
	acc   *produce.Accumulator
	turn  turn
	PID   atomic.Pointer[actor.PID] // set before anybody gets the path
	// reading is the reader's half: the partition's actor alone uses it.
	reading tail.Reader[*actor.PID]
	// readers counts who reads: without any, appended batches are not kept.
	readers atomic.Int64
	// end is where reading knows the log to end, for anybody; negative while that is not known.
	end atomic.Int64
}

// New makes the data path of a topic; its actor has yet to begin.
func New(env *Env, info messages.TopicInfo) *Topic {
	t := &Topic{Env: env, Name: info.Name, ID: info.ID, ending: produce.NewEnding(), Puts: produce.NewEnding()}
	t.Current.Store(&info)
	return t
}

// Info is the topic as this process knows it now.
func (t *Topic) Info() messages.TopicInfo { return *t.Current.Load() }

// Partitions is how many partitions the topic has now.
func (t *Topic) Partitions() int { return t.Current.Load().Config.Partitions }

// TTL is how long after its time a record of the topic is handed out; 0 is without end.
func (t *Topic) TTL() time.Duration { return t.Current.Load().Config.TTL }

// Partition returns a partition's path, made when it is asked for first.
func (t *Topic) Partition(p int) (*Partition, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.Ended(); err != nil {
		return nil, err
	}
	info := t.Info()
	if p < 0 || p >= info.Config.Partitions {
		return nil, fmt.Errorf("partition %d of %d: %w", p, info.Config.Partitions, messages.ErrNoPartition)
	}
	if p >= len(t.parts) {
		grown := make([]*Partition, info.Config.Partitions)
		copy(grown, t.parts)
		t.parts = grown
	}
	if t.parts[p] == nil {
		part := &Partition{
			Topic: t, P: p, Log: t.Env.Log.Partition(info, p),
			acc: produce.NewAccumulator(p, t.Info, t.Env.Events.Emit),
		}
		part.turn = turn{held: make(chan struct{}, 1), appender: part.newAppender()}
		part.reading = tail.NewReader[*actor.PID]()
		part.end.Store(tail.UnknownEnd)
		if cause := t.Puts.Why(); cause != nil {
			part.acc.Refuse(cause) // it is there to be read
		}
		t.parts[p] = part
		t.Env.Send(t.PID.Load(), &partitionWanted{part})
	}
	return t.parts[p], nil
}

// End is where a partition ends that is read here, as far as that is known.
func (t *Topic) End(p int) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p >= len(t.parts) || t.parts[p] == nil {
		return 0, false
	}
	end := t.parts[p].end.Load()
	return end, end >= 0
}

// Accumulator returns what collects the records of a partition, or why nothing can
// be put into it.
func (t *Topic) Accumulator(p int) (*produce.Accumulator, error) {
	if err := t.Puts.Why(); err != nil {
		return nil, err
	}
	part, err := t.Partition(p)
	if err != nil {
		return nil, err
	}
	return part.acc, nil
}

// used are the partitions that somebody has asked for.
func (t *Topic) used() (parts []*Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, part := range t.parts {
		if part != nil {
			parts = append(parts, part)
		}
	}
	return parts
}

// Ended returns why the topic is over, or nil.
func (t *Topic) Ended() error { return t.ending.Why() }

// Refuse takes nothing more: what was taken before is all there will be.
func (t *Topic) Refuse(cause error) {
	t.mu.Lock() // no partition comes into use behind us
	t.Puts.End(cause)
	t.mu.Unlock()
	for _, part := range t.used() {
		part.acc.Refuse(cause)
	}
}

// Close ends the path: whoever waits is told, whoever comes is refused. Only
// the first call counts.
func (t *Topic) Close(cause error) {
	t.mu.Lock()
	first := t.ending.End(cause)
	t.mu.Unlock()
	if !first {
		return
	}
	t.Refuse(cause)
	t.giveUp(cause)
}

// giveUp ends puts with a cause, and returns how many records that were taken
// were not known to be committed.
func (t *Topic) giveUp(cause error) (given int) {
	for _, part := range t.used() {
		given += part.acc.Close(cause)
	}
	return given
}

// Used counts users of a topic up or down.
type Used struct {
	Path *Topic
	By   int
}

// Use counts users: by is 1 or -1.
func (t *Topic) Use(by int) { t.Env.Send(t.Env.Root, &Used{t, by}) }

// FetchTo sends a request to a partition's actor, or replies itself if there will be
// none any more.
func (p *Partition) FetchTo(f *Fetch) {
	pid := p.PID.Load()
	if pid == nil {
		// The topic's actor has yet to begin it; it hands on what comes first.
		p.Topic.Env.Send(p.Topic.PID.Load(), &PartitionMail{p, f})
		return
	}
	p.Topic.Env.Send(pid, f)
}

// Unreadable tells why reading stops at an offset.
func (p *Partition) Unreadable(offset, end int64, err error) {
	emit, topic := p.Topic.Env.Events.Emit, p.Topic.Name
	switch {
	case errors.Is(err, messages.ErrLogRolledBack):
		emit(messages.LogRolledBack{Topic: topic, Partition: p.P, Position: offset, End: end})
	case errors.Is(err, messages.ErrCorrupt):
		var fault *commitlog.CorruptError
		if errors.As(err, &fault) {
			offset = max(offset, fault.Base)
		}
		emit(messages.BatchCorrupt{Topic: topic, Partition: p.P, Offset: offset, Err: err})
	}
}

// delayed emits that etcd does not respond to a read.
func (p *Partition) delayed(err error) {
	p.Topic.Env.Events.Emit(messages.ReadDelayed{Topic: p.Topic.Name, Partition: p.P, Err: err})
}

// Join counts a reader, and has the index followed for the first of the topic.
func (p *Partition) Join() {
	p.readers.Add(1)
	p.Topic.Env.Send(p.Topic.PID.Load(), &readerCame{})
}

// Leave ends what join began, and withdraws the reader's request.
func (p *Partition) Leave(reader any) {
	p.readers.Add(-1)
	if pid := p.PID.Load(); pid != nil {
		p.Topic.Env.Send(pid, &readerLeft{reader})
	}
}

// Stats is what this process put into the topic.
func (t *Topic) Stats() messages.TopicStats {
	s := messages.TopicStats{Topic: t.Name}
	for _, part := range t.used() {
		n := part.acc.Counters()
		s.Records += n.Records
		s.Bytes += n.Bytes
		s.Appends += n.Appends
		s.Committed += n.Committed
		s.Duplicates += n.Duplicates
		s.Delayed += n.Delayed
		s.Failed += n.Failed
		s.QueuedBytes += n.Queued
	}
	return s
}

// Settle waits for what was put, or gives it up when ctx ends. Nothing more is
// taken.
func (t *Topic) Settle(ctx context.Context) error {
	t.Refuse(messages.ErrClosed)
	var cause error
	for _, part := range t.used() {
		cause = errors.Join(cause, part.acc.Flushed(ctx, part.acc.Taken()))
		if cause != nil {
			break
		}
	}
	if cause == nil {
		return nil
	}
	left := t.giveUp(messages.ErrClosed)
	if left == 0 {
		return nil
	}
	t.Env.Events.Emit(messages.Abandoned{Destination: t.Name, Count: left, Cause: cause})
	return &messages.AbandonedError{Messages: left, Where: "topic " + t.Name, Err: cause}
}
