package pipes_test

// What becomes of messages between plain peers that come, read, stop and go: peers that the
// test plays byte by byte.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// played is a stock peer that the test plays.
type played struct{ net.Conn }

// greets exchanges nanomsg's header; protocol is 0x51 for PULL, 0x50 for PUSH.
func greets(t *testing.T, c net.Conn, protocol byte) played {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte{0, 'S', 'P', 0, 0, protocol, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	return played{c}
}

// playPull dials a destination's plain listener, and waits until it is a peer.
func playPull(t *testing.T, d *actors.Destination) played {
	t.Helper()
	before := plainPeers(d)
	c, err := net.Dial("tcp", strings.TrimPrefix(d.PlainURLs()[0], "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	p := greets(t, c, 0x51)
	enginetest.Until(t, "the peer is linked", func() bool { return plainPeers(d) == before+1 })
	return p
}

// next is the next message that is whole.
func (p played) next() (string, error) {
	var head [8]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint64(head[:]))
	_, err := io.ReadFull(p, b)
	return string(b), err
}

// says sends a message.
func (p played) says(t *testing.T, text string) {
	t.Helper()
	if _, err := p.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		t.Fatal(err)
	}
}

// heard notes the events of an engine.
func heard(t *testing.T, e *actors.Engine) (find func(match func(messages.Event) bool) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var all []messages.Event
	over := make(chan struct{})
	events := e.Events(ctx)
	go func() {
		defer close(over)
		for ev := range events {
			mu.Lock()
			all = append(all, ev)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
	return func(match func(messages.Event) bool) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(all, match)
	}
}

// plainStats is the peers' group of a destination.
func plainStats(d *actors.Destination) (s messages.PipeStats) {
	for _, s = range d.Stats() {
		if s.Group == messages.PlainGroup {
			return s
		}
	}
	return messages.PipeStats{}
}

// Promise: peers that read take turns.
func TestPlainPeersTakeTurns(t *testing.T) {
	t.Parallel()
	const peers, rounds = 3, 20
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	d := enginetest.Register(t, e, senders.Config{Plain: "tcp://127.0.0.1:0"})
	var mu sync.Mutex
	got := make(map[int][]string) // by peer
	for i := range peers {
		p := playPull(t, d)
		go func() {
			for v, err := p.next(); err == nil; v, err = p.next() {
				mu.Lock()
				got[i] = append(got[i], v)
				mu.Unlock()
			}
		}()
	}
	for id := range peers * rounds {
		if err := d.Send(ctx, messages.Message{Value: fmt.Append(nil, id)}); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Until(t, "all is read", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got[0])+len(got[1])+len(got[2]) == peers*rounds
	})
	mu.Lock()
	defer mu.Unlock()
	for i := range peers {
		if n := len(got[i]); n != rounds {
			t.Errorf("peer %d got %d messages of %d: %v", i, n, peers*rounds, got[i])
		}
	}
}

// Promise: of a peer that stops reading and goes away in the middle of a message, all that
// was not written whole goes to another peer, once, and nothing else does.
func TestPlainPeerGoesInTheMiddle(t *testing.T) {
	t.Parallel()
	const n, size = 30, 1 << 20
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	events := heard(t, e)
	d := enginetest.Register(t, e, senders.Config{Plain: "tcp://127.0.0.1:0", PlainPolicy: messages.QueueBlock})
	first := playPull(t, d)
	for id := range n {
		if err := d.Send(ctx, messages.Message{Value: append(fmt.Appendf(nil, "%03d", id), make([]byte, size)...)}); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := first.next(); err != nil || v[:3] != "000" {
		t.Fatalf("the first message: %.3q, %v", v, err)
	}
	enginetest.Until(t, "the first peer is known to read nothing, and has a message in part", func() bool {
		for _, peer := range enginetest.ActorsOf(e, "peer") {
			if value(peer, "in_flight") == "1" && value(peer, "credit") == "0" {
				return true
			}
		}
		return false
	})
	whole := int(plainStats(d).Acked) // by the first peer, into the system's buffers
	second := playPull(t, d)
	read := make(chan string, n)
	go func() {
		defer close(read)
		for v, err := second.next(); err == nil; v, err = second.next() {
			if len(v) != 3+size {
				t.Errorf("a message of %d bytes", len(v))
			}
			read <- v[:3]
		}
	}()
	settled := func() uint64 { return plainStats(d).Acked }
	enginetest.Until(t, "one message is left, which the first peer has in part", func() bool { return settled() == n-1 })
	if events(func(e messages.Event) bool { _, ok := e.(messages.PlainPeerUnlinked); return ok }) {
		t.Error("a peer that does not read was hung up on")
	}
	_ = first.Close()
	if err := d.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "what the first peer had in part is given back", func() bool {
		return events(func(e messages.Event) bool {
			u, ok := e.(messages.PlainPeerUnlinked)
			return ok && u.Requeued == 1 && u.URL == d.PlainURLs()[0]
		})
	})
	if s := plainStats(d); s.Acked != n || s.Dropped != 0 {
		t.Errorf("%d are settled and %d dropped of %d", s.Acked, s.Dropped, n)
	}
	var ids []string
	for range n - whole {
		ids = append(ids, enginetest.Await(t, "a message of the second peer", read))
	}
	slices.Sort(ids)
	for i, id := range ids {
		if id != fmt.Sprintf("%03d", whole+i) {
			t.Errorf("the first peer took %d messages whole, and the second one has %v", whole, ids)
			break
		}
	}
}

// value is what an actor reports of itself under a name.
func value(a supervisor.Info, name string) string {
	for _, x := range a.Attributes {
		if x.Name == name {
			return x.Value
		}
	}
	return ""
}

// Promise: what waits when the last peer has gone is the next one's within KeepFor, and is
// dropped and counted after.
func TestPlainKeepFor(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	events := heard(t, e)
	send := func(d *actors.Destination, values ...string) {
		t.Helper()
		for _, v := range values {
			if err := d.Send(ctx, messages.Message{Value: []byte(v)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	comesAndGoes := func(d *actors.Destination) {
		t.Helper()
		p := playPull(t, d)
		_ = p.Close()
		enginetest.Until(t, "the peer has gone", func() bool { return plainPeers(d) == 0 })
	}

	kept := enginetest.Register(t, e, senders.Config{Name: "kept", Plain: "tcp://127.0.0.1:0", PlainKeepFor: messages.Forever})
	comesAndGoes(kept)
	send(kept, "one", "two")
	p := playPull(t, kept)
	for _, want := range []string{"one", "two"} {
		if v, err := p.next(); err != nil || v != want {
			t.Errorf("the next peer gets %q, %v; want %q", v, err, want)
		}
	}

	short := enginetest.Register(t, e, senders.Config{Name: "short", Plain: "tcp://127.0.0.1:0", PlainKeepFor: 3 * time.Second})
	comesAndGoes(short)
	send(short, "one", "two", "three")
	enginetest.Until(t, "KeepFor is over", func() bool {
		return events(func(e messages.Event) bool {
			r, ok := e.(messages.GroupRemoved)
			return ok && r.Destination == "short" && r.Group == messages.PlainGroup && r.Unsent == 3
		})
	})
	p = playPull(t, short)
	send(short, "four")
	if v, err := p.next(); err != nil || v != "four" {
		t.Errorf("a peer after KeepFor gets %q, %v", v, err)
	}
}

// Promise: a delivery of a plain peer that is nacked, released, rejected, or whose handler
// fails is dropped, counted, and never handled again.
func TestPlainDeliveryThatFails(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e := enginetest.NewSpace(t).Begin(t)
	events := heard(t, e)
	type outcome struct {
		m   *actors.Member
		err error
	}
	joined := make(chan outcome, 1)
	go func() { // it waits for the peer
		m, err := e.Join(context.Background(), members.Config{Destination: "orders", Group: "billing", PlainURLs: []string{"tcp://" + ln.Addr().String()}})
		joined <- outcome{m, err}
	}()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := greets(t, c, 0x50)
	o := enginetest.Await(t, "Join", joined)
	if o.err != nil {
		t.Fatal(o.err)
	}
	handled := make(chan string, 100)
	enginetest.Consume(t, o.m, func(_ context.Context, d messages.Delivery) error {
		handled <- string(d.Value)
		switch string(d.Value) {
		case "fails":
			return errors.New("no")
		case "panics":
			panic("no")
		case "rejects":
			return fmt.Errorf("never: %w", messages.ErrReject)
		}
		return nil
	})
	all := []string{"fails", "panics", "rejects", "is handled"}
	for _, v := range all {
		p.says(t, v)
	}
	for _, want := range all {
		if v := enginetest.Await(t, "a delivery", handled); v != want {
			t.Errorf("the handler got %q, want %q", v, want)
		}
	}
	dropped := 0
	enginetest.Until(t, "three are counted", func() bool {
		dropped = 0
		events(func(e messages.Event) bool {
			if d, ok := e.(messages.MessagesDropped); ok && d.Group == "billing" {
				dropped += d.Count
			}
			return false
		})
		return dropped >= 3
	})
	p.says(t, "and the last")
	if v := enginetest.Await(t, "a delivery", handled); v != "and the last" || dropped != 3 {
		t.Errorf("the handler got %q after those that failed, %d are dropped", v, dropped)
	}
}
