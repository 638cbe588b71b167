package carrier_test

// What WebSocket refuses and answers, below the suite of package socket.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// asked is a right request for a WebSocket at /a.
const asked = "GET /a?x=y HTTP/1.1\r\nHost: orders.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: push.sp.nanomsg.org\r\n" +
	"Origin: https://evil.example\r\nX-Forwarded-For: 10.0.0.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

func listenWS(t *testing.T) net.Listener {
	t.Helper()
	by, err := carrier.Of(address.WS)
	if err != nil {
		t.Fatal(err)
	}
	u, err := address.Parse("ws://127.0.0.1:0/a")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := by.Listen(context.Background(), u, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// met is what a listener's end makes of a client that sends bytes and reads.
func met(t *testing.T, send string) (c net.Conn, client *bufio.Reader, below net.Conn, err error) {
	t.Helper()
	ln := listenWS(t)
	below, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = below.Close() })
	_ = below.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(below, send); err != nil {
		t.Fatal(err)
	}
	if c, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	err = c.(carrier.Opener).Handshake(context.Background())
	return c, bufio.NewReader(below), below, err
}

// Promise: what asks for no WebSocket of ours is refused with an answer of HTTP, and says
// what it lacks; what is no HTTP is refused at once.
func TestRequestsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		send   string
		status int // 0 for none
		err    error
	}{
		"a page":              {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusBadRequest, carrier.ErrNoWebSocket},
		"another path":        {strings.Replace(asked, "/a?x=y", "/b", 1), http.StatusNotFound, carrier.ErrNoWebSocket},
		"a path below":        {strings.Replace(asked, "/a?x=y", "/a/", 1), http.StatusNotFound, carrier.ErrNoWebSocket},
		"another method":      {strings.Replace(asked, "GET /a", "GET\t/a", 1), 0, carrier.ErrNoWebSocket},
		"a post":              {"POST /a HTTP/1.1\r\nHost: x\r\n\r\n", 0, carrier.ErrNoWebSocket},
		"an old version":      {strings.Replace(asked, "HTTP/1.1", "HTTP/1.0", 1), http.StatusHTTPVersionNotSupported, carrier.ErrNoWebSocket},
		"a version to come":   {strings.Replace(asked, "Version: 13", "Version: 14", 1), http.StatusUpgradeRequired, carrier.ErrNoWebSocket},
		"no subprotocol":      {strings.Replace(asked, "push.sp", "pull.sp", 1), http.StatusBadRequest, carrier.ErrNoWebSocket},
		"a header without :":  {strings.Replace(asked, "Origin: https://evil.example", "Origin", 1), http.StatusBadRequest, carrier.ErrNoWebSocket},
		"nanomsg over tcp":    {"\x00SP\x00\x00\x51\x00\x00", 0, carrier.ErrNoWebSocket},
		"TLS":                 {"\x16\x03\x01\x00\xff", 0, carrier.ErrNoWebSocket},
		"HTTP/2":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, carrier.ErrNoWebSocket},
		"an empty line first": {"\r\n" + asked, 0, carrier.ErrNoWebSocket},
		"too much":            {"GET /a HTTP/1.1\r\nCookie: " + strings.Repeat("x", 9<<10), 0, messages.ErrTooLarge},
		"too many":            {"GET /a HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 2000), 0, messages.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			conn, client, _, err := met(t, c.send)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			_ = conn.Close()
			status, _, err := answered(client)
			if c.status == 0 && err == nil || c.status != 0 && (err != nil || status != c.status) {
				t.Errorf("answered %d, %v, want status %d", status, err, c.status)
			}
		})
	}
}

// answered reads what the server answers to a request.
func answered(client *bufio.Reader) (status int, header http.Header, err error) {
	res, err := http.ReadResponse(client, nil)
	if err != nil {
		return 0, nil, err
	}
	return res.StatusCode, res.Header, res.Body.Close()
}

// readFrame reads a short frame.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<10 {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// framed is frames as a client sends them.
func framed(frames ...ws.Frame) string {
	var b bytes.Buffer
	for _, f := range frames {
		if !f.Header.Masked {
			f = ws.MaskFrame(f)
		}
		ws.MustWriteFrame(&b, f)
	}
	return b.String()
}

// part is a frame of a message in several.
func part(code ws.OpCode, fin bool, body string) ws.Frame {
	return ws.NewFrame(code, fin, []byte(body))
}

