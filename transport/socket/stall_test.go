package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// beating plays a peer that beats until c ends.
func beating(c *Conn, far net.Conn, every time.Duration) {
	go func() {
		for {
			if _, err := far.Write(wirePing); err != nil {
				return
			}
			select {
			case <-c.Done():
				return
			case <-time.After(every):
			}
		}
	}()
}

func readAll(c *Conn) {
	var f frame.Frame
	for c.Recv(&f) == nil {
	}
}

// Where the system does not say what a peer took, a stuck write is given ten
// times the time of death.
func TestAPeerThatBeatsAndTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		go readAll(c)
		beating(c, far, time.Second)
		began := time.Now()
		err := c.SendDrain(frame.Drain{})
		if !errors.Is(err, ErrPeerStuck) {
			t.Fatalf("%v, want ErrPeerStuck", err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("given up after %v", took)
		}
	})
}

// A beat is a write like any other.
func TestABeatThatIsStuckIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		go readAll(c)
		beating(c, far, time.Second)
		<-c.Done()
		if err := c.Err(); !errors.Is(err, ErrPeerStuck) {
			t.Fatalf("%v, want ErrPeerStuck", err)
		}
	})
}

// overTCP is an open Conn over a real connection, with quick beats.
func overTCP(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(near)
	c := newConn(w, direct{w}, roleSender, settings{maxFrame: DefaultMaxFrame, beat: 50 * time.Millisecond, deadAfter: 30})
	w.attach(c.release(func() {}))
	c.open()
	t.Cleanup(func() {
		_ = c.Close()
		_ = far.Close()
	})
	return c, far
}

func fill(c *Conn, frames int) error {
	records := messages.AppendRecord(nil, &messages.Message{Value: make([]byte, 1<<20)})
	for i := range frames {
		if err := c.SendData(uint64(i+1), nil, false, 0, records); err != nil {
			return err
		}
	}
	return nil
}

