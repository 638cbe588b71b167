package pipes_test

// Whose the bytes of a delivery are: the receiver's without end, or with ReuseBuffers the next
// frame's once it is settled.

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// numbered is a body of size bytes that tells which it is at each of its places.
func numbered(i, size int) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8), 7, byte(size)}, size/4)
}

// everySize has messages that share a small chunk, a roomy one, or none.
var everySize = []int{64, 500, 4 << 10, 16 << 10, 64 << 10, 200 << 10, 1 << 20}

// Promise: without ReuseBuffers the bytes of a delivery are the receiver's, whatever else
// comes and however it was handed out: nothing overwrites what it keeps.
func TestKeptDeliveriesAreNotOverwritten(t *testing.T) {
	const each = 24 // of each size, and again as many after them
	type keep func(messages.Delivery)
	for name, receive := range map[string]func(ctx context.Context, m *members.Member, keep keep) error{
		"Messages": func(ctx context.Context, m *members.Member, keep keep) error {
			for d, err := range m.Messages(ctx, false) {
				if err != nil {
					return err
				}
				keep(d)
			}
			return nil
		},
		"Poll": func(ctx context.Context, m *members.Member, keep keep) error {
			for {
				ds, err := m.Poll(ctx, 7, false)
				if err != nil {
					return err
				}
				for _, d := range ds {
					keep(d)
				}
			}
		},
		"Consume": func(ctx context.Context, m *members.Member, keep keep) error {
			return m.Consume(ctx, func(_ context.Context, d messages.Delivery) error {
				keep(d)
				return nil
			})
		},
		"Deliver": func(ctx context.Context, m *members.Member, keep keep) error {
			return m.Deliver(ctx, 64, 8, func(ds []messages.Delivery) {
				for _, d := range ds {
					keep(d)
					d.Ack()
				}
			})
		},
		"replies": func(ctx context.Context, m *members.Member, keep keep) error {
			return m.Consume(ctx, func(_ context.Context, d messages.Delivery) error {
				keep(d)
				return d.Reply(messages.Message{Value: d.Value})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(enginetest.Within(t))
			defer stop()
			e := enginetest.NewSpace(t).Begin(t)
			d := enginetest.Register(t, e, senders.Config{})
			m := enginetest.Join(t, e, members.Config{})
			var mu sync.Mutex
			var kept []messages.Delivery
			var replies [][]byte
			reading := enginetest.Aside(func() error {
				return receive(ctx, m, func(d messages.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					kept = append(kept, d)
				})
			})
			for _, size := range everySize {
				for i := range 2 * each {
					msg := messages.Message{Value: numbered(i, size)}
					if name != "replies" {
						if err := d.Send(ctx, msg); err != nil {
							t.Fatal(err)
						}
						continue
					}
					r, err := d.Request(ctx, msg, senders.Request{})
					if err != nil {
						t.Fatal(err)
					}
					replies = append(replies, r.Value)
				}
			}
			if err := d.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			stop()
			_ = enginetest.Outcome(t, "the end of the reader", reading)
			if len(kept) != 2*each*len(everySize) {
				t.Fatalf("%d deliveries came", len(kept))
			}
			for at, k := range kept {
				want := numbered(at%(2*each), everySize[at/(2*each)])
				if !bytes.Equal(k.Value, want) {
					t.Errorf("delivery %d, of %d bytes, has other bytes now", at, len(want))
				}
				if replies != nil && !bytes.Equal(replies[at], want) {
					t.Errorf("the reply to %d has other bytes now", at)
				}
			}
		})
	}
}

// Promise: with ReuseBuffers the frames' memory comes back at every size of message, and so
// does the sender's.
func TestReusedBuffersComeBack(t *testing.T) {
	for _, c := range []struct{ size, count, most int }{
		// most: bytes allocated for a message, sender and member together. With the race
		// detector a sync.Pool loses a quarter of what it gets, on purpose.
		{64, 100_000, 56},
		{16 << 10, 4_000, 15 << 10},
		{64 << 10, 1_000, 60 << 10},
		{1 << 20, 100, 950 << 10},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			ctx := enginetest.Within(t)
			e := enginetest.NewSpace(t).Begin(t)
			d := enginetest.Register(t, e, senders.Config{Queue: messages.QueueLimits{Messages: 4096, Bytes: 8 << 20}})
			m := enginetest.Join(t, e, members.Config{ReuseBuffers: true, WindowBytes: 4 << 20})
			over := enginetest.Aside(func() error {
				for d, err := range m.Messages(ctx, false) {
					if err != nil || len(d.Value) != c.size || d.Value[0] != 1 || d.Value[c.size-1] != 2 {
						return fmt.Errorf("%d bytes: %w", len(d.Value), err)
					}
				}
				return nil
			})
			body := make([]byte, c.size)
			body[0], body[c.size-1] = 1, 2
			pass := func(count int) uint64 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range count {
					if err := d.Send(ctx, messages.Message{Value: body}); err != nil {
						t.Fatal(err)
					}
				}
				if err := d.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				return (after.TotalAlloc - before.TotalAlloc) / uint64(count)
			}
			pass(c.count / 4)
			if got := pass(c.count); got > uint64(c.most) {
				t.Errorf("%d bytes are allocated for a message of %d, at most %d are planned", got, c.size, c.most)
			}
			if err := m.Leave(ctx); err != nil {
				t.Fatal(err)
			}
			if err := enginetest.Outcome(t, "the end of the reader", over); err != nil {
				t.Fatal(err)
			}
		})
	}
}
