package topiclog

// Who appends to a partition: its loop, or a transaction. They share an appender, which
// knows where the partition ends and has its place among the appenders of others.

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// turn is the right to append, first come, first served. Who wants several takes them in
// the order of the partitions' keys, so nobody waits for each other.
type turn struct {
	held     chan struct{} // full while somebody has it
	appender *commitlog.Appender
}

// take waits for the turn until ctx ends, whose cause it returns.
func (t *turn) take(ctx context.Context) error {
	select {
	case t.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *turn) free() { <-t.held }

func (p *Partition) newAppender() *commitlog.Appender {
	env, where := p.Topic.Env, p.Topic.Name
	return p.Log.Appender(commitlog.AppenderConfig{
		Producer: p.acc.Producer(),
		Info:     p.Topic.Current.Load,
		Lease:    func() clientv3.LeaseID { return clientv3.LeaseID(env.Lease.Load()) },
		Expires:  env.WantKeeper,
		Delayed:  func(err error) { env.Events.Emit(messages.AppendDelayed{Topic: where, Partition: p.P, Err: err}) },
	})
}

// renew makes another appender: what an incarnation that failed has left of it is not to
// be trusted.
func (p *Partition) renew(ctx context.Context) error {
	if err := p.turn.take(ctx); err != nil {
		return err
	}
	defer p.turn.free()
	p.turn.appender = p.newAppender()
	return nil
}

// append is what the loop appends with.
func (p *Partition) append(ctx context.Context, s *format.Sealed, more bool) (int64, error) {
	if err := p.turn.take(ctx); err != nil {
		return 0, err
	}
	defer p.turn.free()
	return p.turn.appender.Append(ctx, s, more)
}

// back shows s the log backwards from its end, to learn which ids are there. It waits for
// an etcd that is away until ctx ends.
func (p *Partition) back(ctx context.Context, doubt bool, s produce.Sight) error {
	env, where := p.Topic.Env, p.Topic.Name
	return Retry(ctx, func(err error) {
		env.Events.Emit(messages.AppendDelayed{Topic: where, Partition: p.P, Err: err})
	}, func() error {
		if err := p.turn.take(ctx); err != nil {
			return err
		}
		defer p.turn.free()
		return p.turn.appender.Back(ctx, doubt, s)
	})
}

// leaveQueue gives up the place in the queue of appenders; otherwise they would
// wait for it, once.
func (p *Partition) leaveQueue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
	defer cancel()
	if p.turn.take(ctx) == nil {
		defer p.turn.free()
		_ = p.turn.appender.Leave(ctx)
	}
}
