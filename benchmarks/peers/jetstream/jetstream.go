package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// One stream over tcp on loopback, created again for each put.

const (
	pending = 4096             // publishes without an acknowledgement: from 1,000 on more is not faster
	fetched = 4096             // records asked for ahead: the same
	stall   = 30 * time.Second // how long a publish waits for room among the pending; as long as it takes
)

type stream struct {
	dir    string
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	made   int
	name   string // of the stream and its subject; empty before the first put
	size   int
	count  uint64
	groups int
}

func open(ctx context.Context) (_ load.Log, err error) {
	s := &stream{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start: %w", err), s.Close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "penstock-jetstream-"); err != nil {
		return nil, err
	}
	s.server, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: s.dir,
	})
	if err != nil {
		return nil, err
	}
	s.server.Start()
	wait := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	if !s.server.ReadyForConnections(wait) {
		return nil, fmt.Errorf("the server was not ready within %s", wait)
	}
	if s.conn, err = nats.Connect(s.server.ClientURL()); err != nil {
		return nil, err
	}
	s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(pending))
	return s, err
}

func (s *stream) Put(ctx context.Context, size int, count uint64) (load.Timing, error) {
	if s.name != "" {
		if err := s.js.DeleteStream(ctx, s.name); err != nil {
			return load.Timing{}, err
		}
		s.name, s.count = "", 0
	}
	s.made++
	name := fmt.Sprintf("bench-%d", s.made) // one that was just deleted may still be in the way
	st, err := s.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.FileStorage})
	if err != nil {
		return load.Timing{}, err
	}
	s.name, s.size, s.count = name, size, count
	t, err := load.Timed(count, func() error { return s.publish(ctx) })
	if err != nil {
		return t, err
	}
	info, err := st.Info(ctx)
	if err == nil && info.State.Msgs != count {
		err = fmt.Errorf("the stream has %d records, %d were put", info.State.Msgs, count)
	}
	return t, err
}

func (s *stream) publish(ctx context.Context) error {
	records := load.NewRecords(s.size)
	for i := range s.count {
		if _, err := s.js.PublishAsync(s.name, records.At(i), jetstream.WithStallWait(stall)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-s.js.PublishAsyncComplete():
		return nil // what failed is missing in the stream
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", context.Cause(ctx))
	}
}

func (s *stream) Consume(ctx context.Context) (load.Timing, error) {
	if s.count == 0 {
		return load.Timing{}, errors.New("nothing was put")
	}
	s.groups++
	return load.Timed(s.count, func() error { return s.consume(ctx, fmt.Sprintf("g%d", s.groups)) })
}

func (s *stream) consume(ctx context.Context, group string) error {
	consumer, err := s.js.CreateConsumer(ctx, s.name, jetstream.ConsumerConfig{
		Durable: group, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1 << 20,
	})
	if err != nil {
		return err
	}
	tally := load.NewTally(s.size, s.count, 1)
	over := make(chan error, 1)
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		err := tally.Take(0, m.Data())
		switch {
		case err != nil:
		case tally.Left() > 0:
			if err = m.Ack(); err == nil {
				return
			}
		default:
			err = m.DoubleAck(ctx) // answered when this one, behind all others, is noted
		}
		select {
		case over <- err:
		default:
		}
	}, jetstream.PullMaxMessages(fetched))
	if err != nil {
		return err
	}
	defer reading.Stop()
	select {
	case err := <-over:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("consume: %w", context.Cause(ctx))
	}
	info, err := consumer.Info(ctx)
	if err == nil && info.AckFloor.Stream != s.count {
		err = fmt.Errorf("acknowledged up to %d of %d", info.AckFloor.Stream, s.count)
	}
	return err
}

func (s *stream) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
