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

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// NATS JetStream: a stream in a file store, asynchronous publishing, a durable pull
// consumer that acknowledges each record.

const (
	pending      = 4096             // publishes without an acknowledgement: from 1,000 on more is not faster
	synced       = 512              // the same where each is synced, one after the other
	fetched      = 4096             // records asked for ahead: the same
	fetchedBytes = 16 << 20         // bytes of them: from 64 MiB on the client drops records, and gets them again after 30 s
	stall        = 30 * time.Second // how long a publish waits for room among the pending; as long as it takes
)

type jetstreamServer struct {
	side.Broker
	dir string
}

// jetstreamBroker syncs each write to disk, or every two minutes, which is the default.
func jetstreamBroker(always bool) func(context.Context) (side.Broker, error) {
	return func(ctx context.Context) (side.Broker, error) {
		dir, err := os.MkdirTemp("", "penstock-jetstream-")
		if err != nil {
			return nil, err
		}
		b, err := serveNATS(ctx, &server.Options{JetStream: true, StoreDir: dir, SyncAlways: always})
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		return jetstreamServer{b, dir}, nil
	}
}

func (s jetstreamServer) Close() error {
	return errors.Join(s.Broker.Close(), os.RemoveAll(s.dir))
}

type streamClient struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

func connect(at side.Place, ahead int) (streamClient, error) {
	conn, err := nats.Connect(at.Address)
	if err != nil {
		return streamClient{}, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(ahead))
	if err != nil {
		conn.Close()
	}
	return streamClient{conn, js}, err
}

func (c streamClient) Close() error {
	c.conn.Close()
	return nil
}

type streamPutter struct {
	streamClient
	stream jetstream.Stream // nil before the first
	name   string
	count  uint64
}

// jetstreamPut publishes with so many on their way.
func jetstreamPut(ahead int) func(context.Context, side.Place) (side.Putter, error) {
	return func(_ context.Context, at side.Place) (side.Putter, error) {
		c, err := connect(at, ahead)
		if err != nil {
			return nil, fmt.Errorf("jetstream: %w", err)
		}
		return &streamPutter{streamClient: c}, nil
	}
}

func (p *streamPutter) Create(ctx context.Context, log string) (err error) {
	if p.stream != nil {
		if err := p.js.DeleteStream(ctx, p.name); err != nil {
			return err
		}
	}
	p.name, p.count = log, 0
	p.stream, err = p.js.CreateStream(ctx, jetstream.StreamConfig{Name: log, Subjects: []string{log}, Storage: jetstream.FileStorage})
	return err
}

func (p *streamPutter) PutAsync(_ context.Context, record []byte) error {
	_, err := p.async(record)
	return err
}

func (p *streamPutter) async(record []byte) (jetstream.PubAckFuture, error) {
	p.count++
	f, err := p.js.PublishAsync(p.name, record, jetstream.WithStallWait(stall))
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return f, nil
}

// Flush waits for the acknowledgements. What failed is missing in the stream.
func (p *streamPutter) Flush(ctx context.Context) error {
	select {
	case <-p.js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", context.Cause(ctx))
	}
	info, err := p.stream.Info(ctx)
	if err == nil && info.State.Msgs != p.count {
		err = fmt.Errorf("the stream has %d records, %d were put", info.State.Msgs, p.count)
	}
	return err
}

func (p *streamPutter) Put(ctx context.Context, record []byte) error {
	p.count++
	_, err := p.js.Publish(ctx, p.name, record)
	return err
}

func (p *streamPutter) PutBatch(ctx context.Context, records [][]byte) error {
	futures := make([]jetstream.PubAckFuture, len(records))
	for i, r := range records {
		var err error
		if futures[i], err = p.async(r); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("publish: %w", context.Cause(ctx))
		}
	}
	return nil
}

type streamConsumer struct{ streamClient }

func jetstreamConsume(_ context.Context, at side.Place) (side.Consumer, error) {
	c, err := connect(at, pending)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return streamConsumer{c}, nil
}

func (c streamConsumer) Consume(ctx context.Context, log string, take func(int, []byte) (bool, error)) error {
	consumer, err := c.js.CreateConsumer(ctx, log, jetstream.ConsumerConfig{
		Durable: "all", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1 << 20,
	})
	if err != nil {
		return err
	}
	count := uint64(0)
	over := make(chan error, 1)
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		count++
		last, err := take(0, m.Data())
		switch {
		case err != nil:
		case last:
			err = m.DoubleAck(ctx) // answered when this one, behind all others, is noted
		default:
			if err = m.Ack(); err == nil {
				return
			}
		}
		select {
		case over <- err:
		default:
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(fetched, fetchedBytes))
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
	if err == nil && info.AckFloor.Stream != count {
		err = fmt.Errorf("acknowledged up to %d of %d", info.AckFloor.Stream, count)
	}
	return err
}
