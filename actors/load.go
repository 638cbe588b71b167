package actors

// What came in one frame, from its arrival until all of it is settled.

import (
	"sync"

	"github.com/penstock-io/penstock/messages"
)

// load is what came in one frame.
type load struct {
	from  *intake
	first uint64
	count int
	left  int // not settled
	size  int
	// What is not handed out yet: records, and the sequence of the first.
	records  []byte
	seq      uint64
	attempts []uint32 // parallel to the frame's records; none means 1
	again    bool
	buffer   *frameBuffer // to be used again once all is settled, or nil
}

// frameBuffer is a frame's memory where MemberConfig.ReuseBuffers is set.
type frameBuffer [64 << 10]byte

var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

// buffers hands out frames' memory on one link, for one goroutine.
type buffers struct{ last *frameBuffer }

// get answers n bytes. Small frames have memory of their own, so that a window
// of them does not hold a buffer each.
func (b *buffers) get(n int) []byte {
	b.last = nil
	if n < len(frameBuffer{})/4 || n > len(frameBuffer{}) {
		return make([]byte, n)
	}
	b.last = frameBuffers.Get().(*frameBuffer)
	return b.last[:n]
}

// take answers the buffer behind the last frame, or nil.
func (b *buffers) take() *frameBuffer {
	last := b.last
	b.last = nil
	return last
}

// address fills what all deliveries of the load have in common.
func (l *load) address(d *messages.Delivery) {
	cfg := &l.from.inlet.cfg
	d.Destination, d.Group = cfg.Destination, cfg.Group
	d.Sender, d.Settler, d.Redelivered = l.from.sender, l.from, l.again
}

// next decodes the load's next record, or answers false at its end.
func (l *load) next(d *messages.Delivery) (bool, error) {
	if len(l.records) == 0 {
		return false, nil
	}
	n, err := messages.ConsumeRecord(l.records, &d.Payload)
	if err != nil {
		return false, err
	}
	l.records = l.records[n:]
	d.Seq = l.seq
	d.Attempt = 1
	if i := int(l.seq - l.first); i < len(l.attempts) {
		d.Attempt = int(l.attempts[i])
	}
	l.seq++
	return true, nil
}

// spoil fails what is left of a load whose bytes do not decode.
func (l *load) spoil(err error) {
	for ; l.seq < l.first+uint64(l.count); l.seq++ {
		l.from.fail(failure{seq: l.seq, reason: err.Error()})
	}
	l.records = nil
}
