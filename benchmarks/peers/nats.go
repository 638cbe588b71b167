package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// NATS core: a server in the process, a publisher, and one member of a queue
// group, which is what a pipe with one group and one member is there.

// ahead is how many messages the publisher may be ahead of the member, as many
// as a pipe's queue holds. NATS has no such bound: what a slow member does not
// take in time is dropped with its connection, so the benchmark must keep one.
const (
	ahead      = 65536
	aheadBytes = 64 << 20
)

type queueGroup struct {
	server   *server.Server
	pub, sub *nats.Conn
	sent     uint64 // by Send alone
	taken    atomic.Uint64
	room     chan struct{} // holds one token: taken has moved
}

const subject = "bench"

func queueGroupOver(ctx context.Context, r *bench.Receiver) (_ bench.Link, err error) {
	q := &queueGroup{room: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("nats: %w", err), q.Close())
		}
	}()
	q.server, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPending: 1 << 30,
	})
	if err != nil {
		return nil, err
	}
	q.server.Start()
	wait := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	if !q.server.ReadyForConnections(wait) {
		return nil, fmt.Errorf("the server was not ready within %s", wait)
	}
	if q.pub, err = nats.Connect(q.server.ClientURL()); err != nil {
		return nil, err
	}
	if q.sub, err = nats.Connect(q.server.ClientURL()); err != nil {
		return nil, err
	}
	sub, err := q.sub.QueueSubscribe(subject, "all", func(m *nats.Msg) {
		r.Take(m.Data)
		q.taken.Add(1)
		select {
		case q.room <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	return q, q.sub.FlushWithContext(ctx)
}

func (q *queueGroup) Send(ctx context.Context, bodies *load.Bodies, from, to uint64) error {
	limit := min(ahead, uint64(aheadBytes/bodies.Size()))
	for i := from; i < to; i++ {
		for q.sent-q.taken.Load() >= limit {
			select {
			case <-q.room:
			case <-ctx.Done():
				return fmt.Errorf("nats: publish: %w", context.Cause(ctx))
			}
		}
		if err := q.pub.Publish(subject, bodies.At(i)); err != nil {
			return fmt.Errorf("nats: publish: %w", err)
		}
		q.sent++
	}
	return nil
}

// Settle has nothing to wait for: core NATS acknowledges nothing.
func (q *queueGroup) Settle(context.Context) (bool, error) { return false, nil }

func (q *queueGroup) Close() error {
	for _, c := range []*nats.Conn{q.pub, q.sub} {
		if c != nil {
			c.Close()
		}
	}
	if q.server != nil {
		q.server.Shutdown()
		q.server.WaitForShutdown()
	}
	return nil
}
