package conformance

// Beats and silence.

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// A beat short enough to wait for, and long enough for a machine that is busy
// with other things.
const testBeat = 200 * time.Millisecond

var lifeTests = map[string]func(*testing.T, *suite){
	"BeatsKeepAnIdleConnection": func(t *testing.T, s *suite) {
		const allowed = 10
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.Beat, cfg.DeadAfter = testBeat/4, allowed })
		sc, mc := snd.link(t)
		go func() { _ = drop(sc) }()
		go func() { _ = drop(mc) }()
		// Twice as many beats as their absence may last.
		const beat = 10
		s0, m0 := sc.BytesIn(), mc.BytesIn()
		eventually(t, "beats arrive on both sides", func() bool {
			if sc.Err() != nil || mc.Err() != nil {
				t.Fatalf("an idle connection ended: %v, %v", sc.Err(), mc.Err())
			}
			return sc.BytesIn()-s0 >= 2*allowed*beat && mc.BytesIn()-m0 >= 2*allowed*beat
		})
		if d := time.Since(sc.LastHeard()); d > patience {
			t.Errorf("last heard %v ago", d)
		}
	},
	"SilentPeer": func(t *testing.T, s *suite) {
		snd, p := s.proxied(t, func(cfg *socket.ListenerConfig) { cfg.Beat = testBeat })
		sc, mc := snd.link(t)
		ended := make(chan time.Time, 2)
		for _, c := range []*socket.Conn{sc, mc} {
			go func() {
				_ = drop(c)
				ended <- time.Now()
			}()
		}
		// After some beats, so that the deadline has been moved.
		eventually(t, "some beats", func() bool { return time.Since(sc.LastHeard()) < testBeat/2 })
		p.freeze()
		expectEnd(t, sc, socket.ErrPeerSilent)
		expectEnd(t, mc, socket.ErrPeerSilent)
		<-ended
		<-ended
		for _, c := range []*socket.Conn{sc, mc} {
			if silent := time.Since(c.LastHeard()); silent < 3*testBeat {
				t.Errorf("given up after %v of silence, %v are allowed", silent, 3*testBeat)
			}
		}
	},
	"ReaderThatWasAway": func(t *testing.T, s *suite) {
		// Nobody reads for longer than a peer may be silent: its beats wait in
		// the kernel, and it is not dead.
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.Beat = testBeat })
		sc, mc := snd.link(t)
		go func() { _ = drop(sc) }()
		<-time.After(5 * testBeat)
		must(t, sc.SendData(1, nil, false, 0, records(1, 10, 1)))
		var f frame.Frame
		must(t, mc.Recv(&f))
		if f.Kind != frame.KindData {
			t.Fatalf("received %s", describe(&f))
		}
	},
	"StuckWriterDelaysNobodyElse": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.Beat, cfg.DeadAfter = testBeat/2, 8 })
		stuck, _ := snd.link(t)
		sc, mc := snd.link(t)
		go func() { _ = drop(sc) }()
		go func() { _ = drop(mc) }()
		done := fillUp(t, stuck)
		from := mc.BytesIn()
		eventually(t, "another connection still gets beats", func() bool { return mc.BytesIn()-from >= 12*10 })
		if err := mc.Err(); err != nil {
			t.Fatal(err)
		}
		must(t, stuck.Close())
		<-done
	},
}

// fillUp sends to a peer that does not read until the kernel takes no more, and
// leaves a goroutine blocked in SendData. The channel tells its end.
func fillUp(t *testing.T, c *socket.Conn) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		body := records(1, 16<<10, 1)
		for {
			if err := c.SendData(1, nil, false, 0, body); err != nil {
				done <- err
				return
			}
		}
	}()
	// There is no signal for "blocked": no frame for a while has to do.
	at, since := c.BytesOut(), time.Now()
	eventually(t, "the kernel's buffers are full", func() bool {
		if now := c.BytesOut(); now != at {
			at, since = now, time.Now()
		}
		return at > 32<<10 && time.Since(since) > 250*time.Millisecond
	})
	return done
}