func TestAStuckPeerIsGivenUpASlowOneIsNot(t *testing.T) {
	t.Parallel()
	stuck, far := overTCP(t)
	if unsent(stuck.w.c) == unknownUnsent {
		t.Skip("the system does not say what the peer has taken")
	}
	go readAll(stuck)
	beating(stuck, far, 20*time.Millisecond)
	if err := fill(stuck, 100); !errors.Is(err, ErrPeerStuck) {
		t.Errorf("%v, want ErrPeerStuck", err)
	}

	slow, far := overTCP(t)
	go readAll(slow)
	done := make(chan struct{})
	beating(slow, far, 20*time.Millisecond)
	go func() {
		defer close(done)
		// Until it has taken 3 s of it slowly, twice what a stuck one has; then the rest at once.
		buf := make([]byte, 32<<10)
		for range 60 {
			if _, err := far.Read(buf); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		_, _ = io.Copy(io.Discard, far)
	}()
	if err := fill(slow, 20); err != nil {
		t.Errorf("a slow peer: %v", err)
	}
	_ = slow.Close()
	<-done
}

// Eight bytes are a claim: memory comes with the bytes.
func TestMemoryGrowsWithWhatComes(t *testing.T) {
	const claimed = 64 << 20
	allocated := 0
	alloc := func(n int) []byte { allocated += n; return make([]byte, n) }
	head := binary.BigEndian.AppendUint64(nil, claimed)
	w := newWire(&script{pieces: [][]byte{head}, end: io.EOF})
	w.trust(claimed, 0, alloc)
	if _, err := w.Recv(); !errors.Is(err, ErrPeerClosed) || allocated > firstRead {
		t.Errorf("%d bytes were allocated for a length alone: %v", allocated, err)
	}
	allocated = 0
	w = newWire(&script{pieces: [][]byte{append(head, make([]byte, 1<<20)...)}, end: io.EOF})
	w.trust(claimed, 0, alloc)
	if _, err := w.Recv(); !errors.Is(err, ErrPeerClosed) || allocated > 8<<20 {
		t.Errorf("%d bytes were allocated for 1 MiB: %v", allocated, err)
	}
	body := message(3<<20, 7)
	w = newWire(&script{pieces: split(body, 100_000), end: io.EOF})
	w.trust(claimed, 0, alloc)
	if m, err := w.Recv(); err != nil || len(m.Body) != 3<<20 || m.Body[0] != 7 || m.Body[3<<20-1] != 7 {
		t.Errorf("a frame of 3 MiB: %v", err)
	}
}

// A peer that has sent long frames may claim as much again: such a frame gets its memory at
// once, and no copy is made. A claim of more is a claim.
func TestMemoryOfALongFrameIsTakenOnce(t *testing.T) {
	const size, claimed = 1 << 20, 64 << 20
	var taken []int
	stream := append(message(size, 1), message(size, 2)...)
	stream = append(stream, message(size/2, 3)...)
	stream = binary.BigEndian.AppendUint64(stream, claimed)
	w := newWire(&script{pieces: split(stream, 50_000), end: io.EOF})
	w.trust(claimed, 0, func(n int) []byte { taken = append(taken, n); return make([]byte, n) })
	for i := range 4 {
		taken = nil
		m, err := w.Recv()
		switch {
		case i == 3:
			if len(taken) != 1 || taken[0] != size {
				t.Errorf("a claim of 64 MiB after frames of 1 MiB takes %v", taken)
			}
		case err != nil || m.Body[0] != byte(i+1) || bytes.Count(m.Body, m.Body[:1]) != len(m.Body):
			t.Fatalf("frame %d: %v", i, err)
		case i > 0 && (len(taken) != 1 || taken[0] != len(m.Body)):
			t.Errorf("frame %d of %d bytes takes %v", i, len(m.Body), taken)
		}
	}
}

// A member sends a sender small frames only, and each kind has its limit.
func TestEachKindAndDirectionHasItsLimit(t *testing.T) {
	ranges := func(n int) *frame.Ack {
		a := &frame.Ack{}
		for i := range uint64(n) {
			a.Ranges = append(a.Ranges, frame.Range{From: 1<<60 + 2*i, To: 1<<60 + 2*i})
		}
		return a
	}
	long := func(tag byte, n int) []byte {
		inner := append([]byte{2<<3 | 2, 0x80 | byte(n), byte(n>>7) | 0x80, byte(n >> 14)}, make([]byte, n)...)
		size := len(inner)
		return append([]byte{tag<<3 | 2, 0x80 | byte(size), byte(size>>7) | 0x80, byte(size >> 14)}, inner...)
	}
	for name, c := range map[string]struct {
		role role
		body []byte
		want error
	}{
		"an ack of all it may have":  {roleSender, frame.AppendAck(nil, ranges(frame.MaxAckRanges)), nil},
		"an ack of a range too many": {roleSender, frame.AppendAck(nil, ranges(frame.MaxAckRanges+1)), frame.ErrProtocol},
		"a member's frame of 66 KiB": {roleSender, make([]byte, 66<<10), messages.ErrTooLarge},
		"an ack of 65 KiB":           {roleSender, long(byte(frame.KindAck), memberFrame+1), frame.ErrProtocol},
		"a nack with a long reason":  {roleSender, long(byte(frame.KindNack), 5000), frame.ErrProtocol},
		"a bye with a long reason":   {roleMember, long(byte(frame.KindBye), 5000), frame.ErrProtocol},
		"a long drain":               {roleMember, long(byte(frame.KindDrain), 5000), frame.ErrProtocol},
		"data to a sender":           {roleSender, long(byte(frame.KindData), 50), frame.ErrProtocol},
		"an ack to a member":         {roleMember, frame.AppendAck(nil, ranges(1)), frame.ErrProtocol},
	} {
		stream := append(binary.BigEndian.AppendUint64(nil, uint64(len(c.body))), c.body...)
		w := newWire(&script{pieces: split(stream, 10_000), end: io.EOF})
		conn := newConn(w, direct{w}, c.role, settings{maxFrame: DefaultMaxFrame, beat: time.Hour, deadAfter: 3})
		conn.open()
		var f frame.Frame
		if err := conn.Recv(&f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		_ = conn.Close()
	}
	if err := ranges(frame.MaxAckRanges + 1).Check(); !errors.Is(err, frame.ErrProtocol) {
		t.Errorf("an ack of too many ranges may be sent: %v", err)
	}
}

// Abort waits for byeTimeout at most, whoever writes.
func TestAbortCutsAWriterShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := openOver(t)
		go func() { _ = c.SendDrain(frame.Drain{}) }() // nobody reads at the other end
		synctest.Wait()
		began, cause := time.Now(), errors.New("what the peer did")
		c.Abort(7, cause)
		if took := time.Since(began); took > byeTimeout || !errors.Is(c.Err(), cause) {
			t.Errorf("it took %v and ended with %v", took, c.Err())
		}
		_ = far.Close()
	})
}
