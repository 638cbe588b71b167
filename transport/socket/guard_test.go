package socket

import (
	"errors"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.nanomsg.org/mangos/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
)

// fakeListener accepts what the test gives it.
type fakeListener struct {
	give   chan net.Conn
	fail   chan error
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	calls  []time.Time
}

func (l *fakeListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.calls = append(l.calls, time.Now())
	l.mu.Unlock()
	select {
	case c := <-l.give:
		return c, nil
	case err := <-l.fail:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{} }

func startGuard(t *testing.T, cfg ListenerConfig) (*guard, *fakeListener) {
	t.Helper()
	ln := &fakeListener{give: make(chan net.Conn), fail: make(chan error), closed: make(chan struct{})}
	cfg.EnsureDefaults()
	g := newGuard([]*door{{ln: ln}}, &cfg)
	g.start()
	// As mangos does.
	go func() {
		for {
			if _, err := g.next(); errors.Is(err, mangos.ErrClosed) {
				return
			}
		}
	}()
	t.Cleanup(func() {
		g.stop()
		g.endAll(ErrListenerClosed)
	})
	return g, ln
}

func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var refused []Reason
		g, ln := startGuard(t, ListenerConfig{Refused: func(r Refusal) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, r.Reason)
		}, HandshakeTimeout: time.Hour})
		near, far := net.Pipe()
		ln.give <- near
		for range 12 {
			ln.fail <- syscall.EMFILE
		}
		synctest.Wait()
		time.Sleep(lastPause)
		synctest.Wait()
		ln.mu.Lock()
		calls := slices.Clone(ln.calls)
		ln.mu.Unlock()
		for i := 2; i < len(calls); i++ {
			want := min(firstPause<<(i-2), lastPause)
			if got := calls[i].Sub(calls[i-1]); got != want {
				t.Errorf("pause %d is %v, want %v", i-1, got, want)
			}
		}
		if g.stats().AcceptErrors != 12 {
			t.Errorf("%d errors were counted", g.stats().AcceptErrors)
		}
		// The stranger's descriptor was the one to give back.
		mu.Lock()
		if !slices.Equal(refused, []Reason{ReasonEvicted}) {
			t.Errorf("refused %v, want one eviction", refused)
		}
		mu.Unlock()
		_ = far.Close()

		// And it goes on afterwards, without a pause.
		near, far = net.Pipe()
		ln.give <- near
		synctest.Wait()
		if g.stats().Pending != 1 {
			t.Error("nothing is accepted any more")
		}
		_ = far.Close()
	})
}

func TestDeadlineCoversTheWholeHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := make(chan Refusal, 1)
		g, ln := startGuard(t, ListenerConfig{Refused: func(r Refusal) { refusals <- r }})
		began := time.Now()
		near, far := net.Pipe()
		ln.give <- near
		done := make(chan struct{})
		go func() {
			defer close(done)
			var b [8]byte
			_, _ = far.Read(b[:])
			// Always some progress.
			for {
				if _, err := far.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(900 * time.Millisecond)
			}
		}()
		r := <-refusals
		if r.Reason != ReasonTimeout || time.Since(began) != defaultHandshakeTimeout {
			t.Errorf("%s after %v: %v", r.Reason, time.Since(began), r.Err)
		}
		if s := g.stats(); s.Pending != 0 || s.Open != 0 || s.Refused[ReasonTimeout] != 1 {
			t.Errorf("stats %+v", s)
		}
		_ = far.Close()
		<-done
	})
}

// Whoever comes first decides, and the other is told.
func TestWelcomeAgainstEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		refused := 0
		g, ln := startGuard(t, ListenerConfig{MaxPending: 1, Refused: func(Refusal) { mu.Lock(); refused++; mu.Unlock() }})
		enter := func() (*wire, net.Conn) {
			near, far := net.Pipe()
			ln.give <- near
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.queue[len(g.queue)-1], far
		}
		first, far1 := enter()
		if err := g.welcome(&Conn{w: first}); err != nil {
			t.Fatalf("welcome: %v", err)
		}
		second, far2 := enter()
		third, far3 := enter()
		if err := g.welcome(&Conn{w: second}); !errors.Is(err, errEvicted) {
			t.Errorf("welcome of an evicted one: %v", err)
		}
		if first.cause() != nil || third.cause() != nil {
			t.Errorf("others ended: %v, %v", first.cause(), third.cause())
		}
		_ = first.end(ErrConnClosed)
		if err := g.welcome(&Conn{w: first}); !errors.Is(err, ErrConnClosed) {
			t.Errorf("welcome of an ended one: %v", err)
		}
		synctest.Wait()
		mu.Lock()
		if refused != 1 {
			t.Errorf("%d refusals, want 1: a guest's end is none", refused)
		}
		mu.Unlock()
		for _, c := range []net.Conn{far1, far2, far3} {
			_ = c.Close()
		}
	})
}

func TestConfigFaultsAllAtOnce(t *testing.T) {
	listen := ListenerConfig{URLs: []address.URL{{Scheme: "smoke"}, {Scheme: "tcp", PortLow: 9, PortHigh: 3}}, MaxFrame: 7, HandshakeTimeout: -1, Beat: -1, DeadAfter: 1, MaxPending: -1}
	listen.EnsureDefaults()
	dial := DialConfig{URL: "tcp://:1", MaxFrame: math.MaxInt32, Timeout: -1, Beat: 1, DeadAfter: -3}
	dial.EnsureDefaults()
	for err, parts := range map[error][]string{
		listen.Validate(): {"smoke", "backwards", "max frame 7", "handshake timeout", "beat", "dead after 1", "max pending", "lookup"},
		dial.Validate():   {"cannot be dialled", "destination", "group", "member", "max frame", "timeout", "beat", "dead after", "token"},
	} {
		if !errors.Is(err, messages.ErrInvalid) {
			t.Fatalf("%v does not wrap ErrInvalid", err)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not among the faults: %v", part, err)
			}
		}
	}
	var zero ListenerConfig
	zero.EnsureDefaults()
	zero.Lookup = func(string) (Secret, bool) { return Secret{}, false }
	if err := zero.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasonCount {
		if name := r.String(); name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		} else {
			seen[name] = true
		}
	}
	if Reason(200).String() != "unknown" || frame.Kind(200).String() != "kind(200)" {
		t.Error("values out of range have no name")
	}
}
