package actors

// What a member tells a sender, and when: the writing half of a source's link.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// reportTo tells the sender what is settled, as it comes. It runs hosted.
func reportTo(ctx context.Context, conn *socket.Conn, k *intake, tell func(any)) error {
	defer close(k.gone)
	var r report
	var ack frame.Ack
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ok, wait := k.report(&r, time.Now())
		if !ok {
			var due <-chan time.Time
			if wait > 0 {
				timer.Reset(wait)
				due = timer.C
			}
			select {
			case <-k.bell:
			case <-due:
			case <-k.drain:
				if err := conn.SendDrain(frame.Drain{}); err != nil {
					return err
				}
			case <-k.quit:
				for k.last(&r) {
					if err := r.send(conn, &ack); err != nil {
						return err
					}
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
		if k.drained() {
			tell(sourceDrained{})
		}
	}
}

// send tells the sender of failures first, because the ack covers them.
func (r *report) send(conn *socket.Conn, ack *frame.Ack) error {
	for _, f := range r.failures {
		if err := conn.SendNack(f.nack()); err != nil {
			return err
		}
	}
	r.ack(ack)
	return conn.SendAck(ack)
}

// leaveTimeout bounds how long a link that ends in order holds up its member.
const leaveTimeout = 500 * time.Millisecond

// takeLeave has what is settled told to the sender, and a Bye said.
func (k *intake) takeLeave() {
	close(k.quit)
	patience := time.NewTimer(leaveTimeout)
	defer patience.Stop()
	select {
	case <-k.gone:
	case <-patience.C:
	}
}

// nack is how a failure goes over the wire.
func (f failure) nack() frame.Nack {
	n := frame.Nack{Seq: f.seq, Reason: f.reason}
	n.Kind = f.kind
	return n
}

func (r *report) ack(a *frame.Ack) {
	a.Cumulative, a.CreditMessages, a.CreditBytes = r.cumulative, r.credit, r.creditBytes
	a.Ranges = append(a.Ranges[:0], r.ranges...)
	a.Withdraw, a.AckWait = r.withdraw, r.ackWait
	a.Renewed = append(a.Renewed[:0], r.renewed...)
}
