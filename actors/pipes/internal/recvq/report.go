package recvq

// What a member tells a sender, and when.

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/order"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

// failure is a nack on its way to the sender.
type failure struct {
	seq    uint64
	kind   uint32 // why: one of the kinds of frame.Nack
	after  time.Duration
	reason string
}

// report is what the sender is to be told: failures first, because the ack
// covers them.
type report struct {
	replies     []frame.Reply // before all else, and often alone
	alone       bool
	failures    []failure
	cumulative  uint64
	ranges      []frame.Range
	credit      uint64
	creditBytes uint64
	withdraw    bool          // nothing may be sent until credit is granted again
	renewed     []frame.Range // InProgress since the last report
	ackWait     time.Duration
}

// collect returns what the sender is to be told now, or false and when to come
// again (zero: at the next bell). r's slices are reused.
func (l *Link) collect(r *report, now time.Time) (ok bool, wait time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	r.replies, l.replies = l.replies, r.replies[:0]
	if r.alone = false; !l.urgent {
		if len(r.replies) > 0 { // the ack can wait for company
			r.alone = true
			return true, 0
		}
		if l.due.IsZero() {
			return false, 0
		}
		if wait := l.due.Sub(now); wait > 0 {
			return false, wait
		}
	}
	l.urgent, l.due = false, time.Time{}
	l.reported = l.acks.Count
	r.failures = append(r.failures[:0], l.failures...)
	l.failures = l.failures[:0]
	r.cumulative = l.acks.Cumulative
	l.told = l.acks.Cumulative
	l.reportRanges(r)
	r.renewed = append(r.renewed[:0], l.renewed...)
	l.renewed = l.renewed[:0]
	r.credit, r.creditBytes, r.ackWait = 0, 0, 0
	r.withdraw = l.allowed == creditWithdrawn
	if l.allowed == creditGranted {
		if l.credit == 0 {
			r.ackWait = l.queue.cfg.AckWait
		}
		l.credit = l.acks.Count + uint64(l.window)
		r.credit = l.credit
		r.creditBytes = l.freed + uint64(l.queue.cfg.WindowBytes)
		l.granted = [2]uint64{max(l.granted[0], r.credit), max(l.granted[1], r.creditBytes)}
	}
	return true, 0
}

// reportRanges returns what is settled above the cumulative sequence. A report
// holds only so much: the next one begins where this one ended. mu is held.
func (l *Link) reportRanges(r *report) {
	r.ranges = r.ranges[:0]
	rest := l.acks.Ranges
	if l.reach > 0 {
		at, _ := slices.BinarySearchFunc(rest, l.reach, func(x frame.Range, seq uint64) int { return cmp.Compare(x.To, seq+1) })
		rest = rest[at:]
	}
	if l.reach = 0; len(rest) > frame.MaxAckRanges {
		rest = rest[:frame.MaxAckRanges]
		l.reach = rest[len(rest)-1].To
		l.hurry()
	}
	r.ranges = append(r.ranges, rest...)
}

// last returns everything that the sender was not told yet.
func (l *Link) last(r *report) bool {
	l.lock()
	l.urgent = l.acks.Count > l.reported || len(l.failures) > 0 || len(l.replies) > 0 || l.reach > 0
	urgent := l.urgent
	l.mu.Unlock()
	if !urgent {
		return false
	}
	ok, _ := l.collect(r, time.Now())
	return ok
}

// Wire is a link's connection, as far as it is written: *socket.Conn is one. Its
// methods block while the peer does not read, and fail once the connection has ended.
type Wire interface {
	SendAck(*frame.Ack) error
	SendNack(frame.Nack) error
	SendReply(*frame.Reply) error
	SendDrain(frame.Drain) error
	SendPing(frame.Ping) error
	// Leave ends the connection in order.
	Leave(pb.Code, string)
}

// Report tells the sender what is settled, as it comes, until the connection fails,
// TakeLeave was called, or ctx ends. drained is called once the sender has been told
// that everything is settled which it will ever send; it may be called several times.
func (l *Link) Report(ctx context.Context, conn Wire, drained func()) error {
	defer close(l.gone)
	var r report
	var ack frame.Ack
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var pings <-chan time.Time // of a group that keeps an order
	if l.order != nil {
		every := time.NewTicker(order.PingEvery)
		defer every.Stop()
		pings = every.C
		if err := l.ping(conn); err != nil {
			return err
		}
	}
	for {
		select {
		case <-pings:
			if err := l.ping(conn); err != nil {
				return err
			}
		default:
		}
		ok, wait := l.collect(&r, time.Now())
		if !ok {
			var due <-chan time.Time
			if wait > 0 {
				timer.Reset(wait)
				due = timer.C
			}
			select {
			case <-l.bell:
			case <-due:
			case <-pings:
				if err := l.ping(conn); err != nil {
					return err
				}
			case <-l.drain:
				if err := conn.SendDrain(frame.Drain{}); err != nil {
					return err
				}
			case <-l.quit:
				for l.last(&r) {
					if err := r.send(conn, &ack); err != nil {
						return err
					}
					l.wrote(&r)
				}
				conn.Leave(pb.Code_DRAINED, "the member leaves")
				return nil
			case <-ctx.Done():
				return nil
			}
			continue
		}
		if err := r.send(conn, &ack); err != nil {
			return err
		}
		l.wrote(&r)
		if l.drained() {
			drained()
		}
	}
}

// ping asks the sender to say that it hears the member.
func (l *Link) ping(conn Wire) error {
	return conn.SendPing(frame.Ping{Number: l.order.lease.Ping(time.Now())})
}

// wrote makes room for more replies.
func (l *Link) wrote(r *report) {
	if len(r.replies) == 0 {
		return
	}
	l.lock()
	defer l.mu.Unlock()
	for i := range r.replies {
		l.replying -= len(r.replies[i].Record)
	}
	clear(r.replies)
	r.replies = r.replies[:0]
}

// send writes the replies, then the failures, because the ack covers both.
func (r *report) send(conn Wire, ack *frame.Ack) error {
	for i := range r.replies {
		if err := conn.SendReply(&r.replies[i]); err != nil {
			return err
		}
	}
	if r.alone {
		return nil
	}
	for _, f := range r.failures {
		if err := conn.SendNack(f.nack()); err != nil {
			return err
		}
	}
	r.ack(ack)
	return conn.SendAck(ack)
}

// nack is how a failure goes over the wire.
func (f failure) nack() frame.Nack {
	return frame.Nack{Seq: f.seq, Kind: f.kind, After: f.after, Reason: f.reason}
}

func (r *report) ack(a *frame.Ack) {
	a.Cumulative, a.CreditMessages, a.CreditBytes = r.cumulative, r.credit, r.creditBytes
	a.Ranges = append(a.Ranges[:0], r.ranges...)
	a.Withdraw, a.AckWait = r.withdraw, r.ackWait
	a.Renewed = append(a.Renewed[:0], r.renewed...)
}
