package systems

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/semaphore"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// etcd alone: single puts of records, and puts of the blocks that records are packed in.

func client(at side.Place) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{at.Address}})
}

// errNot is the error of what a system has no way to do.
var errNot = errors.New("this system cannot do that")

// puts writes one key for each record.
type puts struct {
	*clientv3.Client
	log string
	n   int
}

func putEtcd(_ context.Context, at side.Place) (side.Putter, error) {
	c, err := client(at)
	if err != nil {
		return nil, err
	}
	return &puts{Client: c}, nil
}

func (p *puts) Create(_ context.Context, log string) error {
	p.log, p.n = log, 0
	return nil
}

func (p *puts) Put(ctx context.Context, record []byte) error {
	p.n++
	_, err := p.Client.Put(ctx, fmt.Sprintf("/%s/%020d", p.log, p.n), string(record))
	return err
}

func (*puts) PutAsync(context.Context, []byte) error   { return errNot }
func (*puts) PutBatch(context.Context, [][]byte) error { return errNot }

// Flush has nothing to wait for, and looks whether all keys are there.
func (p *puts) Flush(ctx context.Context) error {
	got, err := p.Get(ctx, "/"+p.log+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err == nil && got.Count != int64(p.n) {
		err = fmt.Errorf("etcd has %d of %d keys", got.Count, p.n)
	}
	return err
}

// The blocks are as large as the batches of topics, and several are on their way at once:
// as many as etcd is fastest with.
const (
	blockSize = 512 << 10
	atOnce    = 8
)

// blocks packs records, and writes a key for each block.
type blocks struct {
	puts
	buf      []byte
	onTheWay *semaphore.Weighted
	failed   chan error // the first
}

func putBlocks(_ context.Context, at side.Place) (side.Putter, error) {
	c, err := client(at)
	if err != nil {
		return nil, err
	}
	return &blocks{puts: puts{Client: c}, onTheWay: semaphore.NewWeighted(atOnce), failed: make(chan error, 1)}, nil
}

func (b *blocks) PutAsync(ctx context.Context, record []byte) error {
	if len(b.buf)+4+len(record) > blockSize {
		if err := b.write(ctx); err != nil {
			return err
		}
	}
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(len(record)))
	b.buf = append(b.buf, record...)
	return nil
}

// write has the block at hand on its way.
func (b *blocks) write(ctx context.Context) error {
	if err := b.onTheWay.Acquire(ctx, 1); err != nil {
		return err
	}
	b.n++
	key, value := fmt.Sprintf("/%s/%020d", b.log, b.n), string(b.buf)
	b.buf = b.buf[:0]
	go func() {
		defer b.onTheWay.Release(1)
		if _, err := b.Client.Put(ctx, key, value); err != nil {
			select {
			case b.failed <- err:
			default:
			}
		}
	}()
	return nil
}

func (b *blocks) Flush(ctx context.Context) error {
	if len(b.buf) > 0 {
		if err := b.write(ctx); err != nil {
			return err
		}
	}
	if err := b.onTheWay.Acquire(ctx, atOnce); err != nil {
		return err
	}
	b.onTheWay.Release(atOnce)
	select {
	case err := <-b.failed:
		return err
	default:
		return nil
	}
}

func (b *blocks) Put(ctx context.Context, record []byte) error {
	return errors.Join(b.PutAsync(ctx, record), b.Flush(ctx))
}

func (b *blocks) PutBatch(ctx context.Context, records [][]byte) error {
	for _, r := range records {
		if err := b.PutAsync(ctx, r); err != nil {
			return err
		}
	}
	return b.Flush(ctx)
}

// blockReader ranges over the keys.
type blockReader struct{ *clientv3.Client }

func consumeBlocks(_ context.Context, at side.Place) (side.Consumer, error) {
	c, err := client(at)
	if err != nil {
		return nil, err
	}
	return blockReader{c}, nil
}

