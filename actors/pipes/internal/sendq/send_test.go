package sendq

// Batches, and the policy of the sender.

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// numbered are n small messages, numbered from 1.
func numbered(n int) []messages.Message {
	msgs := make([]messages.Message, n)
	for i := range msgs {
		msgs[i] = *recordtest.Numbered(uint64(i+1), 8)
	}
	return msgs
}

// carried takes what l can carry, and returns its numbers.
func carried(t *testing.T, o *Queue, b *Backlog, l *Link) (ids []uint64) {
	t.Helper()
	for {
		batch, ok := o.Next(b, l)
		if !ok {
			return ids
		}
		ids = append(ids, recordtest.Numbers(t, batch.Records)...)
	}
}

// settle has l's member ack everything up to seq.
func settle(t *testing.T, o *Queue, b *Backlog, l *Link, seq uint64) {
	t.Helper()
	if err := o.Ack(b, l, &frame.Ack{Cumulative: seq, CreditMessages: 1 << 20, CreditBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
}

// A batch of more than one run arrives whole and in order, and wakes the link.
func TestSendBatchKeepsTheOrder(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 1<<20, 1<<30)
	const many = 3*acceptedAtOnce + 1
	n := 0
	if err := o.SendBatch(t.Context(), numbered(many), &n); err != nil || n != many {
		t.Fatalf("%d accepted: %v", n, err)
	}
	select {
	case <-l.Bell():
	default:
		t.Error("the link sleeps on")
	}
	ids := carried(t, o, b, l)
	for i, id := range ids {
		if id != uint64(i+1) {
			t.Fatalf("message %d comes at %d", id, i+1)
		}
	}
	if len(ids) != many {
		t.Errorf("%d came of %d", len(ids), many)
	}
}

// A batch ends at the first message that Send would refuse, and says why.
func TestSendBatchStopsAtTheFirstRefused(t *testing.T) {
	large := *recordtest.Numbered(9, 5<<20)
	for name, c := range map[string]struct {
		policy messages.QueuePolicy
		queue  int
		msgs   []messages.Message
		want   int
		err    error
	}{
		"too large":       {messages.QueueBlock, 1000, append(append(numbered(200), large), numbered(5)...), 200, messages.ErrTooLarge},
		"full":            {messages.QueueError, 150, numbered(200), 150, messages.ErrGroupFull},
		"full, and large": {messages.QueueError, 2, append(numbered(3), large), 2, messages.ErrGroupFull},
		"nothing":         {messages.QueueBlock, 10, nil, 0, nil},
	} {
		o, b, _ := testQueue(t, messages.GroupSettings{Policy: c.policy}, func(cfg *Config) { cfg.Queue.Messages = c.queue })
		n := 0
		if err := o.SendBatch(t.Context(), c.msgs, &n); n != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d accepted, %v; want %d, %v", name, n, err, c.want, c.err)
		}
		if b.count != c.want {
			t.Errorf("%s: %d are queued", name, b.count)
		}
	}
}

// A batch waits for room in the middle, has its first part carried meanwhile, and ends
// with its context.
func TestSendBatchWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, func(cfg *Config) { cfg.Queue.Messages = 10 })
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		sent := make(chan error, 1)
		go func() { sent <- o.SendBatch(ctx, numbered(25), &n) }()
		for _, settled := range []uint64{10, 20} {
			synctest.Wait()
			if ids := carried(t, o, b, l); len(ids) != 10 || ids[0] != settled-9 {
				t.Fatalf("carried are %v", ids)
			}
			settle(t, o, b, l, settled)
		}
		synctest.Wait()
		if err := <-sent; err != nil || n != 25 {
			t.Errorf("%d accepted: %v", n, err)
		}
		n = 0
		if err := o.SendBatch(ctx, numbered(25), &n); n != 5 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d accepted: %v", n, err)
		}
	})
}

// The policy of the sender counts in place of the group's.
func TestPolicyOfTheSender(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{Policy: messages.QueueBlock}, func(cfg *Config) {
		cfg.Queue.Messages, cfg.Policy = 1, messages.QueueError
	})
	mustSend(t, o, recordtest.Numbered(1, 8))
	if err := o.Send(t.Context(), recordtest.Numbered(2, 8)); !errors.Is(err, messages.ErrGroupFull) {
		t.Errorf("a full group: %v", err)
	}
	if s := o.Stats(); s[0].Policy != messages.QueueError || o.Look(b).Policy != messages.QueueError {
		t.Errorf("shown is %+v", s)
	}
	if o.Settings(b).Policy != messages.QueueBlock {
		t.Error("the group has another policy now")
	}
}

// What is dropped because no group is there is told so.
func TestSendAsyncWithoutAGroup(t *testing.T) {
	cfg := testConfig()
	cfg.DropWithoutGroup = true
	o := New("orders", cfg, func(messages.Event) {}, func(func()) {})
	var causes []error
	if err := o.SendAsync(t.Context(), recordtest.Numbered(1, 8), func(err error) { causes = append(causes, err) }); err != nil {
		t.Fatal(err)
	}
	if len(causes) != 1 || !errors.Is(causes[0], messages.ErrDropped) {
		t.Errorf("told was %v", causes)
	}
}

// Nobody watches, so that nothing is allocated but chunks.
func TestSendingAllocatesNothing(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{Policy: messages.QueueDropOldest}, func(cfg *Config) { cfg.Queue.Messages = 64 })
	m, msgs := recordtest.Numbered(1, 100), numbered(64)
	for range 1000 {
		mustSend(t, o, m)
	}
	if n := testing.AllocsPerRun(1000, func() { _ = o.Send(t.Context(), m) }); n > 0 {
		t.Errorf("Send allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _ = o.TrySend(t.Context(), m) }); n > 0 {
		t.Errorf("TrySend allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		accepted := 0
		_ = o.SendBatch(t.Context(), msgs, &accepted)
	}); n > 1 {
		t.Errorf("a batch allocates %v times", n)
	}
	if b.count != 64 {
		t.Errorf("%d are queued", b.count)
	}
}

func BenchmarkSend(b *testing.B) {
	for name, send := range map[string]func(*Queue, []messages.Message) error{
		"one by one": func(o *Queue, msgs []messages.Message) error {
			for i := range msgs {
				if err := o.Send(context.Background(), &msgs[i]); err != nil {
					return err
				}
			}
			return nil
		},
		"batch": func(o *Queue, msgs []messages.Message) error {
			n := 0
			return o.SendBatch(context.Background(), msgs, &n)
		},
		"async": func(o *Queue, msgs []messages.Message) error {
			for i := range msgs {
				if err := o.SendAsync(context.Background(), &msgs[i], func(error) {}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			cfg := testConfig()
			cfg.Queue.Messages = 4096
			o := New("orders", cfg, func(messages.Event) {}, func(func()) {})
			group := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtMostOnce, Policy: messages.QueueBlock})
			l := NewLink("m", 1, 1<<40)
			l.credit, l.creditBytes = 1<<40, 1<<50
			o.Attach(group, l)
			msgs := numbered(100)
			b.ReportAllocs()
			for i := 0; i < b.N; i += len(msgs) {
				if err := send(o, msgs); err != nil {
					b.Fatal(err)
				}
				for ok := true; ok; {
					_, ok = o.Next(group, l)
				}
			}
		})
	}
}
