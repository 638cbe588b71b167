package socket_test

// Stock peers of nanomsg at a WebSocket of ours, both ways: the stream below a link is
// theirs, too.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	_ "go.nanomsg.org/mangos/v3/transport/ws"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// The SP headers of the two halves.
const (
	pushes = "\x00SP\x00\x00\x50\x00\x00"
	pulls  = "\x00SP\x00\x00\x51\x00\x00"
)

// stockSizes are around the places where frames get another header, and where nng
// divides messages.
var stockSizes = []int{0, 1, 125, 126, 65535, 65536, 200_000}

// open shakes hands as this half and expects the other.
func open(t *testing.T, c net.Conn, self, peer string) net.Conn {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	check(c.(carrier.Opener).Handshake(context.Background()))
	c.(carrier.Limited).Limit(1 << 20)
	_, err := io.WriteString(c, self)
	check(err)
	head := make([]byte, len(peer))
	if _, err := io.ReadFull(c, head); err != nil || string(head) != peer {
		t.Fatalf("the peer is %q, %v", head, err)
	}
	return c
}

// stockListener accepts whoever pulls.
func stockListener(t *testing.T) (url string, accept func() net.Conn) {
	t.Helper()
	u, err := address.Parse("ws://127.0.0.1:0/orders")
	check(err)
	by, err := carrier.Of(u.Scheme)
	check(err)
	ln, err := by.Listen(context.Background(), u, nil)
	check(err)
	t.Cleanup(func() { _ = ln.Close() })
	return "ws://" + ln.Addr().String() + u.Path, func() net.Conn {
		c, err := ln.Accept()
		check(err)
		return open(t, c, pushes, pulls)
	}
}

// stockDial pulls from whoever listens there.
func stockDial(t *testing.T, url string) net.Conn {
	t.Helper()
	u, at, err := address.Dial(url)
	check(err)
	by, err := carrier.Of(u.Scheme)
	check(err)
	var c net.Conn
	for range 200 { // a program that was started begins to listen some time
		if c, err = by.Dial(context.Background(), u, at, carrier.Target{}); err == nil {
			return open(t, c, pulls, pushes)
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

func pushTo(c net.Conn, body []byte) {
	_, err := c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...))
	check(err)
}

func pullFrom(c net.Conn) []byte {
	var length [8]byte
	_, err := io.ReadFull(c, length[:])
	check(err)
	body := make([]byte, binary.BigEndian.Uint64(length[:]))
	_, err = io.ReadFull(c, body)
	check(err)
	return body
}

// Promise: stock mangos pulls from a WebSocket of ours, and we pull from one of its.
func TestStockMangosOverWebSocket(t *testing.T) {
	url, accept := stockListener(t)
	r, err := pull.NewSocket()
	check(err)
	defer func() { _ = r.Close() }()
	check(r.SetOption(mangos.OptionRecvDeadline, 20*time.Second))
	check(r.DialOptions(url, map[string]any{mangos.OptionDialAsynch: true}))
	c := accept()
	for _, n := range stockSizes {
		pushTo(c, bytes.Repeat([]byte("x"), n))
		if got, err := r.Recv(); err != nil || len(got) != n {
			t.Fatalf("%d bytes: received %d, %v", n, len(got), err)
		}
	}

	s, err := push.NewSocket()
	check(err)
	defer func() { _ = s.Close() }()
	l, err := s.NewListener("ws://127.0.0.1:0/billing", nil)
	check(err)
	check(l.Listen())
	c = stockDial(t, l.Address())
	for _, n := range stockSizes {
		check(s.Send(bytes.Repeat([]byte("x"), n)))
		if got := pullFrom(c); len(got) != n {
			t.Fatalf("%d bytes: received %d", n, len(got))
		}
	}
}

// Promise: nngcat and nanocat do, too.
func TestStockToolsOverWebSocket(t *testing.T) {
	for _, tool := range []string{"nngcat", "nanocat"} {
		t.Run(tool, func(t *testing.T) {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skip(tool + " is not installed")
			}
			url, accept := stockListener(t)
			puller := exec.Command(tool, "--pull", "--connect", url, "--ascii")
			out, err := puller.StdoutPipe()
			check(err)
			check(puller.Start())
			defer func() { _ = puller.Process.Kill(); _ = puller.Wait() }()
			c := accept()
			pushTo(c, []byte("to a stock peer"))
			text := make([]byte, len("to a stock peer"))
			if _, err := io.ReadFull(out, text); err != nil || string(text) != "to a stock peer" {
				t.Errorf("it received %q, %v", text, err)
			}

			free, err := net.Listen("tcp", "127.0.0.1:0")
			check(err)
			at := fmt.Sprintf("ws://%s", free.Addr()) // nanomsg binds no path
			check(free.Close())
			long := strings.Repeat("from a stock peer ", 7000)
			pusher := exec.Command(tool, "--push", "--bind", at, "--data", long)
			check(pusher.Start())
			defer func() { _ = pusher.Process.Kill(); _ = pusher.Wait() }()
			if got := pullFrom(stockDial(t, at)); string(got) != long {
				t.Errorf("received %d bytes of %d", len(got), len(long))
			}
		})
	}
}
