package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Redis Streams: a redis-server with an append-only file, pipelined XADD, a consumer group
// that reads many at a time and acknowledges them together.

const (
	redisAhead = 4096 // XADDs without a reply
	redisRead  = 1000 // records in an XREADGROUP
	redisField = "v"
)

type redisServer struct {
	cmd     *exec.Cmd
	dir     string
	address string
	client  redis.Conn
}

// redisBroker syncs the append-only file as its setting says.
func redisBroker(appendfsync string) func(context.Context) (side.Broker, error) {
	return func(ctx context.Context) (_ side.Broker, err error) {
		program, err := exec.LookPath("redis-server")
		if err != nil {
			return nil, fmt.Errorf("%w: there is no redis-server on PATH: apt-get install redis-server", side.ErrMissing)
		}
		s := &redisServer{}
		defer func() {
			if err != nil {
				err = errors.Join(fmt.Errorf("redis: %w", err), s.Close())
			}
		}()
		if s.dir, err = os.MkdirTemp("", "penstock-redis-"); err != nil {
			return nil, err
		}
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		s.cmd = exec.Command(program, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", s.dir,
			"--appendonly", "yes", "--appendfsync", appendfsync, "--save", "", "--loglevel", "warning")
		endWithParent(s.cmd)
		if err := s.cmd.Start(); err != nil {
			s.cmd = nil
			return nil, err
		}
		return s, s.connect(ctx)
	}
}

