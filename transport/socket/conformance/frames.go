package conformance

// Frames on an open connection.

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

var frameTests = map[string]func(*testing.T, *suite){
	"DataOfAllSizes": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		type sent struct {
			first    uint64
			attempts []uint32
			again    bool
			deaths   uint32
			records  []byte
			count    int
		}
		frames := []sent{
			{1, nil, false, 0, records(1, 0, 1), 1},
			{2, nil, true, 1, records(3, 100, 2), 3},
			{5, []uint32{1, 2, 300}, true, 700, records(3, 10, 3), 3},
			{1 << 60, nil, false, 0, records(500, 100, 4), 500},
			{7, nil, false, 0, records(1, maxMessage-16, 5), 1},
			{8, nil, false, 0, records(1, 1, 6), 1},
		}
		// Every size around the places where the wire changes its ways.
		for _, edge := range []int{128, 4 << 10, 8 << 10, 64 << 10} {
			for size := edge - 40; size < edge+40; size += 3 {
				frames = append(frames, sent{9, nil, false, 0, records(1, size, byte(size)), 1})
			}
		}
		go func() {
			for _, f := range frames {
				if sc.SendData(f.first, f.attempts, f.again, f.deaths, f.records) != nil {
					return
				}
			}
		}()
		var got frame.Frame
		var kept [][]byte
		for i, f := range frames {
			must(t, mc.Recv(&got))
			if got.Kind != frame.KindData || got.Data.First != f.first || got.Data.Count != f.count ||
				got.Data.Redelivered != f.again || got.Data.Deaths != f.deaths || !slices.Equal(got.Data.Attempts, f.attempts) {
				t.Fatalf("frame %d is %s %d×%d %v %v %d", i, got.Kind, got.Data.First, got.Data.Count, got.Data.Attempts, got.Data.Redelivered, got.Data.Deaths)
			}
			kept = append(kept, got.Data.Records)
		}
		// Only now: received bytes belong to the receiver forever.
		for i, f := range frames {
			if !bytes.Equal(kept[i], f.records) {
				t.Fatalf("frame %d has other records", i)
			}
		}
	},
	"ControlFrames": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		ack := frame.Ack{Cumulative: 7, Ranges: []frame.Range{{From: 9, To: 12}, {From: 14, To: 14}}, CreditMessages: 263, CreditBytes: 1 << 40}
		must(t, mc.SendAck(&ack))
		must(t, mc.SendAck(&frame.Ack{}))
		must(t, mc.SendNack(frame.Nack{Seq: 13, Kind: 2, After: time.Microsecond, Reason: "no \xff way"}))
		must(t, mc.SendNack(frame.Nack{Seq: 14, After: 1000 * time.Hour}))
		record := records(1, 5, 9)
		must(t, mc.SendReply(&frame.Reply{Request: 3, Record: record}))
		must(t, mc.SendReply(&frame.Reply{Request: 1 << 63, Failed: true, Error: "no \xff way"}))
		must(t, mc.SendDrain(frame.Drain{}))
		must(t, mc.SendBye(pb.Code_DRAINED, "done"))
		must(t, sc.SendDrain(frame.Drain{Last: 14, Reply: true}))
		must(t, sc.SendBye(pb.Code_REMOVED, "gone"))

		var f frame.Frame
		expect := func(c *socket.Conn, kind frame.Kind, ok func() bool) {
			t.Helper()
			must(t, c.Recv(&f))
			if f.Kind != kind || !ok() {
				t.Fatalf("received %s", describe(&f))
			}
		}
		expect(sc, frame.KindAck, func() bool {
			return f.Ack.Cumulative == 7 && slices.Equal(f.Ack.Ranges, ack.Ranges) && f.Ack.CreditMessages == 263 && f.Ack.CreditBytes == 1<<40
		})
		expect(sc, frame.KindAck, func() bool { return f.Ack.Cumulative == 0 && len(f.Ack.Ranges) == 0 && f.Ack.CreditMessages == 0 })
		expect(sc, frame.KindNack, func() bool {
			return f.Nack == frame.Nack{Seq: 13, Kind: 2, After: time.Millisecond, Reason: "no ? way"}
		})
		expect(sc, frame.KindNack, func() bool { return f.Nack == frame.Nack{Seq: 14, After: messages.MaxRetryAfter} })
		expect(sc, frame.KindReply, func() bool {
			return f.Reply.Request == 3 && bytes.Equal(f.Reply.Record, record) && !f.Reply.Failed && f.Reply.Error == ""
		})
		expect(sc, frame.KindReply, func() bool {
			return f.Reply.Request == 1<<63 && f.Reply.Record == nil && f.Reply.Failed && f.Reply.Error == "no ? way"
		})
		expect(sc, frame.KindDrain, func() bool { return f.Drain == frame.Drain{} })
		expect(sc, frame.KindBye, func() bool { return f.Bye == frame.Bye{Code: pb.Code_DRAINED, Reason: "done"} })
		expect(mc, frame.KindDrain, func() bool { return f.Drain == frame.Drain{Last: 14, Reply: true} })
		expect(mc, frame.KindBye, func() bool { return f.Bye == frame.Bye{Code: pb.Code_REMOVED, Reason: "gone"} })
	},
	"RefusedSendsLeaveTheConnection": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.MaxFrame = 64 << 10 })
		cfg := snd.member()
		cfg.MaxFrame = 64 << 10
		ctx := within(t)
		dialled := make(chan *socket.Conn, 1)
		go func() {
			c, err := socket.Dial(ctx, cfg)
			if err != nil {
				t.Error(err)
			}
			dialled <- c
		}()
		sc, err := snd.Accept(ctx)
		must(t, err)
		if err := sc.SendData(1, nil, false, 0, records(1, 1, 1)); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("data before welcome: %v", err)
		}
		var f frame.Frame
		if err := sc.Recv(&f); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("receiving before welcome: %v", err)
		}
		if err := sc.Welcome(senderID, 64<<10); !errors.Is(err, messages.ErrTooLarge) {
			t.Errorf("welcome for messages over MaxFrame: %v", err)
		}
		must(t, sc.Welcome(senderID, 1000))
		mc := <-dialled
		for what, attempt := range map[string]struct{ got, want error }{
			"frame over MaxFrame":  {sc.SendData(1, nil, false, 0, records(1, 64<<10, 1)), messages.ErrTooLarge},
			"no records":           {sc.SendData(1, nil, false, 0, nil), messages.ErrInvalid},
			"sequence 0":           {sc.SendData(0, nil, false, 0, records(1, 1, 1)), messages.ErrInvalid},
			"ack by a sender":      {sc.SendAck(&frame.Ack{}), frame.ErrProtocol},
			"nack by a sender":     {sc.SendNack(frame.Nack{}), frame.ErrProtocol},
			"data by a member":     {mc.SendData(1, nil, false, 0, records(1, 1, 1)), frame.ErrProtocol},
			"ranges backwards":     {mc.SendAck(&frame.Ack{Ranges: []frame.Range{{From: 5, To: 4}}}), messages.ErrInvalid},
			"reply by a sender":    {sc.SendReply(&frame.Reply{Request: 1, Failed: true}), frame.ErrProtocol},
			"reply over Welcome's": {mc.SendReply(&frame.Reply{Request: 1, Record: records(1, 2000, 1)}), messages.ErrTooLarge},
			"reply to nothing":     {mc.SendReply(&frame.Reply{Failed: true}), messages.ErrInvalid},
		} {
			if !errors.Is(attempt.got, attempt.want) {
				t.Errorf("%s: %v, want %v", what, attempt.got, attempt.want)
			}
		}
		must(t, sc.SendData(1, nil, false, 0, records(1, 1000, 1)))
		must(t, mc.Recv(&f))
	},
	"ManySenders": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		sc, mc := snd.link(t)
		const writers, each = 8, 50
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					size := []int{10, 5000, 70000}[i%3]
					if err := sc.SendData(uint64(w*each+i+1), nil, false, 0, records(1, size, byte(w))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		last := make([]uint64, writers)
		var f frame.Frame
		for range writers * each {
			must(t, mc.Recv(&f))
			w := int(f.Data.First-1) / each
			if f.Data.First <= last[w] {
				t.Fatalf("writer %d: %d came after %d", w, f.Data.First, last[w])
			}
			last[w] = f.Data.First
			size := []int{10, 5000, 70000}[int(f.Data.First-1)%each%3]
			if !bytes.Equal(f.Data.Records, records(1, size, byte(w))) {
				t.Fatalf("frame %d is torn", f.Data.First)
			}
		}
		wg.Wait()
	},
}
