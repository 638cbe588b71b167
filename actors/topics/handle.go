package topics

// What a caller holds of a topic, to put and read with. The handle outlives the
// actors behind it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Topic is an open topic. It is safe for concurrent use.
type Topic struct {
	topics   *Topics
	path     *topiclog.Topic
	producer *produce.Producer
	use      *chain.Sends      // middleware; nil for none
	receives *tracing.Receives // of Read; nil while tracing is off
	latest   latest
	released atomic.Bool // the path is told that this handle does not use it
}

func newHandle(topics *Topics, path *topiclog.Topic, cfg ProducerConfig) (*Topic, error) {
	if err := path.Ended(); err != nil {
		return nil, err
	}
	use, err := chain.NewSends(path.Env.Tracing.Sends(tracing.Put, path.Name, cfg.Use))
	if err != nil {
		return nil, err
	}
	tell := usercode.PanicTeller(path.Env.Events.Emit, fmt.Sprintf("PutAsync to %q", path.Name))
	return &Topic{topics: topics, path: path, use: use, latest: newLatest(), receives: path.Env.Tracing.NewReceives(path.Name, ""), producer: produce.New(produce.Config{
		Partitioner: cfg.Partitioner, MaxBuffer: cfg.MaxBuffer,
		Partitions: path.Partitions, Info: path.Current.Load, At: path.Accumulator, Ending: path.Puts,
		Host: path.Env.Call,
		Panicked: func(value any, stack []byte) error {
			tell(value, stack)
			if value == nil {
				return nil
			}
			return &supervisor.PanicError{Value: value, Stack: stack}
		},
	})}, nil
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.path.Name }

// Info is penstock.Topic.Info.
func (t *Topic) Info() messages.TopicInfo { return t.path.Info() }

// PID returns the topic's actor.
func (t *Topic) PID() *actor.PID { return t.path.PID.Load() }

// Put is penstock.Topic.Put, with the error in the result.
func (t *Topic) Put(ctx context.Context, m messages.Message) messages.PutResult {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.PutResult{Partition: -1, Offset: -1, Err: fmt.Errorf("put to %q: %w", t.Name(), err)}
	}
	if t.use != nil {
		return t.use.Put(ctx, m, func(ctx context.Context, m messages.Message) messages.PutResult { return t.put(ctx, &m) })
	}
	return t.put(ctx, &m)
}

// PutTo is penstock.Topic.PutTo, with the error in the result.
func (t *Topic) PutTo(ctx context.Context, partition int, m messages.Message) messages.PutResult {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.PutResult{Partition: -1, Offset: -1, Err: fmt.Errorf("put to %q: %w", t.Name(), err)}
	}
	if t.use != nil {
		return t.use.Put(ctx, m, func(ctx context.Context, m messages.Message) messages.PutResult {
			return t.putTo(ctx, partition, &m)
		})
	}
	return t.putTo(ctx, partition, &m)
}

// PutBatch is penstock.Topic.PutBatch.
func (t *Topic) PutBatch(ctx context.Context, msgs []messages.Message) ([]messages.PutResult, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("put to %q: %w", t.Name(), err)
	}
	if t.use != nil {
		return t.putEach(ctx, msgs, t.use.Do)
	}
	return t.putEach(ctx, msgs, nil)
}

// PutAsync is penstock.Topic.PutAsync.
func (t *Topic) PutAsync(ctx context.Context, m messages.Message, done func(messages.PutResult)) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("put to %q: %w", t.Name(), err)
	}
	if t.use != nil {
		return t.takeThrough(ctx, m, done, func(ctx context.Context, m *messages.Message) error {
			return t.producer.PutAsync(ctx, m, t.timed(done))
		})
	}
	return t.producer.PutAsync(ctx, &m, t.timed(done))
}

// TryPut is penstock.Topic.TryPut.
func (t *Topic) TryPut(m messages.Message, done func(messages.PutResult)) error {
	if t.use != nil {
		return t.takeThrough(context.Background(), m, done, func(_ context.Context, m *messages.Message) error {
			return t.producer.TryPut(m, t.timed(done))
		})
	}
	return t.producer.TryPut(&m, t.timed(done))
}