// freePort is one that was free just now.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// connect waits until the server answers.
func (s *redisServer) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for again := time.NewTicker(5 * time.Millisecond); ; {
		if s.client, err = redis.DialContext(ctx, "tcp", s.address); err == nil {
			if _, err = s.client.Do("PING"); err == nil {
				again.Stop()
				return nil
			}
			_ = s.client.Close() // it tries again
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

func (s *redisServer) Address() string { return s.address }

// CPU is what the server says of itself; 0 when it does not.
func (s *redisServer) CPU() (seconds float64) {
	info, err := redis.String(s.client.Do("INFO", "cpu"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseFloat(value, 64); err == nil && (key == "used_cpu_sys" || key == "used_cpu_user") {
			seconds += n
		}
	}
	return seconds
}

func (s *redisServer) Close() error {
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // what it stored is forgotten anyway
		_ = s.cmd.Wait()
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// redisPutter has one goroutine write what is put, as much at once as there is, and one
// read the replies.
type redisPutter struct {
	conn     redis.Conn // of the two goroutines
	sync     redis.Conn // of single calls
	log      string
	records  chan []byte
	onTheWay chan struct{} // a token for each XADD without a reply
	over     chan error    // the end of either goroutine
}

func redisPut(ctx context.Context, at side.Place) (_ side.Putter, err error) {
	p := &redisPutter{records: make(chan []byte, redisAhead), onTheWay: make(chan struct{}, redisAhead), over: make(chan error, 2)}
	if p.conn, err = redis.DialContext(ctx, "tcp", at.Address); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if p.sync, err = redis.DialContext(ctx, "tcp", at.Address); err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), p.conn.Close())
	}
	go func() { p.over <- p.write() }()
	go func() { p.over <- p.read() }()
	return p, nil
}

func (p *redisPutter) write() error {
	for record := range p.records {
		if err := p.conn.Send("XADD", p.log, "*", redisField, record); err != nil {
			return err
		}
		if len(p.records) == 0 {
			if err := p.conn.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *redisPutter) read() error {
	for {
		if _, err := p.conn.Receive(); err != nil {
			return err
		}
		<-p.onTheWay
	}
}

func (p *redisPutter) Create(_ context.Context, log string) error {
	before := p.log
	p.log = log
	if before == "" {
		return nil
	}
	_, err := p.sync.Do("DEL", before)
	return err
}

func (p *redisPutter) PutAsync(ctx context.Context, record []byte) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	p.records <- bytes.Clone(record) // has room: no more are on their way
	return nil
}

func (p *redisPutter) acquire(ctx context.Context) error {
	select {
	case p.onTheWay <- struct{}{}:
		return nil
	case err := <-p.over:
		return fmt.Errorf("redis: put: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Flush has nothing on its way, and looks how long the stream is.
func (p *redisPutter) Flush(ctx context.Context) error {
	for range redisAhead {
		if err := p.acquire(ctx); err != nil {
			return err
		}
	}
	for range redisAhead {
		<-p.onTheWay
	}
	return nil
}

func (p *redisPutter) Put(_ context.Context, record []byte) error {
	_, err := p.sync.Do("XADD", p.log, "*", redisField, record)
	return err
}

// PutBatch is a pipeline.
func (p *redisPutter) PutBatch(_ context.Context, records [][]byte) error {
	for _, r := range records {
		if err := p.sync.Send("XADD", p.log, "*", redisField, r); err != nil {
			return err
		}
	}
	if err := p.sync.Flush(); err != nil {
		return err
	}
	for range records {
		if _, err := p.sync.Receive(); err != nil {
			return err
		}
	}
	return nil
}

func (p *redisPutter) Close() error {
	close(p.records)
	err := errors.Join(p.conn.Close(), p.sync.Close())
	<-p.over
	<-p.over
	return err
}

type redisConsumer struct{ conn redis.Conn }

func redisConsume(ctx context.Context, at side.Place) (side.Consumer, error) {
	c, err := redis.DialContext(ctx, "tcp", at.Address)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return &redisConsumer{c}, nil
}

func (c *redisConsumer) Consume(ctx context.Context, log string, take func(int, []byte) (bool, error)) error {
	const group, me = "all", "one"
	if _, err := c.conn.Do("XGROUP", "CREATE", log, group, "0", "MKSTREAM"); err != nil {
		return err
	}
	ids := redis.Args{}.Add(log, group)
	for ctx.Err() == nil {
		// The acknowledgements of the records before go with the next request.
		acks := len(ids) - 2
		if acks > 0 {
			if err := c.conn.Send("XACK", ids...); err != nil {
				return err
			}
		}
		if err := c.conn.Send("XREADGROUP", "GROUP", group, me, "COUNT", redisRead, "BLOCK", 100, "STREAMS", log, ">"); err != nil {
			return err
		}
		if err := c.conn.Flush(); err != nil {
			return err
		}
		if acks > 0 {
			if n, err := redis.Int(c.conn.Receive()); err != nil || n != acks {
				return errors.Join(fmt.Errorf("redis: %d of %d records are acknowledged", n, acks), err)
			}
		}
		records, err := readReply(c.conn.Receive())
		if err != nil {
			return err
		}
		ids = redis.Args{}.Add(log, group)
		for _, r := range records {
			last, err := take(0, r.value)
			if err != nil {
				return err
			}
			if ids = append(ids, r.id); last {
				n, err := redis.Int(c.conn.Do("XACK", ids...))
				if err == nil && n != len(ids)-2 {
					err = fmt.Errorf("%d of the last %d records are acknowledged", n, len(ids)-2)
				}
				return err
			}
		}
	}
	return context.Cause(ctx)
}

// entry is a record of a stream.
type entry struct {
	id    string
	value []byte
}

// readReply is what an XREADGROUP of one stream has; nothing when its time was over.
func readReply(reply any, err error) (out []entry, _ error) {
	streams, err := redis.Values(reply, err)
	if errors.Is(err, redis.ErrNil) {
		return nil, nil
	}
	if err != nil || len(streams) != 1 {
		return nil, fmt.Errorf("redis: read: %d streams, %w", len(streams), err)
	}
	stream, err := redis.Values(streams[0], nil)
	if err != nil || len(stream) != 2 {
		return nil, fmt.Errorf("redis: read: a stream of %d parts, %w", len(stream), err)
	}
	entries, err := redis.Values(stream[1], nil)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		parts, err := redis.Values(e, nil)
		if err != nil || len(parts) != 2 {
			return nil, fmt.Errorf("redis: read: a record of %d parts, %w", len(parts), err)
		}
		id, err := redis.String(parts[0], nil)
		if err != nil {
			return nil, err
		}
		fields, err := redis.ByteSlices(parts[1], nil)
		if err != nil || len(fields) != 2 {
			return nil, fmt.Errorf("redis: read: a record of %d fields, %w", len(fields), err)
		}
		out = append(out, entry{id, fields[1]})
	}
	return out, nil
}

func (c *redisConsumer) Close() error { return c.conn.Close() }
