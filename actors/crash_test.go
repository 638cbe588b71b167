package actors

// Promise: a bug in an actor of ours loses nothing. Each kind of actor is made
// to fail while messages flow, on both sides, and everything accepted is
// handled; what is handled twice is bounded by the windows of the links that
// ended for it.

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
)

const crashPatience = 60 * time.Second

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
	late := time.After(crashPatience)
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
			t.Fatalf("%s: not within %s; %d handled, %d distinct", what, crashPatience, total, distinct)
		}
	}
}

func TestCrashOfEachActorUnderLoad(t *testing.T) {
	srv := beginEtcd(t)
	// The kinds by Go type. A link ends with its connection; every other is
	// begun again.
	for _, kind := range []string{"session", "destination", "pipe", "link", "member", "source", "engineActor"} {
		t.Run(kind, func(t *testing.T) { crashUnderLoad(t, srv, kind) })
	}
}

func crashUnderLoad(t *testing.T, srv *embedded.Server, kind string) {
	const window, rounds = 64, 2
	ctx, cancel := context.WithTimeout(t.Context(), 2*crashPatience)
	defer cancel()
	begin := func() *Engine {
		e, err := Start(ctx, nil, Config{Etcd: srv.Config(), Prefix: "/crash/" + kind, Listen: "tcp://127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), crashPatience)
			defer cancel()
			if err := e.Stop(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
		return e
	}
	sender, receiver := begin(), begin()
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
		for _, e := range []*Engine{sender, receiver} {
			crashed += crashAll(t, e, kind)
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
	case "engineActor":
		spare *= 2 // each side's in turn
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if again := got.total - len(got.counts); again > spare {
		t.Errorf("%d messages were handled again, at most %d may be", again, spare)
	}
}

// crashAll fails every actor of a kind in e, waits until each has begun again
// or ended, and answers how many there were.
func crashAll(t *testing.T, e *Engine, kind string) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	events := e.Events(ctx)
	waiting := make(map[string]bool)
	for _, info := range e.Tree() {
		if !strings.HasSuffix(info.Type, "."+kind) {
			continue
		}
		waiting[info.ID] = true
		pid := e.node.System.NewLocalPID(info.ID)
		e.node.Send(pid, node.Crash{Err: fmt.Errorf("a bug in %s", kind)})
		n++
	}
	if n == 0 {
		return 0
	}
	for event := range events {
		switch m := event.(type) {
		case messages.ActorRestarted:
			delete(waiting, m.Actor)
		case messages.ActorStopped:
			if kind == "link" {
				delete(waiting, m.Actor) // it is not restarted: its member dials again
				continue
			}
			if waiting[m.Actor] {
				t.Errorf("%s was given up: %v", m.Actor, m.Err)
				delete(waiting, m.Actor)
			}
		}
		if len(waiting) == 0 {
			return n
		}
	}
	t.Fatalf("these were not heard of: %v", waiting)
	return n
}
