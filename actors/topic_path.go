package actors

// A topic's data path in this process: what puts fill and appends empty, and
// what readers read. It outlives the incarnations of the actors around it.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/produce"
	"github.com/penstock-io/penstock/actors/internal/tail"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// topicPath is one topic, shared by every handle and subscription of it.
type topicPath struct {
	env  *Env
	name string
	id   string
	pid  atomic.Pointer[actor.PID]

	current atomic.Pointer[messages.TopicInfo]

	ending *produce.Ending // of everything
	puts   *produce.Ending // of puts: no later

	// users are the handles and loops of Read: the engine's actor alone counts.
	users int

	mu    sync.Mutex
	parts []*partitionPath // by number; nil until somebody uses it
}

// partitionPath is one partition.
type partitionPath struct {
	topic *topicPath
	p     int
	log   *commitlog.Partition
	acc   *produce.Accumulator
	pid   atomic.Pointer[actor.PID] // set before anybody gets the path
	// reading is the reader's half: the partition's actor alone uses it.
	reading tail.Reader[*actor.PID]
	// readers counts who reads: without any, appended batches are not kept.
	readers atomic.Int64
}

func newTopicPath(env *Env, info messages.TopicInfo) *topicPath {
	t := &topicPath{env: env, name: info.Name, id: info.ID, ending: produce.NewEnding(), puts: produce.NewEnding()}
	t.current.Store(&info)
	return t
}

func (t *topicPath) info() messages.TopicInfo { return *t.current.Load() }

func (t *topicPath) partitions() int { return t.current.Load().Config.Partitions }

// partition answers a partition's path, made when it is asked for first.
func (t *topicPath) partition(p int) (*partitionPath, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ended(); err != nil {
		return nil, err
	}
	info := t.info()
	if p < 0 || p >= info.Config.Partitions {
		return nil, fmt.Errorf("partition %d of %d: %w", p, info.Config.Partitions, messages.ErrNoPartition)
	}
	if p >= len(t.parts) {
		grown := make([]*partitionPath, info.Config.Partitions)
		copy(grown, t.parts)
		t.parts = grown
	}
	if t.parts[p] == nil {
		part := &partitionPath{
			topic: t, p: p, log: t.env.Log.Partition(info, p),
			acc: produce.NewAccumulator(p, t.info, t.env.Events.emit),
		}
		part.reading = tail.NewReader[*actor.PID]()
		if cause := t.puts.Why(); cause != nil {
			part.acc.Refuse(cause) // it is there to be read
		}
		t.parts[p] = part
		t.env.Send(t.pid.Load(), &partitionWanted{part})
	}
	return t.parts[p], nil
}

func (t *topicPath) accumulator(p int) (*produce.Accumulator, error) {
	if err := t.puts.Why(); err != nil {
		return nil, err
	}
	part, err := t.partition(p)
	if err != nil {
		return nil, err
	}
	return part.acc, nil
}

// used are the partitions that somebody has asked for.
func (t *topicPath) used() (parts []*partitionPath) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, part := range t.parts {
		if part != nil {
			parts = append(parts, part)
		}
	}
	return parts
}

// ended answers why the topic is over, or nil.
func (t *topicPath) ended() error { return t.ending.Why() }

// refuse takes nothing more: what was taken before is all there will be.
func (t *topicPath) refuse(cause error) {
	t.mu.Lock() // no partition comes into use behind us
	t.puts.End(cause)
	t.mu.Unlock()
	for _, part := range t.used() {
		part.acc.Refuse(cause)
	}
}

// close ends the path: whoever waits is told, whoever comes is refused. Only
// the first call counts.
func (t *topicPath) close(cause error) {
	t.mu.Lock()
	first := t.ending.End(cause)
	t.mu.Unlock()
	if !first {
		return
	}
	t.refuse(cause)
	t.giveUp(cause)
}

// giveUp ends puts with a cause, and answers how many records that were taken
// were not known to be committed.
func (t *topicPath) giveUp(cause error) (given int) {
	for _, part := range t.used() {
		given += part.acc.Close(cause)
	}
	return given
}

// topicUsed counts users of a topic up or down.
type topicUsed struct {
	path *topicPath
	by   int
}

// use counts users: by is 1 or -1.
func (t *topicPath) use(by int) { t.env.Send(t.env.Root, &topicUsed{t, by}) }

// fetchTo sends a request to a partition's actor, or answers it if there will be
// none any more.
func (p *partitionPath) fetchTo(f *fetch) {
	pid := p.pid.Load()
	if pid == nil {
		// The topic's actor has yet to begin it; it hands on what comes first.
		p.topic.env.Send(p.topic.pid.Load(), &partitionMail{p, f})
		return
	}
	p.topic.env.Send(pid, f)
}

// unreadable tells why reading stops at an offset.
func (p *partitionPath) unreadable(offset, end int64, err error) {
	emit, topic := p.topic.env.Events.emit, p.topic.name
	switch {
	case errors.Is(err, messages.ErrLogRolledBack):
		emit(messages.LogRolledBack{Topic: topic, Partition: p.p, Position: offset, End: end})
	case errors.Is(err, messages.ErrCorrupt):
		var fault *commitlog.CorruptError
		if errors.As(err, &fault) {
			offset = max(offset, fault.Base)
		}
		emit(messages.BatchCorrupt{Topic: topic, Partition: p.p, Offset: offset, Err: err})
	}
}

// delayed tells that etcd does not answer a read.
func (p *partitionPath) delayed(err error) {
	p.topic.env.Events.emit(messages.ReadDelayed{Topic: p.topic.name, Partition: p.p, Err: err})
}

// join counts a reader, and has the index followed for the first of the topic.
func (p *partitionPath) join() {
	p.readers.Add(1)
	p.topic.env.Send(p.topic.pid.Load(), &readerCame{})
}

// leave ends what join began, and withdraws the reader's request.
func (p *partitionPath) leave(reader any) {
	p.readers.Add(-1)
	if pid := p.pid.Load(); pid != nil {
		p.topic.env.Send(pid, &readerLeft{reader})
	}
}

// stats is what this process put into the topic.
func (t *topicPath) stats() messages.TopicStats {
	s := messages.TopicStats{Topic: t.name}
	for _, part := range t.used() {
		n := part.acc.Counters()
		s.Records += n.Records
		s.Bytes += n.Bytes
		s.Appends += n.Appends
		s.Committed += n.Committed
		s.Failed += n.Failed
		s.QueuedBytes += n.Queued
	}
	return s
}

// settle waits for what was put, or gives it up when ctx ends. Nothing more is
// taken.
func (t *topicPath) settle(ctx context.Context) error {
	t.refuse(messages.ErrClosed)
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
	t.env.Events.emit(messages.Abandoned{Destination: t.name, Count: left, Cause: cause})
	return &messages.AbandonedError{Messages: left, Where: "topic " + t.name, Err: cause}
}
