package groups

// What a caller holds of a place in a consumer group. The handle outlives the
// actors behind it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/topics/internal/peers"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Subscription is a place in a topic's consumer group. It is safe for concurrent
// use; one loop, Poll or Consume reads at a time.
type Subscription struct {
	env         *topiclog.Env
	peers       *peers.Peers
	path        *topiclog.Topic
	cfg         Config
	buffer      *prefetch.Buffer
	receives    *tracing.Receives // nil while tracing is off
	incarnation string
	since       time.Time
	pid         atomic.Pointer[actor.PID]
	listed      atomic.Pointer[[]string]         // where the member's key says that its process is found
	written     atomic.Bool                      // the member's key is the registry's to keep
	began       atomic.Pointer[format.Beginning] // where the group did; set before written
	announced   atomic.Bool                      // who subscribed was told
	gone        atomic.Bool                      // Unsubscribed was told
	removal     node.Removal
	wait        node.KeyWait
	role        node.Role

	async   asyncCommits
	shared  *shares         // nil unless the group is shared
	expired *usercode.Calls // of RecordExpired; nil for none

	mu        sync.Mutex
	consuming *prefetch.Consumption
	leaving   leaveState
	leavers   []*actor.PID // who wait for the drain
}

// leaveState says whether somebody has asked for the end.
type leaveState uint8

const (
	staying leaveState = iota
	askedToLeave
)

// begin says that the runtime is to be a member.
func (s *Subscription) begin() {
	s.role.Kind, s.role.Of, s.role.Group, s.role.ID = node.RoleSubscription, s.cfg.Topic, s.cfg.Group, s.cfg.ID
	s.role.Has = func() int { _, owned, _ := s.buffer.Stats(); return owned }
	s.env.Roles.Begin(&s.role)
}

// left tells, once, that the subscription ended.
func (s *Subscription) left() {
	if s.gone.CompareAndSwap(false, true) {
		s.env.Events.Emit(messages.Unsubscribed{Topic: s.cfg.Topic, Group: s.cfg.Group, Member: s.cfg.ID})
	}
}

func (s *Subscription) addLeaver(pid *actor.PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = askedToLeave
	if pid != nil {
		s.leavers = append(s.leavers, pid)
	}
}

func (s *Subscription) takeLeavers() []*actor.PID {
	s.mu.Lock()
	defer s.mu.Unlock()
	leavers := s.leavers
	s.leavers = nil
	return leavers
}

func (s *Subscription) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving == askedToLeave
}

// ID returns the member's id in its group.
func (s *Subscription) ID() string { return s.cfg.ID }

// PID returns the subscription's actor.
func (s *Subscription) PID() *actor.PID { return s.pid.Load() }

// Partitions is penstock.Subscription.Partitions.
func (s *Subscription) Partitions() []int { return s.buffer.Partitions() }

// Records is penstock.Subscription.Records.
func (s *Subscription) Records(ctx context.Context) iter.Seq2[messages.Record, error] {
	if err := node.ContextGiven(ctx); err != nil {
		return func(yield func(messages.Record, error) bool) { yield(messages.Record{}, err) }
	}
	if s.shared != nil {
		return s.receives.Records(ctx, s.borrowed(ctx))
	}
	return s.receives.Records(ctx, s.buffer.Records(ctx))
}

