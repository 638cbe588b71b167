package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.nanomsg.org/mangos/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// Framing and the pulse, on connections that are not sockets: what a read
// returns, and the clock, are the test's.

// direct is a Conn's pipe without mangos in between.
type direct struct{ w *wire }

func (d direct) SendMsg(m *mangos.Message) error { return d.w.Send(m) }
func (d direct) Close() error                    { return d.w.Close() }
func (d direct) RecvMsg() *mangos.Message {
	m, err := d.w.Recv()
	if err != nil {
		return nil
	}
	return m
}

// script is a net.Conn whose reads are the given pieces, then an end.
type script struct {
	net.Conn
	pieces [][]byte
	end    error
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, s.end
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func message(size int, fill byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(size)), bytes.Repeat([]byte{fill}, size)...)
}

func split(b []byte, n int) (pieces [][]byte) {
	for len(b) > n {
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return append(pieces, b)
}

func TestWireReadsWhateverTheReadsAre(t *testing.T) {
	sizes := []int{0, 1, 100, readBuffer - lengthSize - 1, readBuffer - lengthSize, readBuffer - lengthSize + 1, 3 * readBuffer, 5, 0, 70000, 1}
	var stream []byte
	for i, n := range sizes {
		stream = append(stream, message(n, byte(i+1))...)
	}
	for _, piece := range []int{1, 7, 8, 9, 4096, readBuffer, len(stream)} {
		w := newWire(&script{pieces: split(bytes.Clone(stream), piece), end: io.EOF})
		w.trust(1<<20, 0, nil)
		for i, n := range sizes {
			m, err := w.Recv()
			if err != nil {
				t.Fatalf("pieces of %d, message %d: %v", piece, i, err)
			}
			if len(m.Body) != n || bytes.Count(m.Body, []byte{byte(i + 1)}) != n || cap(m.Body) != n {
				t.Fatalf("pieces of %d, message %d: %d bytes (cap %d), want %d", piece, i, len(m.Body), cap(m.Body), n)
			}
			if owned := n > readBuffer-lengthSize; w.owned != owned {
				t.Fatalf("message of %d bytes: owned %v", n, w.owned)
			}
		}
		if _, err := w.Recv(); !errors.Is(err, ErrPeerClosed) || strings.Contains(err.Error(), "middle") {
			t.Fatalf("at the end: %v", err)
		}
	}
}

func TestWireEnds(t *testing.T) {
	reset := errors.New("some network error")
	for name, c := range map[string]struct {
		stream []byte
		end    error
		want   error
		text   string
	}{
		"closed in a length":     {[]byte{0, 0, 0}, io.EOF, ErrPeerClosed, "middle of a frame"},
		"closed in a short body": {message(100, 1)[:50], io.EOF, ErrPeerClosed, "middle of a frame"},
		"closed in a long body":  {message(60000, 1)[:50000], io.EOF, ErrPeerClosed, "middle of a frame"},
		"closed after a length":  {message(60000, 1)[:8], io.EOF, ErrPeerClosed, "middle of a frame"},
		"too large":              {binary.BigEndian.AppendUint64(nil, 100001), io.EOF, messages.ErrTooLarge, "frame of 100001 bytes, the limit is 100000"},
		"absurdly large":         {binary.BigEndian.AppendUint64(nil, 1<<64-1), io.EOF, messages.ErrTooLarge, "the limit is 100000"},
		"a network error":        {nil, reset, reset, ""},
	} {
		w := newWire(&script{pieces: [][]byte{c.stream}, end: c.end})
		allocated := 0
		w.trust(100000, 0, func(n int) []byte { allocated += n; return make([]byte, n) })
		_, err := w.Recv()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v (%s)", name, err, c.want, c.text)
		}
		if allocated > 100000 {
			t.Errorf("%s: allocated %d bytes", name, allocated)
		}
		if w.cause() != err || w.end(errEvicted) != err {
			t.Errorf("%s: the first cause is not kept", name)
		}
		select {
		case <-w.done:
		default:
			t.Errorf("%s: the wire did not end", name)
		}
	}
}

