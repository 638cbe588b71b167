package conformance

// How connections end.

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// atOnce is what "at once" may take. Close is meant to take well under 100 ms;
// the bound allows for a machine that is busy with other things.
const atOnce = time.Second

var endTests = map[string]func(*testing.T, *suite){
	"CloseUnblocksRecv": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		received := make(chan error, 1)
		go func() { received <- drop(mc) }()
		began := time.Now()
		must(t, mc.Close())
		expectSoon(t, received, began, socket.ErrConnClosed)
		must(t, mc.Close())
		must(t, sc.Close())
		if err := drop(sc); err == nil {
			t.Error("received after Close")
		}
		if err := mc.Err(); !errors.Is(err, socket.ErrConnClosed) || !errors.Is(err, messages.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	},
	"CloseUnblocksSend": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, _ := snd.link(t)
		sent := fillUp(t, sc)
		began := time.Now()
		must(t, sc.Close())
		expectSoon(t, sent, began, socket.ErrConnClosed)
		if err := sc.SendData(1, nil, false, 0, records(1, 1, 1)); !errors.Is(err, socket.ErrConnClosed) {
			t.Errorf("sending after Close: %v", err)
		}
	},
	"PeerCloses": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		must(t, mc.Close())
		if err := drop(sc); !errors.Is(err, socket.ErrPeerClosed) {
			t.Fatalf("receive returns %v, want ErrPeerClosed", err)
		}
		expectEnd(t, sc, socket.ErrPeerClosed)
		if err := sc.SendData(1, nil, false, 0, records(1, 1, 1)); !errors.Is(err, socket.ErrPeerClosed) {
			t.Errorf("sending returns %v, want the first cause", err)
		}
		eventually(t, "the listener forgets the connection", func() bool { return snd.Stats().Open == 0 })
	},
	"DataBeforeTheEndArrives": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		const frames = 100
		for i := range frames {
			must(t, sc.SendData(uint64(i+1), nil, false, 0, records(1, 1000, 1)))
		}
		must(t, sc.Close())
		var f frame.Frame
		for i := range frames {
			must(t, mc.Recv(&f))
			if f.Data.First != uint64(i+1) {
				t.Fatalf("received %d, want %d", f.Data.First, i+1)
			}
		}
		if err := drop(mc); !errors.Is(err, socket.ErrPeerClosed) {
			t.Fatalf("then %v", err)
		}
	},
	"ListenerCloses": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		accepting := make(chan error, 1)
		go func() {
			_, err := snd.Accept(context.Background())
			accepting <- err
		}()
		idle := s.raw(t, snd.Addr())
		received := make(chan error, 1)
		go func() { received <- drop(sc) }()
		began := time.Now()
		must(t, snd.Close())
		expectSoon(t, received, began, socket.ErrListenerClosed)
		expectSoon(t, accepting, began, socket.ErrListenerClosed)
		if err := drop(mc); !errors.Is(err, socket.ErrPeerClosed) {
			t.Errorf("the member sees %v", err)
		}
		expectEOF(t, idle)
		must(t, snd.Close())
	},
	"AcceptObeysItsContext": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		enough := errors.New("enough")
		cancel(enough)
		if _, err := snd.Accept(ctx); !errors.Is(err, enough) {
			t.Fatalf("accept returns %v, want its context's cause", err)
		}
	},
	"NothingLeaks": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		snd.welcomeAll(t, func(c *socket.Conn) { _ = drop(c) })
		cycle := func() {
			c, err := socket.Dial(within(t), snd.member())
			must(t, err)
			must(t, c.Close())
		}
		for range 20 {
			cycle()
		}
		settled := func() bool { return snd.Stats().Open == 0 }
		eventually(t, "the first connections end", settled)
		goroutines, files := runtime.NumGoroutine(), descriptors()
		for range s.features.Crowd {
			cycle()
		}
		eventually(t, "all connections end", settled)
		eventually(t, "goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
		if s.features.Descriptors && files >= 0 {
			eventually(t, "descriptors are as many as before", func() bool { return descriptors() <= files+5 })
		}
	},
}

// descriptors is how many files this process has open, -1 if that is unknown.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

func expectSoon(t *testing.T, done <-chan error, began time.Time, want error) {
	t.Helper()
	select {
	case err := <-done:
		if took := time.Since(began); took > atOnce {
			t.Errorf("it took %v", took)
		}
		if !errors.Is(err, want) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("still blocked")
	}
}
