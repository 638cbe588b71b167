package benchmarks

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// What producers and consumers hold when they cannot get on.

// proxy stands between a runtime and etcd, and can hold back everything.
type proxy struct {
	net.Listener
	gate sync.RWMutex // held for writing: nothing passes
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { p.pass(in, out) })
			wg.Go(func() { p.pass(out, in) })
		}
	})
	return p
}

// pass copies one way. Either way's end is the other's.
func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.gate.RLock()
		_, err = to.Write(buf[:n])
		p.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

// A producer whose etcd does not answer takes what its buffer has room for, and
// no more memory than that and little besides: whether it had nothing to do when
// etcd went away, or was filling all partitions.
func TestStuckProducer(t *testing.T) {
	skipUnlessMeasurable(t)
	const buffer, allowed = 16 << 20, 7 << 19
	for _, test := range []struct {
		name             string
		size, partitions int
		busy             bool
		done             func(penstock.PutResult)
	}{
		{name: "64", size: 64, partitions: 4},
		{name: "64-callbacks", size: 64, partitions: 4, done: func(penstock.PutResult) {}},
		{name: "1024", size: 1 << 10, partitions: 4},
		{name: "102400", size: 100 << 10, partitions: 4},
		{name: "266240", size: 260 << 10, partitions: 4}, // half a batch, and a little
		{name: "1024-busy", size: 1 << 10, partitions: 4, busy: true},
		{name: "1024-busy-64-partitions", size: 1 << 10, partitions: 64, busy: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, etcd.Endpoints[0])
			rt, err := penstock.Start(bounded(t), penstock.Etcd(p.Addr().String()), penstock.Prefix("/"+t.Name()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := rt.Stop(ctx); err != nil {
					t.Errorf("stop: %v", err)
				}
			})
			topic := create(t, rt, "stuck", test.partitions, penstock.MaxBuffer(buffer))
			fill(t, topic, test.partitions)
			records, put := load.NewRecords(test.size), uint64(0)
			fillUp := func(ctx context.Context) error {
				for {
					if err := topic.PutAsync(ctx, penstock.Message{Value: records.At(put)}, test.done); err != nil {
						return err
					}
					put++
				}
			}
			before := settled()
			if test.busy {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := fillUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
			}
			p.gate.Lock()
			open := sync.OnceFunc(p.gate.Unlock)
			defer open()
			had := put
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := fillUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			got := settled().minus(before)
			taken := int(put-had) * test.size
			t.Logf("%d records of %d bytes, %d KiB, in a buffer of %d KiB: %v", put-had, test.size, taken>>10, buffer>>10, got)
			if !test.busy && taken < buffer/2 || taken > buffer {
				t.Errorf("it took %d KiB", taken>>10)
			}
			// A copy of what is being sent, a few spare buffers, and what each
			// partition takes.
			if limit := int64(buffer + allowed + test.partitions*(16<<10)); got.heap > limit {
				t.Errorf("the heap grew by %d KiB, the limit is %d", got.heap>>10, limit>>10)
			}
			open()
			if err := topic.Flush(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A consumer that takes nothing holds no more than it may read ahead, however
// much there is.
func TestStuckConsumer(t *testing.T) {
	skipUnlessMeasurable(t)
	const fetched, partitions, size, records, slack = 4 << 20, 4, 1 << 10, 64 << 10, 4 << 20
	puts, reads := start(t), start(t)
	topic := create(t, puts, "stuck", partitions)
	ctx := bounded(t)
	bodies := load.NewRecords(size)
	for i := range uint64(records) {
		if err := topic.PutAsync(ctx, penstock.Message{Value: bodies.At(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := topic.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	opened := open(t, reads, "stuck")
	before := settled()
	sub, err := opened.Subscribe(ctx, "g", penstock.MaxFetched(fetched))
	if err != nil {
		t.Fatal(err)
	}
	recs, err := sub.Poll(ctx, 1)
	if err != nil || len(recs) != 1 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	<-time.After(time.Second) // it could read all of it in a quarter of that
	got := settled().minus(before)
	t.Logf("%d KiB to read, %d KiB may be read ahead: %v", records*size>>10, fetched>>10, got)
	// A batch is not split: one for each partition may come on top.
	if limit := int64(fetched + partitions*(512<<10) + slack); got.heap > limit {
		t.Errorf("the heap grew by %d KiB, the limit is %d", got.heap>>10, limit>>10)
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Error(err)
	}
}
