package socket

// A peer that breaks the protocol is told why, whatever else goes on.

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

// lastBye reads frames to the end, and returns the Bye among them.
func lastBye(t *testing.T, c net.Conn) (bye *pb.Bye) {
	t.Helper()
	for {
		var head [lengthSize]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return bye
		}
		b := make([]byte, binary.BigEndian.Uint64(head[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return bye
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(b, f); err != nil {
			t.Errorf("a frame that does not decode: %v", err)
		}
		if f.GetBye() != nil {
			bye = f.GetBye()
		}
	}
}

// Promise: a frame that does not decode, is too large or has no place ends the connection,
// with a Bye that says why; frame.Breaks tells it from a broken network.
func TestWhoBreaksTheProtocolIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  error
		says  string
	}{
		"gibberish":        {append(binary.BigEndian.AppendUint64(nil, 4), 0xff, 0xff, 0xff, 0xff), messages.ErrCorrupt, "bad tag"},
		"an endless frame": {binary.BigEndian.AppendUint64(nil, math.MaxUint64), messages.ErrTooLarge, "the limit is"},
		"an ack":           {append(binary.BigEndian.AppendUint64(nil, 2), tagOf(frame.KindAck), 0), frame.ErrProtocol, "ack frame"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := openOver(t)
				done := make(chan error, 1)
				go func() {
					var f frame.Frame
					done <- conn.Recv(&f)
				}()
				go func() {
					_, _ = far.Write(c.bytes)
					_, _ = far.Write(make([]byte, 1<<20)) // what is on its way does not stand in the way of the Bye
				}()
				bye := lastBye(t, far)
				if bye.GetCode() != pb.Code_PROTOCOL_ERROR || !strings.Contains(bye.GetReason(), c.says) {
					t.Errorf("the peer was told %v, want %q", bye, c.says)
				}
				if err := <-done; !errors.Is(err, c.want) || !frame.Breaks(err) {
					t.Errorf("Recv returned %v, want %v", err, c.want)
				}
			})
		})
	}
}

func tagOf(k frame.Kind) byte { return byte(k)<<3 | 2 }

// Promise: a connection that breaks, also in the middle of a frame, is nobody's violation.
func TestABrokenConnectionIsNoViolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := openOver(t)
		go func() {
			_, _ = far.Write(append(binary.BigEndian.AppendUint64(nil, 100), 1, 2, 3))
			_ = far.Close()
		}()
		var f frame.Frame
		if err := conn.Recv(&f); err == nil || frame.Breaks(err) {
			t.Errorf("Recv returned %v", err)
		}
	})
}

// Promise: who breaks the protocol and takes no bytes holds nobody up for longer than
// byeTimeout, and the end has the cause that it has, whoever meets it.
func TestExpelCutsAStuckWriteShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := openOver(t)
		sent := make(chan error, 1)
		go func() { sent <- conn.SendDrain(frame.Drain{}) }() // nobody reads at the other end
		synctest.Wait()
		began := time.Now()
		go func() { _, _ = far.Write(append(binary.BigEndian.AppendUint64(nil, 1), 0x80)) }()
		var f frame.Frame
		if err := conn.Recv(&f); !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("Recv returned %v", err)
		}
		if took := time.Since(began); took > byeTimeout {
			t.Errorf("it took %v", took)
		}
		if err := <-sent; !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("Send returned %v", err)
		}
	})
}
