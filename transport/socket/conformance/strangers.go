package conformance

// Strangers at a listener.

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

var strangerTests = map[string]func(*testing.T, *suite){
	"Garbage": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		for _, garbage := range []string{
			"GET / HTTP/1.1\r\n\r\n",
			"\x00SP\x01\x00\x51\x00\x00",
			"\x00SP\x00\x00\x50\x00\x00",
			"\x00SP\x00\x00\x51\x00\x01",
			"\xff\xff\xff\xff\xff\xff\xff\xff",
		} {
			c := s.raw(t, snd.Addr())
			_, err := c.Write([]byte(garbage))
			must(t, err)
			expectEOF(t, c)
			snd.expectRefusal(t, socket.ReasonNotSP)
		}
	},
	"GarbageFrame": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		for _, body := range []string{"", "\xff", "\x0a\xff", "\x0a\x02\xff\xff", "\x0a\x00\x0a\x00", "\x00\x00"} {
			c := s.rawMember(t, snd)
			_, err := c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...))
			must(t, err)
			expectEOF(t, c)
			snd.expectRefusal(t, socket.ReasonMalformed)
		}
	},
	"HalfHeader": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		c := s.raw(t, snd.Addr())
		_, err := c.Write([]byte("\x00SP"))
		must(t, err)
		must(t, c.Close())
		snd.expectRefusal(t, socket.ReasonGone)
	},
	"HalfHandshake": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		c := s.rawMember(t, snd)
		must(t, rawWrite(c, helloFrame(snd.URL(), destination, 1)))
		_, err := rawRead(c)
		must(t, err)
		must(t, c.Close())
		snd.expectRefusal(t, socket.ReasonGone)
	},
	"FrameOutOfPlace": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		for _, f := range []*pb.Frame{
			{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: make([]byte, 32)}}},
			{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{Mac: make([]byte, 32)}}},
			{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}},
			{Kind: &pb.Frame_Ack{Ack: &pb.Ack{CreditMessages: 1 << 40}}},
		} {
			c := s.rawMember(t, snd)
			must(t, rawWrite(c, f))
			expectBye(t, c, pb.Code_PROTOCOL_ERROR)
			snd.expectRefusal(t, socket.ReasonProtocol)
		}
	},
	"HelloWithoutNames": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		c := s.rawMember(t, snd)
		must(t, rawWrite(c, &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1}}}))
		expectBye(t, c, pb.Code_PROTOCOL_ERROR)
		snd.expectRefusal(t, socket.ReasonMalformed)
	},
	"HugeLengthBeforeWelcome": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		for _, size := range []uint64{4<<10 + 1, 1 << 30, 1<<63 - 1, 1<<64 - 1} {
			c := s.rawMember(t, snd)
			_, err := c.Write(binary.BigEndian.AppendUint64(nil, size))
			must(t, err)
			expectEOF(t, c)
			snd.expectRefusal(t, socket.ReasonTooLarge)
		}
	},
	"HugeLengthAfterWelcome": func(t *testing.T, s *suite) {
		for name, into := range map[string]func(*stream) net.Conn{
			"sender": func(s *stream) net.Conn { return s.sender },
			"member": func(s *stream) net.Conn { return s.member },
		} {
			t.Run(name, func(t *testing.T) {
				snd, p := s.proxied(t)
				sc, mc := snd.link(t)
				target := map[string]*socket.Conn{"sender": sc, "member": mc}[name]
				_, err := into(p.only(t)).Write(binary.BigEndian.AppendUint64(nil, 1<<62))
				must(t, err)
				go func() { _ = drop(target) }()
				want := messages.ErrTooLarge
				if s.features.Injected != nil {
					want = s.features.Injected
				}
				expectEnd(t, target, want)
			})
		}
	},
	"SlowLoris": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.HandshakeTimeout = 300 * time.Millisecond })
		c := s.raw(t, snd.Addr())
		// One byte now and then is progress, and yet not enough.
		go func() {
			for {
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
				<-time.After(20 * time.Millisecond)
			}
		}()
		loris := s.rawMember(t, snd)
		go func() {
			length := binary.BigEndian.AppendUint64(nil, 1000)
			for i := 0; ; i++ {
				if _, err := loris.Write(length[i%8 : i%8+1]); err != nil {
					return
				}
				<-time.After(20 * time.Millisecond)
			}
		}()
		expectEOF(t, loris)
		snd.expectRefusal(t, socket.ReasonTimeout)
	},
	"CrowdOfIdle": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		snd.welcomeAll(t, nil)
		for range s.features.Crowd {
			s.below(t, snd.Addr())
		}
		snd.expectRefusal(t, socket.ReasonEvicted)
		if n := snd.Stats().Pending; n > 128 {
			t.Errorf("%d connections are pending, the cap is 128", n)
		}
		expectQuickDial(t, snd)
	},
	"CrowdOfGarbage": func(t *testing.T, s *suite) {
		// mangos would sleep 10 ms for each of these, one after the other.
		snd := s.listen(t)
		snd.welcomeAll(t, nil)
		for range 300 {
			c := s.below(t, snd.Addr())
			_, err := c.Write([]byte("GET / HT"))
			must(t, err)
			must(t, c.Close())
		}
		expectQuickDial(t, snd)
	},
	"EvictionSparesGuests": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.MaxPending = 2 })
		sc, mc := snd.link(t)
		go func() { _ = drop(mc) }()
		first := s.below(t, snd.Addr())
		for range 3 {
			s.below(t, snd.Addr())
		}
		expectEOF(t, first)
		snd.expectRefusal(t, socket.ReasonEvicted)
		snd.expectRefusal(t, socket.ReasonEvicted)
		must(t, sc.SendDrain(frame.Drain{}))
		if err := sc.Err(); err != nil {
			t.Fatalf("a welcomed connection ended: %v", err)
		}
	},
}

// expectQuickDial is the promise to good members: strangers do not delay them.
// The bound is wide for a busy machine, and still far from the seconds that a
// serial handshake would take.
func expectQuickDial(t *testing.T, snd *sender) {
	t.Helper()
	began := time.Now()
	c, err := socket.Dial(within(t), snd.member())
	must(t, err)
	took := time.Since(began)
	must(t, c.Close())
	if took > time.Second {
		t.Errorf("a good member waited %v", took)
	}
	t.Logf("a good member waited %v", took)
}