// takeThrough is PutAsync or TryPut with middleware around the taking of the message.
// What was taken has the record's result, whatever the middleware returns.
func (t *Topic) takeThrough(ctx context.Context, m messages.Message, done func(messages.PutResult), take func(context.Context, *messages.Message) error) error {
	taken := false
	err := t.use.Do(ctx, m, func(ctx context.Context, m messages.Message) error {
		if taken {
			return fmt.Errorf("put to %q: a middleware called next again for a message that is taken: %w", t.Name(), messages.ErrInvalid)
		}
		err := take(ctx, &m)
		taken = err == nil
		return err
	})
	if taken {
		return nil
	}
	if err == nil && done != nil { // kept back
		done(messages.PutResult{Partition: -1, Offset: -1})
	}
	return err
}

// Flush is penstock.Topic.Flush.
func (t *Topic) Flush(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("flush topic %q: %w", t.Name(), err)
	}
	if err := t.refuse(ctx, "flush"); err != nil {
		return err
	}
	return t.producer.Flush(ctx)
}

// refuse returns messages.ErrBusy to a callback of this handle that would wait for
// itself.
func (t *Topic) refuse(ctx context.Context, what string) error {
	return t.path.Env.Runs.Refuse(ctx, fmt.Sprintf("%s topic %q", what, t.path.Name), t.producer.Calls)
}

// Close is penstock.Topic.Close.
func (t *Topic) Close(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("close topic %q: %w", t.Name(), err)
	}
	t.producer.Close()
	t.latest.close()
	if t.released.Load() {
		return nil
	}
	if err := t.refuse(ctx, "close"); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("close topic %q: %w", t.path.Name, err) }
	if err := t.producer.Decided(ctx); err != nil {
		return fail(err)
	}
	waiting, done := worker.WithinGrace(ctx)
	defer done()
	err := t.producer.Called(waiting)
	if err != nil && ctx.Err() != nil {
		return fail(err)
	}
	if t.released.CompareAndSwap(false, true) {
		t.path.Use(-1)
	}
	if err = errors.Join(err, t.producer.Heard()); err != nil {
		return fail(err)
	}
	return nil
}

// Done is closed once no handle of the topic can put any more: the topic was deleted,
// or the engine stops. Err says why.
func (t *Topic) Done() <-chan struct{} { return t.path.Puts.Over() }

// Err returns why no handle of the topic can put any more, nil before Done.
func (t *Topic) Err() error { return t.path.Puts.Why() }

// ended returns why nothing new can be begun with the handle, or nil.
func (t *Topic) ended() error { return cmp.Or(t.path.Ended(), t.producer.Closed()) }

// Read is penstock.Topic.Read.
func (t *Topic) Read(ctx context.Context, partition int, from messages.Start) iter.Seq2[messages.Record, error] {
	return t.ReadTo(ctx, partition, from, math.MaxInt64)
}

// ReadTo is penstock.Topic.ReadTo.
func (t *Topic) ReadTo(ctx context.Context, partition int, from messages.Start, end int64) iter.Seq2[messages.Record, error] {
	if err := node.ContextGiven(ctx); err != nil {
		return func(yield func(messages.Record, error) bool) { yield(messages.Record{}, err) }
	}
	return t.receives.Records(ctx, func(yield func(messages.Record, error) bool) {
		if err := t.read(ctx, partition, from, end, yield); err != nil {
			yield(messages.Record{}, fmt.Errorf("read %q, partition %d: %w", t.path.Name, partition, err))
		}
	})
}

