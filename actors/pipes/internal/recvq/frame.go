package recvq

// What came in one frame, from its arrival until all of it is settled.

import (
	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// Frame is what came in one frame.
type Frame struct {
	link  *Link
	first uint64
	count int
	left  int // not settled
	size  int
	// What is not handed out yet: records, and the sequence of the first.
	records  []byte
	seq      uint64
	attempts []uint32 // parallel to the frame's records; none means 1
	again    bool
	deaths   uint32
	turn     uint64         // when Deliver began with it
	seen     uint64         // nacks that the sender had taken when it sent this
	buffer   *frames.Buffer // to be used again once all is settled, or nil
}

// address fills what all deliveries of the frame have in common.
func (f *Frame) address(d *messages.Delivery) {
	cfg := &f.link.queue.cfg
	d.Destination, d.Group = cfg.Destination, cfg.Group
	d.Sender, d.Settler, d.Redelivered = f.link.Sender, f.link, f.again
	d.Deaths = int(f.deaths)
}

// next decodes the frame's next record that has not expired, or returns false at its end.
func (f *Frame) next(d *messages.Delivery) (bool, error) {
	for {
		if len(f.records) > 0 && f.isBehind() {
			f.drop()
		}
		if len(f.records) == 0 {
			return false, nil
		}
		n, err := messages.ConsumeRecord(f.records, &d.Payload)
		if err != nil {
			return false, err
		}
		f.records = f.records[n:]
		if !d.Expired() {
			break
		}
		f.link.lapse(f.seq)
		f.seq++
	}
	d.Seq = f.seq
	d.Attempt = 1
	if i := int(f.seq - f.first); i < len(f.attempts) {
		d.Attempt = int(f.attempts[i])
	}
	f.seq++
	return true, nil
}

// lapse settles a delivery that has expired before it was handed out.
func (l *Link) lapse(seq uint64) {
	l.lock()
	defer l.mu.Unlock()
	if seq <= l.handed {
		return
	}
	l.handed = seq
	l.returned++
	if l.epoch > 0 {
		l.user.Add(seq) // the receiver never gets it
	}
	if l.failing(failure{seq: seq, kind: frame.NackLapsed}) || l.atMostOnce() {
		l.queue.lapsed.Add(1)
	}
}

// spoil fails what is left of a frame whose bytes do not decode.
func (f *Frame) spoil(err error) {
	for ; f.seq < f.first+uint64(f.count); f.seq++ {
		f.link.fail(failure{seq: f.seq, reason: err.Error()})
	}
	f.records = nil
}