func TestStrangersFrameIsBounded(t *testing.T) {
	for size, ok := range map[int]bool{strangerFrame: true, strangerFrame + 1: false} {
		w := newWire(&script{pieces: [][]byte{message(size, 1)}, end: io.EOF})
		if _, err := w.Recv(); (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestSPHeader(t *testing.T) {
	for head, ok := range map[[8]byte]bool{
		{0, 'S', 'P', 0, 0, 0x51, 0, 0}: true,
		{0, 'S', 'P', 0, 0, 0x50, 0, 0}: false,
		{0, 'S', 'P', 1, 0, 0x51, 0, 0}: false,
		{0, 'S', 'P', 0, 0, 0x51, 0, 1}: false,
		{1, 'S', 'P', 0, 0, 0x51, 0, 0}: false,
	} {
		err := checkSPHeader(head, 0x51)
		if (err == nil) != ok || (!ok && !errors.Is(err, ErrNotSP)) {
			t.Errorf("%x: %v", head, err)
		}
	}
}

// openOver is an open Conn in a bubble, and the other end of its stream.
func openOver(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	w := newWire(near)
	c := newConn(w, direct{w}, roleMember, settings{maxFrame: DefaultMaxFrame, beat: time.Second, deadAfter: 3})
	w.attach(c.release(func() {}))
	c.open()
	t.Cleanup(func() {
		_ = c.Close()
		_ = far.Close()
	})
	return c, far
}

var wirePing = frame.AppendPing(binary.BigEndian.AppendUint64(nil, 2))

func TestDeadAfterThreeBeatsOfSilence(t *testing.T) {
	for name, heard := range map[string][]time.Duration{
		"never heard":          {0},
		"one beat":             {0, 1 * time.Second},
		"beats, unevenly":      {0, 900 * time.Millisecond, 1300 * time.Millisecond, 4200 * time.Millisecond},
		"always at the last":   {0, 2999 * time.Millisecond, 5998 * time.Millisecond, 8997 * time.Millisecond},
		"many, then silence":   {0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond},
		"just after a refresh": {0, 510 * time.Millisecond, 520 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := openOver(t)
				began := time.Now()
				go func() { _, _ = io.Copy(io.Discard, far) }()
				go func() {
					for _, at := range heard[1:] {
						time.Sleep(time.Until(began.Add(at)))
						if _, err := far.Write(wirePing); err != nil {
							return
						}
					}
				}()
				var f frame.Frame
				err := c.Recv(&f)
				if !errors.Is(err, ErrPeerSilent) {
					t.Fatalf("%v, want ErrPeerSilent", err)
				}
				if got, want := time.Since(began), heard[len(heard)-1]+3*time.Second; got != want {
					t.Errorf("given up after %v, want %v", got, want)
				}
			})
		})
	}
}

func TestProgressInsideAFrameIsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		go func() { _, _ = io.Copy(io.Discard, far) }()
		records := messages.AppendRecord(nil, &messages.Message{Value: make([]byte, 100_000)})
		data := append(frame.AppendDataHeader(nil, 1, nil, false, 0, len(records)), records...)
		stream := append(binary.BigEndian.AppendUint64(nil, uint64(len(data))), data...)
		go func() {
			for _, piece := range split(stream, 10_000) {
				time.Sleep(2900 * time.Millisecond)
				if _, err := far.Write(piece); err != nil {
					return
				}
			}
		}()
		var f frame.Frame
		if err := c.Recv(&f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Data.Records, records) {
			t.Error("other records")
		}
	})
}

func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		began := time.Now()
		var got [10]byte
		for i := 1; i <= 4; i++ {
			if _, err := io.ReadFull(far, got[:]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got[:], wirePing) {
				t.Fatalf("%x is no ping", got)
			}
			if at := time.Since(began); at != time.Duration(i)*time.Second {
				t.Errorf("beat %d after %v", i, at)
			}
		}
		// Somebody writes: no beat waits behind him.
		c.w.mu.Lock()
		time.Sleep(5500 * time.Millisecond)
		c.w.mu.Unlock()
		if _, err := io.ReadFull(far, got[:]); err != nil {
			t.Fatal(err)
		}
		if at := time.Since(began); at != 10*time.Second {
			t.Errorf("the next beat after %v, want 10s", at)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, got[:]); err == nil {
			t.Error("a beat after Close")
		}
	})
}

// A peer that lets nothing through must not let a beat's goroutine outlive the
// connection.
func TestCloseUnblocksABeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		time.Sleep(1500 * time.Millisecond) // the beat is in Write now
		if c.w.mu.TryLock() {
			t.Fatal("no beat is blocked")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.w.mu.Lock()
		c.w.mu.Unlock() //nolint:staticcheck // that it can be locked is the point
		_ = far.Close()
	})
}

// Promise of DefaultMaxFrame.
func TestDefaultMaxFrameHoldsAMessage(t *testing.T) {
	const message = 4 << 20
	if most := message + messages.RecordOverhead(message) + frame.Overhead; DefaultMaxFrame < most {
		t.Errorf("%d bytes, a frame may have %d", DefaultMaxFrame, most)
	}
}