// Promise: what breaks WebSocket ends the stream, and the peer is told why by a code.
func TestFramesAreRefused(t *testing.T) {
	whole := ws.NewBinaryFrame([]byte("x"))
	rsv := ws.NewBinaryFrame([]byte("x"))
	rsv.Header.Rsv = 4
	long := ws.NewPingFrame(bytes.Repeat([]byte("x"), 126))
	var bare bytes.Buffer
	ws.MustWriteFrame(&bare, whole)
	for name, c := range map[string]struct {
		send string
		code ws.StatusCode
		err  error
	}{
		"text":                  {framed(ws.NewTextFrame([]byte("x"))), ws.StatusUnsupportedData, carrier.ErrNoWebSocket},
		"no mask":               {bare.String(), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"compressed":            {framed(rsv), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"an unknown code":       {framed(part(3, true, "")), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"the middle of nothing": {framed(part(ws.OpContinuation, false, "x")), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"two at once":           {framed(part(ws.OpBinary, false, "x"), whole), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"a long ping":           {framed(long), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"half a ping":           {framed(part(ws.OpPing, false, "x")), ws.StatusProtocolError, carrier.ErrNoWebSocket},
		"too long":              {"\x82\xfe\x10\x01\x00\x00\x00\x00", ws.StatusMessageTooBig, messages.ErrTooLarge},
		"much too long":         {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", ws.StatusMessageTooBig, messages.ErrTooLarge},
		"longer than there is":  {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", ws.StatusMessageTooBig, messages.ErrTooLarge},
		"too long in pieces": {framed(part(ws.OpBinary, false, strings.Repeat("x", 4<<10)), part(ws.OpContinuation, true, "x")),
			ws.StatusMessageTooBig, messages.ErrTooLarge},
		"overflowing in pieces": {framed(part(ws.OpBinary, false, "x")) + "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
			ws.StatusMessageTooBig, messages.ErrTooLarge},
		"an end":              {framed(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "restart"))), ws.StatusNormalClosure, io.EOF},
		"an end with a cause": {framed(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusPolicyViolation, "no"))), ws.StatusNormalClosure, io.EOF},
		"an end in silence":   {framed(ws.NewCloseFrame(nil)), ws.StatusNormalClosure, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			conn, client, _, err := met(t, asked+c.send)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, conn)
			if err == nil {
				err = io.EOF
			}
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			if _, again := conn.Read(make([]byte, 1)); again == nil {
				t.Error("the stream continues")
			}
			if _, _, err := answered(client); err != nil {
				t.Fatal(err)
			}
			f, err := readFrame(client)
			if code, _ := ws.ParseCloseFrameData(f.Payload); err != nil || f.Header.OpCode != ws.OpClose || code != c.code {
				t.Errorf("told %+v %d, %v, want %d", f.Header, code, err, c.code)
			}
		})
	}
}

// Promise: messages arrive whole, whether they came in one frame or in many, with pings in
// between that are answered; a client that does not wait for the answer loses nothing.
func TestFramesAreJoined(t *testing.T) {
	conn, client, below, err := met(t, asked+framed(
		ws.NewBinaryFrame([]byte("one")), part(ws.OpBinary, false, "t"), part(ws.OpContinuation, false, ""),
		ws.NewPingFrame([]byte("are you there")), part(ws.OpContinuation, true, "wo"), ws.NewPongFrame(nil), ws.NewBinaryFrame(nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := "\x00SP\x00\x00\x51\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x03one" + "\x00\x00\x00\x00\x00\x00\x00\x03two" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v, want %q", got, err, want)
	}
	status, header, err := answered(client)
	if err != nil || status != http.StatusSwitchingProtocols || header.Get("Sec-WebSocket-Protocol") != "push.sp.nanomsg.org" || header.Get("Sec-WebSocket-Extensions") != "" {
		t.Fatalf("%d, %v, %v", status, header, err)
	}
	f, err := readFrame(client)
	if err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "are you there" {
		t.Errorf("answered %+v, %v", f, err)
	}

	// A ping that comes while a message is being written is answered behind it.
	write := func(s string) {
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
	}
	write("\x00SP\x00\x00\x50\x00\x00")
	write("\x00\x00\x00\x00\x00\x00\x00\x06one")
	if _, err := io.WriteString(below, framed(ws.NewPingFrame([]byte("now")), ws.NewBinaryFrame([]byte("x")))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got[:9]); err != nil {
		t.Fatal(err)
	}
	write("two")
	write("\x00\x00\x00\x00\x00\x00\x00\x00")
	for i, want := range []string{"onetwo", "now", ""} {
		if f, err := readFrame(client); err != nil || string(f.Payload) != want || !f.Header.Fin || f.Header.Masked {
			t.Errorf("frame %d is %+v, %v", i, f, err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = readFrame(client)
	if code, _ := ws.ParseCloseFrameData(f.Payload); err != nil || code != ws.StatusNormalClosure {
		t.Errorf("the end is %+v, %v", f, err)
	}
}

// Promise: who dials says what a server answers that has no WebSocket for it, and asks by
// the name that was dialled.
func TestAnswersAreRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\n\r\n":                             "404 Not Found",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno\n":  "502 Bad Gateway",
		"HTTP/1.1 308 Permanent Redirect\r\nLocation: wss://x\r\n\r": "308",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                   "Upgrade",
		"SSH-2.0-OpenSSH\r\n":                                        "no HTTP",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan string, 1)
		go func() {
			defer func() { _ = ln.Close() }()
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				heard <- fmt.Sprint(req.Host, " ", req.URL.Path, " ", req.Header.Get("Sec-WebSocket-Protocol"))
				_, _ = io.WriteString(c, answer)
			}
		}()
		u, _, err := address.Dial("ws://orders.example:80/a/b")
		if err != nil {
			t.Fatal(err)
		}
		by, _ := carrier.Of(u.Scheme)
		c, err := by.Dial(context.Background(), u, ln.Addr().String(), carrier.Target{})
		if err != nil {
			t.Fatal(err)
		}
		err = c.(carrier.Opener).Handshake(context.Background())
		if !errors.Is(err, carrier.ErrNoWebSocket) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", answer, err, want)
		}
		_ = c.Close()
		if got := <-heard; got != "orders.example /a/b push.sp.nanomsg.org" {
			t.Errorf("asked for %q", got)
		}
	}
}

// Promise: a wss URL of a proxy takes the certificate of a web server for that name, of
// the authorities of links, and no other; it is no session.
func TestProxysCertificate(t *testing.T) {
	ca := carriertest.NewCA(t)
	member := ca.Issue(t, time.Hour, "spiffe://x/billing").TLS(t)
	for name, c := range map[string]struct {
		proxy carriertest.Files
		says  string
	}{
		"its own":           {ca.Issue(t, time.Hour, "proxy.example"), ""},
		"another name":      {ca.Issue(t, time.Hour, "orders.example"), "proxy.example"},
		"expired":           {ca.Issue(t, -time.Minute, "proxy.example"), "expired"},
		"another authority": {carriertest.NewCA(t).Issue(t, time.Hour, "proxy.example"), "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			by, _ := carrier.Of(address.WSS)
			u, _ := address.Parse("wss://127.0.0.1:0/a")
			ln, err := by.Listen(context.Background(), u, c.proxy.TLS(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			accepted := make(chan net.Conn, 1)
			go func() {
				if s, err := ln.Accept(); err == nil {
					_ = s.(carrier.Opener).Handshake(context.Background())
					accepted <- s
				}
			}()
			at, _, err := address.Dial("wss://proxy.example:443/a?via=proxy")
			if err != nil {
				t.Fatal(err)
			}
			// Listed is nobody: the proxy is not the sender.
			conn, err := by.Dial(context.Background(), at, ln.Addr().String(), carrier.Target{TLS: member, Identities: []string{"orders.example"}})
			if err != nil {
				t.Fatal(err)
			}
			err = conn.(carrier.Opener).Handshake(context.Background())
			_ = conn.Close()
			_ = (<-accepted).Close()
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if _, ok := conn.(carrier.Session); ok {
				t.Error("it counts as a session with the sender")
			}
		})
	}
}

// pipe is a stream over which all was said already.
type pipe struct {
	net.Conn
	in io.Reader
}

func (p pipe) Read(b []byte) (int, error)       { return p.in.Read(b) }
func (p pipe) Write(b []byte) (int, error)      { return len(b), nil }
func (p pipe) Close() error                     { return nil }
func (p pipe) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrames: whatever a client sends, what is read are whole messages behind their
// lengths, each within the limit, and the same however the bytes come.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(framed(ws.NewBinaryFrame([]byte("one")), ws.NewPingFrame([]byte("x")))))
	f.Add([]byte(framed(part(ws.OpBinary, false, "x"), part(ws.OpContinuation, true, "y"), ws.NewCloseFrame(nil))))
	f.Add([]byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, frames []byte) {
		read := func(in io.Reader) (string, error) {
			c := carrier.WebSocketOf(pipe{in: in})
			if err := c.(carrier.Opener).Handshake(context.Background()); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			return string(got), err
		}
		all := []byte(asked)
		all = append(all, frames...)
		got, err := read(bytes.NewReader(all))
		slow, slowly := read(iotestOneByte{bytes.NewReader(all)})
		if got != slow || (err == nil) != (slowly == nil) {
			t.Fatalf("%q, %v at once, %q, %v byte by byte", got, err, slow, slowly)
		}
		rest := got[8:]
		for len(rest) >= 8 {
			n := binary.BigEndian.Uint64([]byte(rest))
			if n > 4<<10 {
				t.Fatalf("a message of %d bytes", n)
			}
			rest = rest[8:]
			if uint64(len(rest)) < n {
				return // cut off
			}
			rest = rest[n:]
		}
		if rest != "" {
			t.Fatalf("%q is no length", rest)
		}
	})
}

// FuzzRequest: whatever comes as a request ends in an answer or an error, and takes no
// more than 8 KiB.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(asked))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("GET /a HTTP/1.1\nHost: x\n\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		in := bytes.NewReader(append(bytes.Clone(request), bytes.Repeat([]byte("x"), 32<<10)...))
		c := carrier.WebSocketOf(pipe{in: in})
		err := c.(carrier.Opener).Handshake(context.Background())
		if taken := len(request) + 32<<10 - in.Len(); taken > 13<<10 {
			t.Fatalf("%d bytes were taken: %v", taken, err)
		}
	})
}

type iotestOneByte struct{ io.Reader }

func (r iotestOneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