// Poll is penstock.Subscription.Poll.
func (s *Subscription) Poll(ctx context.Context, limit int) ([]messages.Record, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	began := s.receives.Now()
	var recs []messages.Record
	var err error
	if s.shared != nil {
		b, _ := s.shared.ends()
		if recs, err = b.Poll(ctx, limit); err != nil {
			err = s.why(ctx, err)
		}
	} else {
		recs, err = s.buffer.Poll(ctx, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("poll group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	s.receives.PolledRecords(ctx, began, recs)
	return recs, nil
}

// Release is penstock.Subscription.Release.
func (s *Subscription) Release() error {
	if s.shared != nil {
		b, _ := s.shared.ends()
		b.Release()
		return nil
	}
	if err := s.buffer.ReleasePolled(); err != nil {
		return fmt.Errorf("release in group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return nil
}

// Consume is penstock.Subscription.Consume.
func (s *Subscription) Consume(ctx context.Context, handler messages.RecordHandler) error {
	if err := errors.Join(node.ContextGiven(ctx), node.HandlerGiven(handler == nil)); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	handler, err := chain.Wrap(handler, s.env.Tracing.Records(s.cfg.Topic, s.cfg.Group, s.cfg.Use))
	if err != nil {
		return fmt.Errorf("consume group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	if s.shared != nil {
		return s.consumeBorrowed(ctx, handler)
	}
	return s.consume(ctx, func(ctx context.Context) *prefetch.Consumption {
		return prefetch.NewConsumption(ctx, s.buffer, handler)
	})
}

// ConsumeBatches is Consume with up to most records of a partition at once, of those
// that one append brought to the log.
func (s *Subscription) ConsumeBatches(ctx context.Context, most int, handler messages.RecordsHandler) error {
	if err := errors.Join(node.ContextGiven(ctx), node.HandlerGiven(handler == nil)); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if err := s.refuses("ConsumeBatches", "use Consume with Concurrency, or Poll"); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if most < 1 {
		return fmt.Errorf("consume %d records at once: %w", most, messages.ErrInvalid)
	}
	if s.cfg.Concurrency > 0 {
		return fmt.Errorf("consume group %q of %q in batches with Concurrency: a batch is records of a partition in order; use PartitionsAtOnce: %w", s.cfg.Group, s.cfg.Topic, messages.ErrInvalid)
	}
	return s.consume(ctx, func(ctx context.Context) *prefetch.Consumption {
		return prefetch.NewBatches(ctx, s.buffer, most, s.env.Tracing.Batches(s.cfg.Topic, s.cfg.Group, handler))
	})
}

// consume has a consumption run to its end.
func (s *Subscription) consume(ctx context.Context, begin func(context.Context) *prefetch.Consumption) error {
	if err := s.buffer.Begin(); err != nil {
		if errors.Is(err, messages.ErrClosed) {
			return s.buffer.Cause()
		}
		return fmt.Errorf("consume group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	defer s.buffer.Finish()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := begin(ctx)
	s.setConsumption(c)
	defer s.setConsumption(nil)
	if s.buffer.IsOver() {
		c.Finish() // it ended before it could know of c
	}
	s.env.Send(s.pid.Load(), &consumeRecords{c})
	c.Wait(s.cfg.RevokeTimeout, s.cfg.ID)
	if err := s.buffer.Cause(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *Subscription) setConsumption(c *prefetch.Consumption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consuming = c
}

func (s *Subscription) consumption() *prefetch.Consumption {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.consuming
}

// end lets loops and Consume return: the actor behind them is gone. cause is why
// when nobody had asked for it.
func (s *Subscription) end(cause error) {
	s.buffer.Leave(prefetch.Left, cause)
	if s.shared != nil {
		for _, c := range s.buffer.Claims() { // of an actor that was stopped from outside
			s.shared.recall(c)
		}
		s.shared.abandon()
	}
	s.async.close(fmt.Errorf("%s: %w", s.committing(), cmp.Or(s.buffer.Cause(), messages.ErrClosed)))
	if c := s.consumption(); c != nil {
		c.Finish()
	}
}

// Seek is penstock.Subscription.Seek.
func (s *Subscription) Seek(ctx context.Context, partition int, to messages.Start) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	if err := s.refuses("Seek", "use ResetOffsets while the group has no members"); err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	_, err := supervisor.Ask[*sought](ctx, s.env.System, s.pid.Load(), &seekIn{partition, to})
	if errors.Is(err, supervisor.ErrNoActor) {
		err = cmp.Or(s.buffer.Cause(), messages.ErrClosed)
	}
	if err = node.Restarted(err); err != nil {
		return fmt.Errorf("seek in group %q of %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return nil
}

// Pause is penstock.Subscription.Pause.
func (s *Subscription) Pause(partitions ...int) {
	if s.shared != nil {
		b, _ := s.shared.ends()
		b.Pause()
		return
	}
	s.buffer.Pause(partitions...)
}

// Resume is penstock.Subscription.Resume.
func (s *Subscription) Resume(partitions ...int) {
	if s.shared != nil {
		b, _ := s.shared.ends()
		b.Resume()
		return
	}
	s.buffer.Resume(partitions...)
}

// Lag is penstock.Subscription.Lag.
func (s *Subscription) Lag(ctx context.Context) (messages.GroupInfo, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("lag: %w", err)
	}
	if err := s.path.Ended(); err != nil {
		return messages.GroupInfo{}, fmt.Errorf("lag of group %q in %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return s.env.Log.DescribeGroup(ctx, s.path.Info(), s.cfg.Group)
}

// Unsubscribe is penstock.Subscription.Unsubscribe.
func (s *Subscription) Unsubscribe(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	if err := s.env.Runs.Refuse(ctx, fmt.Sprintf("unsubscribe %q from %q", s.cfg.Group, s.cfg.Topic), s.waitsFor); err != nil {
		s.buffer.Leave(prefetch.Leaving, nil) // the caller gets no other record
		s.env.Send(s.pid.Load(), &leaveUnasked{})
		return err
	}
	defer s.role.Forget()
	end, cancel := supervisor.Grace(ctx, node.LastGrace)
	defer cancel()
	err := s.drain(ctx)
	if werr := s.env.Withdraw(end, &withdraw{s}, &s.removal); werr != nil {
		return errors.Join(err, fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, werr))
	}
	waiting, done := worker.WithinGrace(end)
	defer done()
	err = errors.Join(err, s.async.over(waiting), s.closeShared(waiting))
	if s.expired != nil {
		err = errors.Join(err, s.expired.Flushed(waiting))
	}
	if s.cfg.Letters != nil {
		err = errors.Join(err, s.cfg.Letters.Close(waiting))
	}
	s.left()
	return err
}

// drain finishes and releases everything, or gives up when ctx ends.
func (s *Subscription) drain(ctx context.Context) error {
	began := time.Now()
	var left error
	if s.shared != nil {
		left = s.shared.leave(ctx)
	}
	_, err := node.InsistOn[*drained](ctx, s.env.Node, s.pid.Load(), &drain{})
	switch {
	case err == nil && left != nil:
		return fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, left)
	case errors.Is(err, supervisor.ErrNoActor):
		return nil
	case err != nil && ctx.Err() == nil:
		return fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, err)
	case err != nil:
		return fmt.Errorf("unsubscribe %q from %q: not everything was released after %s: %w",
			s.cfg.Group, s.cfg.Topic, time.Since(began).Round(time.Millisecond), context.Cause(ctx))
	}
	return nil
}

// Stats is penstock.Subscription.Stats.
func (s *Subscription) Stats() messages.SubscriptionStats {
	n, partitions, bytes := s.buffer.Stats()
	lag, age := s.buffer.Lag(time.Now(), s.path.End)
	return messages.SubscriptionStats{
		Topic: s.cfg.Topic, Group: s.cfg.Group, Member: s.cfg.ID,
		SubscriptionCounters: n, Partitions: partitions, FetchedBytes: bytes, Lag: lag, LagAge: age,
		Lent: s.lent(),
	}
}

// The function given to RecordExpired is called apart from the readers, so that one that
// blocks holds up nothing but the calls behind it.

// tellsExpired makes the queue of the calls.
func (s *Subscription) tellsExpired() *usercode.Calls {
	of := fmt.Sprintf("RecordExpired of group %q of %q", s.cfg.Group, s.cfg.Topic)
	return usercode.NewCalls("the callbacks of "+of, s.env.Call, usercode.PanicTeller(s.env.Events.Emit, of))
}

// tellExpired queues a call. It reports whether there was room.
func (s *Subscription) tellExpired(r messages.Record) bool {
	m := r.Message()
	return s.expired.Offer(func() { s.cfg.Expired(context.Background(), r) }, messages.PayloadSize(&m))
}

// waitsFor reports whether the end of the subscription waits for a run of user code.
func (s *Subscription) waitsFor(c *usercode.Run) bool {
	return c.Of == s.buffer || s.shared.reads(c) || s.expired != nil && c.Of == s.expired
}
