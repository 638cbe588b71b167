package recvq

// Replies: what they settle, and what goes over the wire before what.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// fakeWire notes the frames that a link writes.
type fakeWire struct{ lines []string }

func (w *fakeWire) SendAck(a *frame.Ack) error {
	w.lines = append(w.lines, fmt.Sprint("ack ", a.Cumulative))
	return nil
}
func (w *fakeWire) SendNack(n frame.Nack) error {
	w.lines = append(w.lines, fmt.Sprint("nack ", n.Seq))
	return nil
}
func (w *fakeWire) SendReply(r *frame.Reply) error {
	w.lines = append(w.lines, fmt.Sprintf("reply %d %s", r.Request, r.Error))
	return nil
}
func (w *fakeWire) SendPing(frame.Ping) error   { return nil }
func (w *fakeWire) SendDrain(frame.Drain) error { return nil }
func (w *fakeWire) Leave(pb.Code, string)       {}

// requests come to the link, numbered from 101.
func requests(t *testing.T, k *Link, n int) (ds []messages.Delivery) {
	t.Helper()
	k.largest = 1 << 20
	var records []byte
	for i := range n {
		m := messages.Ask(*recordtest.Numbered(uint64(i+1), 8), uint64(101+i))
		records = messages.AppendRecord(records, &m)
	}
	if err := arriveAt(k, k.received+1, n, records, nil, false); err != nil {
		t.Fatal(err)
	}
	ds, err := k.queue.Poll(t.Context(), n, true)
	if err != nil || len(ds) != n {
		t.Fatalf("%d of %d came: %v", len(ds), n, err)
	}
	return ds
}

// A reply goes at once and alone, before the ack that covers it; Reject of a request is one.
func TestAReplyGoesBeforeItsAck(t *testing.T) {
	_, k, _ := fed(t, 0, nil)
	ds := requests(t, k, 3)
	var r report
	for ok := true; ok; {
		ok, _ = k.collect(&r, time.Now()) // what was to be told before
	}
	if !ds[0].Requested() {
		t.Error("it is no request")
	}
	if err := ds[0].Reply(messages.Message{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	ds[1].Reject(errors.New("never"))
	w := &fakeWire{}
	var ack frame.Ack
	if ok, _ := k.collect(&r, time.Now()); !ok {
		t.Fatal("a reply waits")
	}
	_ = r.send(w, &ack)
	k.wrote(&r)
	if want := []string{"reply 101 ", "reply 102 never"}; !slices.Equal(w.lines, want) {
		t.Errorf("at first goes %q, want %q", w.lines, want)
	}
	w.lines = nil
	ds[2].Nack(errors.New("again"))
	if ok, _ := k.collect(&r, time.Now()); !ok {
		t.Fatal("a nack waits")
	}
	_ = r.send(w, &ack)
	if want := []string{"nack 3", "ack 3"}; !slices.Equal(w.lines, want) {
		t.Errorf("then goes %q, want %q", w.lines, want)
	}
	if k.replying != 0 {
		t.Errorf("%d bytes of replies wait", k.replying)
	}
}

// A reply that cannot be is refused, and settles nothing.
func TestRepliesThatAreRefused(t *testing.T) {
	_, k, _ := fed(t, 0, nil)
	ds := requests(t, k, 3)
	large := messages.Message{Value: make([]byte, k.largest+1)}
	for name, c := range map[string]struct {
		m    messages.Message
		want error
	}{
		"too large":   {large, messages.ErrTooLarge},
		"bad headers": {messages.Message{Headers: []messages.Header{{Name: "\xff"}}}, messages.ErrInvalid},
	} {
		if err := ds[0].Reply(c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ds[0].Reply(messages.Message{}); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	if err := ds[0].Reply(messages.Message{}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("the second reply: %v", err)
	}
	k.replying = repliesAtOnce
	if err := ds[1].Reply(messages.Message{}); !errors.Is(err, messages.ErrBusy) {
		t.Errorf("behind %d bytes: %v", repliesAtOnce, err)
	}
	k.queue.Shut(k)
	if err := ds[2].Reply(messages.Message{}); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("over a link that is gone: %v", err)
	}
	if d := (messages.Delivery{}); d.Requested() || d.Reply(messages.Message{}) != nil {
		t.Error("a delivery without a settler is a request")
	}
}

// settledAt waits until everything up to seq is settled.
func settledAt(k *Link, seq uint64) {
	for {
		if acked, _ := settledOf(k); acked >= seq {
			return
		}
		runtime.Gosched()
	}
}

// A handler that rejects a request refuses it, and one that fails nacks it.
func TestHandlersOfRequests(t *testing.T) {
	in, k, _ := fed(t, 0, nil)
	m := messages.Ask(*recordtest.Numbered(1, 8), 9)
	if err := arriveAt(k, 1, 1, messages.AppendRecord(nil, &m), nil, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	_, wait := runHandlers(ctx, in, 1, func(context.Context, messages.Delivery) error {
		close(done)
		return fmt.Errorf("no: %w", messages.ErrReject)
	})
	<-done
	settledAt(k, 1)
	cancel()
	wait()
	if len(k.replies) != 1 || !k.replies[0].Failed || k.replies[0].Request != 9 || k.acks.Cumulative != 1 || len(k.failures) != 0 {
		t.Errorf("replies %+v, acked %d, nacked %v", k.replies, k.acks.Cumulative, k.failures)
	}
}
