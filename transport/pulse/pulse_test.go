package pulse

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// patience is how long a step may take on a busy machine.
const patience = 30 * time.Second

func listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), "tcp://127.0.0.1:7000?advertise=127.0.0.1:7001")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// background runs f until the returned function is called, which waits for it.
func background(f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		f(ctx)
	}()
	return func() {
		cancel()
		<-over
	}
}

// watch watches p until the test ends; the channel is closed when it says that the
// process has ended.
func watch(t *testing.T, p Peer) <-chan struct{} {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(background(func(ctx context.Context) {
		if err := p.Watch(ctx); err == nil {
			close(ended)
		} else if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}))
	return ended
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain: ", what)
	}
}

// holding waits until a listener holds so many watchers.
func (l *Listener) holding(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		l.mu.Lock()
		held := l.held
		l.mu.Unlock()
		switch {
		case held == n:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d watchers, want %d", held, n)
		}
		<-time.After(time.Millisecond)
	}
}

// unsaid fails when a watcher says that a process has ended.
func unsaid(t *testing.T, what string, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
		t.Error("taken for dead: ", what)
	default:
	}
}

// Connections that close, and a port that refuses: the process has ended.
func TestWatchSeesTheEnd(t *testing.T) {
	l := listen(t)
	end := background(l.Serve)
	ended := watch(t, l.Peer())
	l.holding(t, 1)
	unsaid(t, "it serves", ended)
	l.Close()
	end()
	await(t, "the end", ended)
}

// A process that lives has its port, whatever becomes of connections.
func TestWatchOfOneThatLives(t *testing.T) {
	l := listen(t)
	end := background(l.Serve)
	ended := watch(t, l.Peer())
	for range 3 {
		l.holding(t, 1)
		end() // connections close, and nobody accepts
		end = background(l.Serve)
	}
	l.holding(t, 1)
	unsaid(t, "it serves again", ended)
	l.Close()
	end()
	await(t, "the end", ended)
}

// A name may stand for several hosts, of which only one is the process's: what another one
// refuses is no evidence.
func TestWatchOfANameOfSeveralHosts(t *testing.T) {
	l := listen(t)
	end := background(l.Serve)
	defer func() { end() }()
	named := Peer{Addresses: []string{"service:1"}, Token: l.Token()}
	var moved atomic.Bool
	dial := func(ctx context.Context, network, to string) (net.Conn, error) {
		switch {
		case to != named.Addresses[0]:
		case moved.Load():
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		default:
			to = l.ln.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	ended := make(chan struct{})
	defer background(func(ctx context.Context) {
		if named.watch(ctx, dial) == nil {
			close(ended)
		}
	})()
	l.holding(t, 1)
	moved.Store(true)
	end() // connections close
	end = background(l.Serve)
	l.holding(t, 1)
	unsaid(t, "it serves where it was met", ended)
	l.Close()
	end()
	await(t, "the end", ended)
}

// Whoever has the port later is not the process, and does not refuse.
func TestWatchMeetsAStranger(t *testing.T) {
	l := listen(t)
	end := background(l.Serve)
	peer := l.Peer()
	ended := watch(t, peer)
	l.holding(t, 1)

	// The port has another listener before the connections of the process close.
	file, err := l.ln.File()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	l.Close()
	end()
	for i := range tries { // the last one is met when a refusal does not count any more
		conn, err := stranger.Accept()
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n and so on and on")
		case 1:
			var hello [helloSize]byte
			io.ReadFull(conn, hello[:])
			conn.Write(hello[:])
		}
		conn.Close()
	}
	unsaid(t, "a stranger answers", ended)
	stranger.Close()
	other := watch(t, peer) // a refusal alone is none either
	<-time.After(0)
	unsaid(t, "the stranger went", ended)
	unsaid(t, "never met", other)
}

// Strangers are refused, and hold no place for long; who may watch is not kept out.
func TestListenerRefusesStrangers(t *testing.T) {
	l := listen(t)
	l.limit = 300 * time.Millisecond
	defer background(l.Serve)()
	for range mostPending { // silent ones
		conn, err := net.Dial("tcp", l.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\nand more than a hello is long, so that it is read", ""} {
		conn, err := net.Dial("tcp", l.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, said)
		if n, err := io.Copy(io.Discard, conn); n != 0 {
			t.Errorf("a stranger got %d bytes, %v", n, err)
		}
		conn.Close()
	}
	p := l.Peer()
	if len(p.Addresses) != 1 || p.Addresses[0] != l.ln.Addr().String() {
		t.Errorf("it is at %q, says %q", l.ln.Addr(), p.Addresses)
	}
	forged := Peer{Addresses: p.Addresses, Token: make([]byte, tokenSize)}
	watch(t, forged)
	watch(t, p)
	l.holding(t, 1)
}

func TestListenFaults(t *testing.T) {
	if _, err := Listen(t.Context(), "udp://x"); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := Listen(t.Context(), "tcp://192.0.2.1:0"); err == nil {
		t.Error("listened on an address that is not this machine's")
	}
	for _, p := range []Peer{{}, {Addresses: []string{"127.0.0.1:1"}}, {Token: make([]byte, tokenSize)}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Watch(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