func (r blockReader) Consume(ctx context.Context, log string, take func(int, []byte) (bool, error)) error {
	prefix := "/" + log + "/"
	for from := prefix; ; {
		got, err := r.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(16))
		if err != nil {
			return err
		}
		for _, kv := range got.Kvs {
			for rest := kv.Value; len(rest) >= 4; {
				n := int(binary.LittleEndian.Uint32(rest))
				if n > len(rest)-4 {
					return fmt.Errorf("block %s is cut off", kv.Key)
				}
				if last, err := take(0, rest[4:4+n]); last || err != nil {
					return err
				}
				rest = rest[4+n:]
			}
			from = string(kv.Key) + "\x00"
		}
		if !got.More {
			return nil
		}
	}
}

// The way of first attempts at a log in etcd: a key for each partition, which each record
// overwrites, and an operation for each record. Transactions hold the next record of many
// partitions, and several are on their way, each with partitions of its own.
const (
	lanes    = 4
	perLane  = 32
	toyAhead = 4096
)

// ToyPartitions is how many partitions it has.
const ToyPartitions = lanes * perLane

type toy struct {
	*clientv3.Client
	log    string
	n      uint64
	lanes  [lanes]chan []byte
	over   chan error // the end of each lane
	begun  bool
	failed error
}

func putToy(_ context.Context, at side.Place) (side.Putter, error) {
	c, err := client(at)
	if err != nil {
		return nil, err
	}
	return &toy{Client: c}, nil
}

func (t *toy) Create(_ context.Context, log string) error {
	t.log, t.n = log, 0
	return nil
}

func (t *toy) begin(ctx context.Context) {
	t.over, t.begun = make(chan error, lanes), true
	for i := range t.lanes {
		t.lanes[i] = make(chan []byte, toyAhead/lanes)
		go func() { t.over <- t.lane(ctx, i, t.lanes[i]) }()
	}
}

func (t *toy) PutAsync(ctx context.Context, record []byte) error {
	if !t.begun {
		t.begin(ctx)
	}
	// Records in turn go to all partitions of a lane before the next.
	lane := t.lanes[t.n/perLane%lanes]
	t.n++
	select {
	case lane <- bytes.Clone(record):
		return nil
	case err := <-t.over:
		t.failed, t.begun = errors.Join(errors.New("a lane ended"), err), false
		return t.failed
	}
}

// lane puts records, the next of each of its partitions in one transaction.
func (t *toy) lane(ctx context.Context, lane int, records <-chan []byte) error {
	for at, more := 0, true; more; {
		var ops []clientv3.Op
		var record []byte
		for record, more = <-records; more; {
			key := fmt.Sprintf("/%s/%d", t.log, lane*perLane+at)
			at = (at + 1) % perLane
			ops = append(ops, clientv3.OpPut(key, string(record)))
			if len(ops) == perLane || len(records) == 0 {
				break
			}
			record, more = <-records
		}
		if len(ops) == 0 {
			continue
		}
		if _, err := t.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (t *toy) Flush(context.Context) error {
	if !t.begun {
		return t.failed
	}
	t.begun = false
	for _, lane := range t.lanes {
		close(lane)
	}
	err := t.failed
	for range t.lanes {
		err = errors.Join(err, <-t.over)
	}
	return err
}

func (t *toy) Put(ctx context.Context, record []byte) error {
	return errors.Join(t.PutAsync(ctx, record), t.Flush(ctx))
}

func (t *toy) PutBatch(ctx context.Context, records [][]byte) error {
	for _, r := range records {
		if err := t.PutAsync(ctx, r); err != nil {
			return err
		}
	}
	return t.Flush(ctx)
}

// toyReader watches the keys from their first revision.
type toyReader struct{ *clientv3.Client }

func consumeToy(_ context.Context, at side.Place) (side.Consumer, error) {
	c, err := client(at)
	if err != nil {
		return nil, err
	}
	return toyReader{c}, nil
}

func (r toyReader) Consume(ctx context.Context, log string, take func(int, []byte) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prefix := "/" + log + "/"
	for got := range r.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := got.Err(); err != nil {
			return err
		}
		for _, e := range got.Events {
			partition, err := strconv.Atoi(strings.TrimPrefix(string(e.Kv.Key), prefix))
			if err != nil {
				return err
			}
			if last, err := take(partition, e.Kv.Value); last || err != nil {
				return err
			}
		}
	}
	return errors.New("the watch ended")
}
