package nanomsg_test

// Connections with stock sockets of mangos, and with peers that are none.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	_ "go.nanomsg.org/mangos/v3/transport/tcp"
	_ "go.nanomsg.org/mangos/v3/transport/ws"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

const patience = 20 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func listen(t *testing.T, url string, set ...func(*nanomsg.ListenerConfig)) *nanomsg.Listener {
	t.Helper()
	urls, err := nanomsg.ParseAll(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg := nanomsg.ListenerConfig{URLs: urls}
	for _, f := range set {
		f(&cfg)
	}
	l, err := nanomsg.Listen(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func accept(t *testing.T, l *nanomsg.Listener) *nanomsg.Puller {
	t.Helper()
	p, err := l.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

var urls = []string{"tcp://127.0.0.1:0", "ws://127.0.0.1:0/x"}

var bodies = [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 300_000), []byte("four"), bytes.Repeat([]byte("y"), 5000)}

// Promise: a PULL socket of mangos gets every message, of every size, in order.
func TestMangosPulls(t *testing.T) {
	for _, url := range urls {
		t.Run(url, func(t *testing.T) {
			l := listen(t, url)
			sock, err := pull.NewSocket()
			if err != nil {
				t.Fatal(err)
			}
			defer sock.Close()
			if err := errors.Join(sock.SetOption(mangos.OptionRecvDeadline, patience), sock.Dial(l.URLs()[0])); err != nil {
				t.Fatal(err)
			}
			p := accept(t, l)
			for at := 0; at < len(bodies); {
				n, err := p.Send(bodies[at:min(len(bodies), at+p.Batch())])
				if err != nil {
					t.Fatal(err)
				}
				at += n
			}
			for _, want := range bodies {
				got, err := sock.Recv()
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
				}
			}
			gone := make(chan error, 1)
			go func() { gone <- p.Watch() }()
			sock.Close()
			if err := <-gone; !errors.Is(err, nanomsg.ErrPeerClosed) {
				t.Errorf("the peer ended with %v", err)
			}
		})
	}
}

// Promise: what a PUSH socket of mangos sends is read, message by message.
func TestMangosPushes(t *testing.T) {
	for _, url := range urls {
		t.Run(url, func(t *testing.T) {
			free := listen(t, url)
			at := free.URLs()[0]
			free.Close()
			sock, err := push.NewSocket()
			if err != nil {
				t.Fatal(err)
			}
			defer sock.Close()
			if err := sock.Listen(at); err != nil {
				t.Fatal(err)
			}
			p, err := nanomsg.Dial(within(t), nanomsg.DialConfig{URL: at, MaxMessage: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for _, b := range bodies {
				if err := sock.Send(b); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range bodies {
				if got, err := p.Recv(); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
				}
			}
			if err := sock.Send(make([]byte, 1<<20+1)); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Recv(); !errors.Is(err, messages.ErrTooLarge) {
				t.Errorf("a message over the limit: %v", err)
			}
		})
	}
}

var pullHeader = []byte{0, 'S', 'P', 0, 0, 0x51, 0, 0}

// raw dials without a socket, and says hello.
func raw(t *testing.T, l *nanomsg.Listener, hello []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(l.URLs()[0], "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	return c
}

// Promise: a peer that reads nothing gives back what it has not begun with, and gets the
// message that it has begun with whole, once it reads.
func TestAPeerThatReadsNothingStalls(t *testing.T) {
	l := listen(t, urls[0])
	c := raw(t, l, pullHeader)
	p := accept(t, l)
	block := bytes.Repeat([]byte("z"), 200_000)
	sent := 0
	for {
		n, err := p.Send([][]byte{block, block, block, block})
		sent += n
		if errors.Is(err, nanomsg.ErrStalled) {
			break
		}
		if err != nil || sent > 1000 {
			t.Fatalf("%d sent, %v", sent, err)
		}
	}
	finished := make(chan error, 1)
	go func() { finished <- p.Finish() }()
	whole := 8 + (sent+1)*(8+len(block))
	if _, err := io.CopyN(io.Discard, c, int64(whole)); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if n, err := p.Send([][]byte{[]byte("next")}); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	head := make([]byte, 12)
	if _, err := io.ReadFull(c, head); err != nil || binary.BigEndian.Uint64(head) != 4 || string(head[8:]) != "next" {
		t.Errorf("behind it came %q, %v", head, err)
	}
}

// Promise: who is no PULL peer is refused with a reason, and holds nobody up.
func TestStrangersAreRefused(t *testing.T) {
	refused := make(chan nanomsg.Refusal, 64)
	l := listen(t, urls[0], func(c *nanomsg.ListenerConfig) {
		c.HandshakeTimeout, c.MaxPending, c.MaxPeers = 300*time.Millisecond, 2, 1
		c.Refused = func(r nanomsg.Refusal) { refused <- r }
	})
	reason := func(want string) {
		t.Helper()
		select {
		case r := <-refused:
			if r.Reason != want {
				t.Errorf("refused as %s (%v), want %s", r.Reason, r.Err, want)
			}
		case <-time.After(patience):
			t.Fatalf("nobody was refused as %s", want)
		}
	}
	raw(t, l, []byte("GET / HTTP/1.1\r\n"))
	reason("not-sp")
	raw(t, l, []byte{0, 'S', 'P', 0, 0, 0x50, 0, 0})
	reason("not-sp")
	raw(t, l, nil)
	reason("timeout")
	_ = raw(t, l, pullHeader[:4]).Close()
	reason("gone")
	raw(t, l, nil)
	raw(t, l, nil)
	raw(t, l, nil)
	reason("evicted")
	good := raw(t, l, pullHeader)
	p := accept(t, l)
	for range 2 {
		<-refused // one more was evicted, and one out of time
	}
	raw(t, l, pullHeader)
	reason("full")
	if _, err := good.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := p.Watch(); !errors.Is(err, nanomsg.ErrNotSP) {
		t.Errorf("a PULL peer that sends: %v", err)
	}
	p.Close()
	raw(t, l, pullHeader)
	accept(t, l)
}

// Promise: dialling obeys its context, and says what is wrong with who listens there.
func TestDialSaysWhatIsWrong(t *testing.T) {
	l := listen(t, urls[0])
	if _, err := nanomsg.Dial(within(t), nanomsg.DialConfig{URL: "tls+tcp://127.0.0.1:1", MaxMessage: 1}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("an encrypted url: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	url := "tcp://" + silent.Addr().String()
	if _, err := nanomsg.Dial(within(t), nanomsg.DialConfig{URL: url, MaxMessage: 1, Timeout: 50 * time.Millisecond}); !errors.Is(err, nanomsg.ErrHandshakeTimeout) {
		t.Errorf("nobody speaks: %v", err)
	}
	ctx, cancel := context.WithCancelCause(within(t))
	why := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if _, err := nanomsg.Dial(ctx, nanomsg.DialConfig{URL: url, MaxMessage: 1}); !errors.Is(err, why) {
		t.Errorf("a context that ended: %v", err)
	}
	p, err := nanomsg.Dial(within(t), nanomsg.DialConfig{URL: l.URLs()[0], MaxMessage: 1})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, p.Close)
	if _, err := p.Recv(); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("Recv after Close: %v", err)
	}
}

// Nothing that a peer says makes Recv panic, or take memory for what it only claims.
func FuzzRecv(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 9, 'x'})
	f.Fuzz(func(t *testing.T, said []byte) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = c.Write(append([]byte{0, 'S', 'P', 0, 0, 0x50, 0, 0}, said...))
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		}()
		p, err := nanomsg.Dial(t.Context(), nanomsg.DialConfig{URL: "tcp://" + ln.Addr().String(), MaxMessage: 64})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for rest := said; ; {
			b, err := p.Recv()
			if err != nil {
				return
			}
			if n := binary.BigEndian.Uint64(rest); n > 64 || !bytes.Equal(b, rest[8:8+n]) {
				t.Fatalf("got %q of %q", b, rest)
			}
			rest = rest[8+len(b):]
		}
	})
}
