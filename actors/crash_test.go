package actors_test

// Promise: a bug in an actor of ours loses nothing. Each kind of actor is made
// to fail while messages flow, on both sides, and everything accepted is
// handled; what is handled twice is bounded by the windows of the links that
// ended for it.

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
)

// handled counts how often each message was.
type handled struct {
	mu      sync.Mutex
	counts  map[int]int
	total   int
	changed chan struct{}
}

func (h *handled) enter(id int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[id]++
	h.total++
	close(h.changed)
	h.changed = make(chan struct{})
}

// await waits until enough is true of how many were handled.
func (h *handled) await(t *testing.T, what string, enough func(distinct, total int) bool) {
	t.Helper()
	late := time.After(enginetest.Patience)
	for {
		h.mu.Lock()
		distinct, total, changed := len(h.counts), h.total, h.changed
		h.mu.Unlock()
		if enough(distinct, total) {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: not within %s; %d handled, %d distinct", what, enginetest.Patience, total, distinct)
		}
	}
}

func TestCrashOfEachActorUnderLoad(t *testing.T) {
	// The kinds by Go type. A link ends with its connection; every other is
	// begun again.
	for _, kind := range []string{"session", "destination", "pipe", "link", "member", "source", enginetest.Root} {
		t.Run(kind, func(t *testing.T) { crashUnderLoad(t, kind) })
	}
}

func crashUnderLoad(t *testing.T, kind string) {
	const window, rounds = 64, 2
	ctx, cancel := context.WithTimeout(t.Context(), 2*enginetest.Patience)
	defer cancel()
	space := enginetest.NewSpace(t)
	sender, receiver := space.Begin(t), space.Begin(t)
	dest, err := sender.Register(ctx, senders.Config{Name: "orders", Retry: messages.Retry{Min: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	got := &handled{counts: make(map[int]int), changed: make(chan struct{})}
	handle := func(d messages.Delivery) error {
		id, err := strconv.Atoi(string(d.Value))
		if err == nil {
			got.enter(id)
		}
		return err
	}
	// One member of the group reads in a loop, the other has handlers.
	var readers sync.WaitGroup
	reading, stopReading := context.WithCancel(ctx)
	defer readers.Wait()
	defer stopReading()
	for _, consuming := range []bool{false, true} {
		m, err := receiver.Join(ctx, members.Config{Destination: "orders", Group: "billing", Window: window, Concurrency: 2})
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			if consuming {
				m.Consume(reading, func(_ context.Context, d messages.Delivery) error { return handle(d) })
				return
			}
			for d, err := range m.Messages(reading, false) {
				if err != nil || handle(d) != nil {
					return
				}
			}
		})
	}

	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			if err := dest.Send(ctx, messages.Message{Value: strconv.AppendInt(nil, int64(n), 10)}); err != nil {
				t.Errorf("send: %v", err)
				sent <- n
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				sent <- n + 1
				return
			}
		}
	}()
	crashed := 0
	for range rounds {
		got.mu.Lock()
		before := got.total
		got.mu.Unlock()
		got.await(t, "the load flows", func(_, total int) bool { return total > before+100 })
		for _, e := range []*actors.Engine{sender, receiver} {
			crashed += enginetest.CrashAll(t, e, kind)
		}
	}
	if crashed == 0 {
		t.Fatalf("there is no %s to crash", kind)
	}
	got.mu.Lock()
	before := got.total
	got.mu.Unlock()
	got.await(t, "the load flows after the crashes", func(_, total int) bool { return total > before+100 })
	close(stop)
	n := <-sent
	got.await(t, "everything accepted", func(distinct, _ int) bool { return distinct >= n })
	if err := dest.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	spare := 2 * window * rounds // two links, and each round ends them once
	switch kind {
	case "session":
		spare = 0
	case enginetest.Root:
		spare *= 2 // each side's in turn
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if again := got.total - len(got.counts); again > spare {
		t.Errorf("%d messages were handled again, at most %d may be", again, spare)
	}
}