// read yields up to an offset, or until yield has enough, which is no error.
func (t *Topic) read(ctx context.Context, p int, from messages.Start, to int64, yield func(messages.Record, error) bool) error {
	if err := t.ended(); err != nil {
		return err
	}
	part, err := t.path.Partition(p)
	if err != nil {
		return err
	}
	t.path.Use(1)
	defer t.path.Use(-1)
	delayed := func(err error) {
		t.path.Env.Events.Emit(messages.ReadDelayed{Topic: t.path.Name, Partition: p, Err: err})
	}
	var offset, base int64
	if err := topiclog.Retry(ctx, delayed, func() (err error) {
		offset, base, err = part.Log.Resolve(ctx, from)
		return err
	}); err != nil {
		return err
	}
	me := new(int) // who reads
	part.Join()
	defer part.Leave(me)
	env := t.path.Env
	history := 0
	for end := int64(0); offset < to; {
		f := &topiclog.Fetch{Reader: me, Offset: offset, Base: base, History: history}
		if offset < end {
			f.Room = tail.FetchBytes
		}
		got, err := askFetch(ctx, env, part, f)
		switch {
		case err != nil:
			return err
		case got.Err != nil:
			part.Unreadable(offset, got.End, got.Err)
			return got.Err
		case got.Trimmed > offset:
			env.Events.Emit(messages.RecordsMissed{Topic: t.path.Name, Partition: p, From: offset, To: got.Trimmed, Count: got.Trimmed - offset})
			offset, base = got.Trimmed, got.Trimmed
			continue
		}
		end, history = got.End, got.History
		if len(got.Batches) == 0 && f.Room == 0 {
			end = max(end, offset+1) // there is news
		}
		for _, b := range got.Batches {
			at, rest := b.Base, b.Raw
			for len(rest) > 0 {
				rec := messages.Record{Topic: t.path.Name, Partition: p, Offset: at, Attempt: 1}
				n, err := messages.ConsumeRecord(rest, &rec.Payload)
				if err != nil {
					part.Unreadable(at, end, err)
					return fmt.Errorf("offset %d: %w", at, err)
				}
				rest = rest[n:]
				at++
				if rec.Offset >= to {
					return nil
				}
				if rec.Offset < offset || messages.Erased(&rec.Payload) {
					continue
				}
				if rec.UnixNano == 0 {
					rec.UnixNano = b.Time
				}
				messages.ExpireBy(&rec.Payload, t.path.TTL())
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if !yield(rec, nil) {
					return nil
				}
			}
			offset, base = b.End(), b.End()
		}
	}
	return nil
}

// askFetch waits for a partition's reply. A partition that is begun again is
// asked again.
func askFetch(ctx context.Context, env *topiclog.Env, part *topiclog.Partition, f *topiclog.Fetch) (*topiclog.Fetched, error) {
	for attempt := 1; ; attempt++ {
		pid := part.PID.Load()
		var req any = f
		if pid == nil {
			pid, req = part.Topic.PID.Load(), &topiclog.PartitionMail{Part: part, Mail: f}
		}
		again := *f // its replies go elsewhere
		got, err := supervisor.Ask[*topiclog.Fetched](ctx, env.System, pid, req)
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, supervisor.ErrNoActor) && !errors.Is(err, supervisor.ErrFailed):
			return nil, err
		case part.Topic.Ended() != nil:
			return nil, part.Topic.Ended()
		}
		f = &again
		t := time.NewTimer(topiclog.EtcdRetry.Delay(attempt, rand.Float64()))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Subscribe is penstock.Topic.Subscribe or, with cfg.Partitions,
// penstock.Topic.SubscribePartitions. cfg.Topic is set here.
func (t *Topic) Subscribe(ctx context.Context, cfg groups.Config) (*groups.Subscription, error) {
	if cfg.DeadTopic == "" || cfg.DeadTopic == t.Name() {
		return t.topics.subs.Subscribe(ctx, t.path, t.ended(), cfg)
	}
	letters, err := t.topics.Ensure(ctx, cfg.DeadTopic, messages.TopicConfig{}, ProducerConfig{})
	if err != nil {
		return nil, fmt.Errorf("subscribe %q to %q: its dead letters: %w", cfg.Group, t.Name(), err)
	}
	if letters.Info().Config.Compaction == messages.CompactByKey {
		err := fmt.Errorf("subscribe %q to %q: the topic %q of its dead letters is compacted by key, which would delete those whose key comes again: %w", cfg.Group, t.Name(), cfg.DeadTopic, messages.ErrInvalid)
		return nil, errors.Join(err, letters.Close(context.WithoutCancel(ctx)))
	}
	cfg.Letters = letters
	sub, err := t.topics.subs.Subscribe(ctx, t.path, t.ended(), cfg)
	if err != nil {
		return nil, errors.Join(err, letters.Close(context.WithoutCancel(ctx)))
	}
	return sub, nil
}
