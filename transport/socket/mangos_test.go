package socket_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	"go.nanomsg.org/mangos/v3/transport"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/socket"
)

// The faults of mangos that this package is built around. Each test shows that
// the fault is still there: when an upgrade cures one, its test fails, and the
// guard named in it can go.

const trapEnv = "PENSTOCK_MANGOS_TRAP"

// trapped runs body in a process of its own, for faults that leave goroutines
// behind. body answers whether the fault was there.
func trapped(t *testing.T, body func() bool) {
	t.Helper()
	const present = 42
	if os.Getenv(trapEnv) == t.Name() {
		if body() {
			os.Exit(present)
		}
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), trapEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != present {
		t.Errorf("the fault is gone (%v); so may be the guard against it\n%s", err, out)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Guarded by AddPipe in protocol.go, which closes nothing.
func TestTrapClosingWhileAttachingHangs(t *testing.T) {
	trapped(t, func() bool {
		s, err := push.NewSocket()
		check(err)
		var attaching atomic.Int32
		s.SetPipeEventHook(func(ev mangos.PipeEvent, p mangos.Pipe) {
			if ev == mangos.PipeEventAttaching && attaching.Add(1) == 1 {
				check(p.Close())
			}
		})
		l, err := s.NewListener("tcp://127.0.0.1:0", nil)
		check(err)
		check(l.Listen())
		for range 2 {
			r, err := pull.NewSocket()
			check(err)
			check(r.Dial(l.Address()))
		}
		// The second one would be attached at once, were there anybody to do it.
		<-time.After(300 * time.Millisecond)
		return attaching.Load() == 1
	})
}

// Guarded by guard.stop, which lets mangos's goroutine out before the socket is
// closed.
func TestTrapClosingASocketWhileItAddsAPipeHangs(t *testing.T) {
	trapped(t, func() bool {
		r, err := pull.NewSocket()
		check(err)
		s, err := push.NewSocket()
		check(err)
		l, err := s.NewListener("tcp://127.0.0.1:0", nil)
		check(err)
		check(l.Listen())
		r.SetPipeEventHook(func(ev mangos.PipeEvent, _ mangos.Pipe) {
			if ev == mangos.PipeEventAttaching {
				// As if Close came from elsewhere at this moment.
				check(r.Close())
				<-time.After(100 * time.Millisecond)
			}
		})
		dialled := make(chan error, 1)
		go func() { dialled <- r.Dial(l.Address()) }()
		select {
		case <-dialled:
			return false
		case <-time.After(500 * time.Millisecond):
			return true
		}
	})
}

// Guarded by guard.next, which shows mangos no error.
func TestTrapBadHandshakesDelayGoodOnes(t *testing.T) {
	trapped(t, func() bool {
		s, err := push.NewSocket()
		check(err)
		attached := make(chan time.Time, 1)
		s.SetPipeEventHook(func(ev mangos.PipeEvent, _ mangos.Pipe) {
			if ev == mangos.PipeEventAttached {
				attached <- time.Now()
			}
		})
		l, err := s.NewListener("tcp://127.0.0.1:0", nil)
		check(err)
		check(l.Listen())
		const bad = 60
		for range bad {
			c, err := net.Dial("tcp", l.Address()[len("tcp://"):])
			check(err)
			_, err = c.Write([]byte("GET / HT"))
			check(err)
			check(c.Close())
		}
		r, err := pull.NewSocket()
		check(err)
		began := time.Now()
		check(r.Dial(l.Address()))
		return (<-attached).Sub(began) > bad*5*time.Millisecond
	})
}

// Guarded by one socket for each Dial, which is closed with its connection.
func TestTrapADialerOutlivesItsClose(t *testing.T) {
	trapped(t, func() bool {
		s, err := push.NewSocket()
		check(err)
		r, err := pull.NewSocket()
		check(err)
		l, err := s.NewListener("tcp://127.0.0.1:0", nil)
		check(err)
		check(l.Listen())
		d, err := r.NewDialer(l.Address(), nil)
		check(err)
		check(d.Dial())
		check(d.Close())
		check(s.Send([]byte("after")))
		check(r.SetOption(mangos.OptionRecvDeadline, 5*time.Second))
		b, err := r.Recv()
		stillOpen := err == nil && string(b) == "after"

		failed, err := r.NewDialer("tcp://127.0.0.1:1", nil)
		check(err)
		first, second := failed.Dial(), failed.Dial()
		return stillOpen && first != nil && errors.Is(second, mangos.ErrAddrInUse)
	})
}

// Guarded by wire.next, which checks a length before it allocates.
func TestTrapAHugeLengthPanics(t *testing.T) {
	trapped(t, func() (panicked bool) {
		near, far := net.Pipe()
		go func() { _, _ = far.Write(binary.BigEndian.AppendUint64(nil, 1<<62)) }()
		defer func() { panicked = recover() != nil }()
		_, _ = transport.NewConnPipe(near, transport.ProtocolInfo{}).Recv()
		return false
	})
}

// Not a fault, but relied upon: mangos dials again when a pipe closes, and
// stops when the transport says ErrClosed.
func TestRedialingStopsAtErrClosed(t *testing.T) {
	d := &countingTransport{dialled: make(chan int, 10)}
	transport.RegisterTransport(d)
	r, err := pull.NewSocket()
	check(err)
	defer func() { _ = r.Close() }()
	check(r.SetOption(mangos.OptionReconnectTime, time.Duration(0)))
	check(r.Dial("penstock-test://x"))
	for want := 1; want <= 2; want++ {
		select {
		case got := <-d.dialled:
			if got != want {
				t.Fatalf("dial %d, want %d", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no dial %d", want)
		}
	}
	select {
	case n := <-d.dialled:
		t.Fatalf("dial %d after ErrClosed", n)
	case <-time.After(100 * time.Millisecond):
	}
}

// countingTransport connects once, to a pipe that ends at once.
type countingTransport struct {
	dialled chan int
	n       atomic.Int32
}

func (*countingTransport) Scheme() string { return "penstock-test" }
func (c *countingTransport) NewDialer(string, mangos.Socket) (mangos.TranDialer, error) {
	return c, nil
}
func (*countingTransport) NewListener(string, mangos.Socket) (mangos.TranListener, error) {
	return nil, mangos.ErrBadTran
}
func (c *countingTransport) Dial() (mangos.TranPipe, error) {
	n := c.n.Add(1)
	c.dialled <- int(n)
	if n > 1 {
		return nil, mangos.ErrClosed
	}
	near, far := net.Pipe()
	_ = far.Close()
	return transport.NewConnPipe(near, transport.ProtocolInfo{}), nil
}
func (*countingTransport) SetOption(string, any) error   { return mangos.ErrBadOption }
func (*countingTransport) GetOption(string) (any, error) { return nil, mangos.ErrBadOption }

// mangos's registry belongs to the host program too.
func TestTheHostsTransportsAreUntouched(t *testing.T) {
	before := transport.GetTransport("tcp")
	benchLink(t, nil)
	if after := transport.GetTransport("tcp"); after != before || after == nil {
		t.Errorf("tcp was %T and is %T", before, after)
	}
	if transport.GetTransport("penstock+link") == nil {
		t.Error("our own is not registered")
	}
}

// A stock PULL can connect, as on any SP port; it gets nothing and is refused.
func TestAStockPullGetsNothing(t *testing.T) {
	refused := make(chan socket.Refusal, 10)
	u, err := address.Parse("tcp://127.0.0.1:0")
	check(err)
	ln, err := socket.Listen(context.Background(), socket.ListenerConfig{
		URLs:             []address.URL{u},
		HandshakeTimeout: 200 * time.Millisecond,
		Lookup:           func(string) (socket.Secret, bool) { return socket.Secret{Token: bytes.Repeat([]byte{1}, 32)}, true },
		Refused:          func(r socket.Refusal) { refused <- r },
	})
	check(err)
	defer func() { _ = ln.Close() }()
	r, err := pull.NewSocket()
	check(err)
	defer func() { _ = r.Close() }()
	check(r.SetOption(mangos.OptionRecvDeadline, 500*time.Millisecond))
	check(r.Dial(ln.URL()))
	if b, err := r.Recv(); !errors.Is(err, protocol.ErrRecvTimeout) {
		t.Errorf("a stranger received %q, %v", b, err)
	}
	select {
	case got := <-refused:
		if got.Reason != socket.ReasonTimeout {
			t.Errorf("refused for %s: %v", got.Reason, got.Err)
		}
	case <-time.After(20 * time.Second):
		t.Error("never refused")
	}
}
