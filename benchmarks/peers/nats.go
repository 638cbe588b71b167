package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

// NATS core: a server, a publisher, and a member of a queue group for each group, which
// is what a pipe with its groups is there.

const (
	subject = "bench"
	taken   = "taken." // and the group: the weight of what it has had

	// ahead is how many messages, and aheadBytes how many bytes, the publisher may be
	// ahead of the slowest group: as many as a pipe's queue holds. NATS has no such bound:
	// what a slow member does not take in time is dropped with its connection. So members
	// tell the publisher how far they are, eight times in each such window.
	ahead      = 65536
	aheadBytes = 64 << 20

	// flushed is how long the server may take to answer.
	flushed = 20 * time.Second
)

// weight is what a message of a size takes of aheadBytes.
func weight(size int) uint64 { return uint64(max(size, aheadBytes/ahead)) }

type natsServer struct{ *server.Server }

func (s natsServer) Address() string { return s.ClientURL() }

func (natsServer) CPU() float64 { return 0 }

func (s natsServer) Close() error {
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// serveNATS starts a server on a free port.
func serveNATS(ctx context.Context, opts *server.Options) (side.Broker, error) {
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	s.Start()
	wait := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	if !s.ReadyForConnections(wait) {
		return nil, errors.Join(fmt.Errorf("nats: the server was not ready within %s", wait), natsServer{s}.Close())
	}
	return natsServer{s}, nil
}

func natsBroker(ctx context.Context) (side.Broker, error) {
	return serveNATS(ctx, &server.Options{MaxPending: 1 << 30})
}

type natsMembers []*nats.Conn

// natsReceive has a connection for each group, as members in services of their own have.
func natsReceive(_ context.Context, at side.Place, to []*side.Receiver) (_ side.Receiving, err error) {
	var m natsMembers
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("nats: %w", err), m.Close())
		}
	}()
	for i, r := range to {
		c, err := nats.Connect(at.Address)
		if err != nil {
			return nil, err
		}
		m = append(m, c)
		var had, told uint64
		sub, err := c.QueueSubscribe(subject, systems.GroupName(i), func(msg *nats.Msg) {
			r.Take(msg.Data)
			if had += weight(len(msg.Data)); had-told >= aheadBytes/8 {
				told = had
				_ = c.Publish(taken+strconv.Itoa(i), binary.LittleEndian.AppendUint64(nil, had)) // else the publisher stalls, and the run fails
			}
		})
		if err != nil {
			return nil, err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return nil, err
		}
		if err := c.FlushTimeout(flushed); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (natsMembers) Address() string { return "" }

func (m natsMembers) Close() error {
	for _, c := range m {
		c.Close()
	}
	return nil
}

type natsPublisher struct {
	*nats.Conn
	sent  uint64
	taken []atomic.Uint64 // by group
	room  chan struct{}   // holds one token: taken has moved
}

func natsSend(_ context.Context, at side.Place) (side.Sender, error) {
	c, err := nats.Connect(at.Address)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	p := &natsPublisher{Conn: c, taken: make([]atomic.Uint64, max(1, at.Groups)), room: make(chan struct{}, 1)}
	_, err = c.Subscribe(taken+"*", func(m *nats.Msg) {
		group, err := strconv.Atoi(strings.TrimPrefix(m.Subject, taken))
		if err != nil || group >= len(p.taken) || len(m.Data) != 8 {
			return
		}
		p.taken[group].Store(binary.LittleEndian.Uint64(m.Data))
		select {
		case p.room <- struct{}{}:
		default:
		}
	})
	if err == nil {
		err = c.FlushTimeout(flushed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nats: %w", err), p.Close())
	}
	return p, nil
}

func (p *natsPublisher) Send(ctx context.Context, body []byte) error {
	for p.sent-p.slowest() >= aheadBytes {
		select {
		case <-p.room:
		case <-ctx.Done():
			return fmt.Errorf("nats: publish: %w", context.Cause(ctx))
		}
	}
	p.sent += weight(len(body))
	return p.Publish(subject, body)
}

// slowest is the weight of what the slowest group has had.
func (p *natsPublisher) slowest() uint64 {
	least := p.taken[0].Load()
	for i := range p.taken {
		least = min(least, p.taken[i].Load())
	}
	return least
}

func (p *natsPublisher) Push() error { return nil }

// Flush waits until the server has everything: core NATS acknowledges nothing else.
func (p *natsPublisher) Flush(context.Context) (bool, error) {
	return false, p.FlushTimeout(flushed)
}

func (p *natsPublisher) Close() error {
	p.Conn.Close()
	return nil
}
