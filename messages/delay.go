package messages

// What a record says of a delivery that was to come later.

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The tags of pb.Delay.
const (
	tagDelayDue    = 1<<3 | byte(protowire.Fixed64Type)
	tagDelayOffset = 2<<3 | byte(protowire.VarintType)

	// delayFieldSize is a delay without an offset, with tag and length.
	delayFieldSize = 2 + 1 + 8
)

// Delay is what a record says of its own delay.
type Delay struct {
	// Due is when it is to be delivered, in nanoseconds since 1970 UTC; 0 is at once.
	Due int64
	// Delivered: it was, and is the copy of the message whose place is at Offset.
	Delivered bool
	Offset    int64
}

// DelayOf is what p says of its delay. It does not allocate.
func DelayOf(p *Payload) Delay {
	var d Delay
	for at := 0; at < len(p.headers); {
		f, n := nextField(p.headers[at:])
		if n == 0 {
			break
		}
		at += n
		if f.tag == uint64(tagDelay) {
			d.merge(f.bytes)
		}
	}
	return d
}

// merge takes in the inside of a delay, and reports whether it decodes.
func (d *Delay) merge(b []byte) bool {
	for len(b) > 0 {
		f, n := nextField(b)
		if n == 0 {
			return false
		}
		switch f.tag {
		case uint64(tagDelayDue):
			due, _ := protowire.ConsumeFixed64(f.bytes)
			d.Due = int64(due)
		case uint64(tagDelayOffset):
			at, _ := protowire.ConsumeVarint(f.bytes)
			d.Delivered, d.Offset = true, int64(min(at, math.MaxInt64))
		}
		b = b[n:]
	}
	return true
}

// DeliverAt is when a topic was to deliver the record, in UTC, or the zero Time when it
// was put without a DeliverAt.
func (p Payload) DeliverAt() time.Time { return timeOf(DelayOf(&p).Due) }

// PutOffset is the offset that the put of the record returned, and true, for a record that
// was delivered later: it is at another offset of the same partition then.
func (p Payload) PutOffset() (offset int64, ok bool) {
	d := DelayOf(&p)
	return d.Offset, d.Delivered
}

// WithDelay is p, which says nothing of a delay, saying d.
func WithDelay(p Payload, d Delay) Payload {
	if d == (Delay{}) {
		return p
	}
	inside := protowire.AppendFixed64([]byte{tagDelayDue}, uint64(d.Due))
	if d.Delivered {
		inside = protowire.AppendVarint(append(inside, tagDelayOffset), uint64(d.Offset))
	}
	p.headers = appendBytes(slices.Clip(p.headers), tagDelay, inside)
	return p
}

// appendDelay leaves out a delay of 0.
func appendDelay(b []byte, due int64) []byte {
	if due == 0 {
		return b
	}
	return protowire.AppendFixed64(append(b, tagDelay, delayFieldSize-2, tagDelayDue), uint64(due))
}

// AppendPlace appends to b the place of a record that is delivered later: like
// AppendErased, with the id, which may be empty, and the delay.
func AppendPlace(b []byte, id []byte, due int64) []byte {
	at := int64(erasedAt)
	b = append(b, tagRecord)
	b = appendLength(b, timeFieldSize+bytesFieldSize(len(id))+delayFieldSize)
	b = protowire.AppendFixed64(append(b, tagExpires), uint64(at))
	return appendDelay(appendBytes(b, tagID, id), due)
}

// AppendDelivered appends to b the record that stands alone in one, as AppendRecord wrote
// it, and that it was put at an offset. An error wraps ErrCorrupt: there is something else.
func AppendDelivered(b, one []byte, offset int64) ([]byte, error) {
	var p Payload
	n, err := ConsumeRecord(one, &p)
	if err != nil {
		return b, err
	}
	if n != len(one) {
		return b, corrupt("record", "there is more behind it", n)
	}
	body, _ := protowire.ConsumeBytes(one[1:])
	inside := protowire.AppendFixed64([]byte{tagDelayDue}, uint64(DelayOf(&p).Due))
	inside = protowire.AppendVarint(append(inside, tagDelayOffset), uint64(offset))
	b = append(b, tagRecord)
	b = appendLength(b, len(body)+bytesFieldSize(len(inside)))
	return appendBytes(append(b, body...), tagDelay, inside), nil
}
