package frame

// The codec: pb.Frame written and read by hand where it is hot (Data, Ack), by
// the generated code where it is not (control.go).
//
// A Data frame is laid out with the records last, so that they go out by
// reference and come in as one slice of the frame:
//
//	tag(data) length | first, attempts, redelivered, deaths | records …

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Tags are single bytes, every field number being below 16.
const (
	tagData = byte(KindData)<<3 | byte(protowire.BytesType)
	tagAck  = byte(KindAck)<<3 | byte(protowire.BytesType)

	tagFirst       = 1<<3 | byte(protowire.VarintType)
	tagRecords     = 2<<3 | byte(protowire.BytesType)
	tagAttempts    = 3<<3 | byte(protowire.BytesType)
	tagAttempt     = 3<<3 | byte(protowire.VarintType)
	tagRedelivered = 4<<3 | byte(protowire.VarintType)
	tagDeaths      = 5<<3 | byte(protowire.VarintType)

	tagCumulative     = 1<<3 | byte(protowire.VarintType)
	tagRanges         = 2<<3 | byte(protowire.BytesType)
	tagCreditMessages = 3<<3 | byte(protowire.VarintType)
	tagCreditBytes    = 4<<3 | byte(protowire.VarintType)
	tagWithdraw       = 5<<3 | byte(protowire.VarintType)
	tagRenewed        = 6<<3 | byte(protowire.BytesType)
	tagAckWait        = 7<<3 | byte(protowire.VarintType)
	tagFrom           = 1<<3 | byte(protowire.VarintType)
	tagTo             = 2<<3 | byte(protowire.VarintType)
)

// AppendPing appends a whole Ping frame.
func AppendPing(b []byte) []byte {
	return append(b, byte(KindPing)<<3|byte(protowire.BytesType), 0)
}

// AppendDataHeader appends all of a Data frame except the records themselves,
// which take records bytes and which the caller lets follow. attempts is parallel
// to them, or empty when all are first attempts; deaths is that of each of them.
func AppendDataHeader(b []byte, first uint64, attempts []uint32, redelivered bool, deaths uint32, records int) []byte {
	packed := 0
	for _, a := range attempts {
		packed += protowire.SizeVarint(uint64(a))
	}
	size := records
	if first != 0 {
		size += 1 + protowire.SizeVarint(first)
	}
	if packed > 0 {
		size += 1 + protowire.SizeBytes(packed)
	}
	if redelivered {
		size += 2
	}
	size += sizeUint(uint64(deaths))
	b = append(b, tagData)
	b = protowire.AppendVarint(b, uint64(size))
	if first != 0 {
		b = append(b, tagFirst)
		b = protowire.AppendVarint(b, first)
	}
	if packed > 0 {
		b = append(b, tagAttempts)
		b = protowire.AppendVarint(b, uint64(packed))
		for _, a := range attempts {
			b = protowire.AppendVarint(b, uint64(a))
		}
	}
	if redelivered {
		b = append(b, tagRedelivered, 1)
	}
	return appendUint(b, tagDeaths, uint64(deaths))
}

// AppendAck appends a whole Ack frame. Check says whether it may be sent.
func AppendAck(b []byte, a *Ack) []byte {
	wait := uint64(Millis(a.AckWait))
	size := sizeUint(a.Cumulative) + sizeRanges(a.Ranges) + sizeUint(a.CreditMessages) + sizeUint(a.CreditBytes) +
		sizeRanges(a.Renewed) + sizeUint(wait)
	if a.Withdraw {
		size += 2
	}
	b = append(b, tagAck)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendUint(b, tagCumulative, a.Cumulative)
	b = appendRanges(b, tagRanges, a.Ranges)
	b = appendUint(b, tagCreditMessages, a.CreditMessages)
	b = appendUint(b, tagCreditBytes, a.CreditBytes)
	if a.Withdraw {
		b = append(b, tagWithdraw, 1)
	}
	b = appendRanges(b, tagRenewed, a.Renewed)
	return appendUint(b, tagAckWait, wait)
}

func sizeRanges(ranges []Range) (size int) {
	for _, r := range ranges {
		size += 1 + protowire.SizeBytes(sizeUint(r.From)+sizeUint(r.To))
	}
	return size
}

func appendRanges(b []byte, tag byte, ranges []Range) []byte {
	for _, r := range ranges {
		b = append(b, tag)
		b = protowire.AppendVarint(b, uint64(sizeUint(r.From)+sizeUint(r.To)))
		b = appendUint(b, tagFrom, r.From)
		b = appendUint(b, tagTo, r.To)
	}
	return b
}

// sizeUint and appendUint leave out zero, as proto3 does.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func appendUint(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, tag), v)
}

// Open finds the one kind that a frame holds, and its contents. Fields
// that are not known are skipped; none or two known ones are corrupt: a frame
// whose kind is not understood cannot be left out safely. The error wraps
// messages.ErrCorrupt.
func Open(b []byte) (Kind, []byte, error) {
	var kind Kind
	var inner []byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, nil, corrupt("bad tag")
		}
		if num >= protowire.Number(kindCount) || typ != protowire.BytesType {
			size := protowire.ConsumeFieldValue(num, typ, b[n:])
			if size < 0 {
				return 0, nil, corrupt("field %d is cut short", num)
			}
			b = b[n+size:]
			continue
		}
		v, size := protowire.ConsumeBytes(b[n:])
		if size < 0 {
			return 0, nil, corrupt("%s is cut short", Kind(num))
		}
		if kind != 0 {
			return 0, nil, corrupt("holds both %s and %s", kind, Kind(num))
		}
		kind, inner = Kind(num), v
		b = b[n+size:]
	}
	if kind == 0 {
		return 0, nil, corrupt("of no known kind")
	}
	return kind, inner, nil
}

// Decode fills f from the contents of a frame of that kind, as Open returns them.
// Data.Records alias b where the records stand together, else they are gathered in
// new memory and gathered is true. Slices of numbers in f are reused. The error
// wraps messages.ErrCorrupt, or ErrProtocol for a kind that has no place on an open
// connection and for an Ack with too many ranges.
func (f *Frame) Decode(kind Kind, b []byte) (gathered bool, err error) {
	f.Kind = kind
	switch kind {
	case KindData:
		return decodeData(b, &f.Data)
	case KindAck:
		return false, decodeAck(b, &f.Ack)
	case KindNack:
		var m pb.Nack
		if err := decodeControl(kind, b, &m); err != nil {
			return false, err
		}
		f.Nack = Nack{Seq: m.GetSeq(), Kind: m.GetKind(), After: after(m.GetAfterMs()), Reason: m.GetReason()}
	case KindDrain:
		var m pb.Drain
		if err := decodeControl(kind, b, &m); err != nil {
			return false, err
		}
		f.Drain = Drain{Last: m.GetLast(), Reply: m.GetReply()}
	case KindBye:
		var m pb.Bye
		if err := decodeControl(kind, b, &m); err != nil {
			return false, err
		}
		f.Bye = Bye{Code: m.GetCode(), Reason: m.GetReason()}
	case KindReply:
		return false, decodeReply(b, &f.Reply)
	case KindPing:
		f.Ping = Ping{}
		if len(b) > 0 {
			return false, decodePing(b, &f.Ping)
		}
	default:
		return false, fmt.Errorf("%w: %s frame on an open connection", ErrProtocol, kind)
	}
	return false, nil
}

// decodeData reads a Data message. It allocates only for a foreign encoder
// that puts other fields between the records.
func decodeData(b []byte, d *Data) (gathered bool, err error) {
	d.First, d.Count, d.Redelivered, d.Deaths, d.Records = 0, 0, false, 0, nil
	d.Attempts = d.Attempts[:0]
	for len(b) > 0 {
		switch b[0] {
		case tagRecords:
			if d.Records == nil {
				n, err := messages.CountRecords(b)
				if err == nil {
					// The usual layout: records to the end.
					d.Records, d.Count = b[:len(b):len(b)], n
					b = nil
					continue
				}
			}
			_, size := protowire.ConsumeBytes(b[1:])
			if size < 0 {
				return false, corrupt("data: record %d is cut short", d.Count+1)
			}
			gathered = true
			d.Records = append(d.Records, b[:1+size]...)
			d.Count++
			b = b[1+size:]
		case tagFirst:
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return false, corrupt("data: bad sequence")
			}
			d.First = v
			b = b[1+n:]
		case tagRedelivered:
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return false, corrupt("data: bad flag")
			}
			d.Redelivered = v != 0
			b = b[1+n:]
		case tagDeaths:
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return false, corrupt("data: bad count of deaths")
			}
			d.Deaths = uint32(v)
			b = b[1+n:]
		case tagAttempts:
			packed, n := protowire.ConsumeBytes(b[1:])
			if n < 0 {
				return false, corrupt("data: attempts are cut short")
			}
			for len(packed) > 0 {
				v, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return false, corrupt("data: bad attempt")
				}
				d.Attempts = append(d.Attempts, uint32(v))
				packed = packed[n:]
			}
			b = b[1+n:]
		case tagAttempt:
			// Unpacked is legal protobuf too.
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return false, corrupt("data: bad attempt")
			}
			d.Attempts = append(d.Attempts, uint32(v))
			b = b[1+n:]
		default:
			n := skipUnknown(b)
			if n < 0 {
				return false, corrupt("data: bad field")
			}
			b = b[n:]
		}
	}
	return gathered, d.check()
}

// check is what must hold for every Data, whoever encoded it.
func (d *Data) check() error {
	switch {
	case d.Count == 0:
		return corrupt("data: no records")
	case len(d.Attempts) > 0 && len(d.Attempts) != d.Count:
		return corrupt("data: %d attempts for %d records", len(d.Attempts), d.Count)
	case d.First == 0 || d.First > math.MaxUint64-uint64(d.Count):
		return corrupt("data: sequence %d cannot be", d.First)
	}
	return nil
}

// Longest is the size of the longest record of d, tag and length included, once d was
// decoded.
func (d *Data) Longest() (longest int) {
	for rest := d.Records; len(rest) > 0; {
		_, n := protowire.ConsumeBytes(rest[1:])
		if n < 0 {
			return longest
		}
		longest, rest = max(longest, 1+n), rest[1+n:]
	}
	return longest
}

// decodeAck reads an Ack message without allocating, once its ranges fit.
func decodeAck(b []byte, a *Ack) error {
	*a = Ack{Ranges: a.Ranges[:0], Renewed: a.Renewed[:0]}
	for len(b) > 0 {
		tag := b[0]
		switch tag {
		case tagCumulative, tagCreditMessages, tagCreditBytes, tagWithdraw, tagAckWait:
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return corrupt("ack: bad number")
			}
			switch tag {
			case tagCumulative:
				a.Cumulative = v
			case tagCreditMessages:
				a.CreditMessages = v
			case tagCreditBytes:
				a.CreditBytes = v
			case tagWithdraw:
				a.Withdraw = v != 0
			case tagAckWait:
				a.AckWait = duration(int64(v))
			}
			b = b[1+n:]
		case tagRanges, tagRenewed:
			inner, n := protowire.ConsumeBytes(b[1:])
			if n < 0 {
				return corrupt("ack: range is cut short")
			}
			r, err := decodeRange(inner)
			if err != nil {
				return err
			}
			into := &a.Ranges
			if tag == tagRenewed {
				into = &a.Renewed
			}
			if len(*into) == MaxAckRanges {
				return fmt.Errorf("%w: ack: over %d ranges", ErrProtocol, MaxAckRanges)
			}
			*into = append(*into, r)
			b = b[1+n:]
		default:
			n := skipUnknown(b)
			if n < 0 {
				return corrupt("ack: bad field")
			}
			b = b[n:]
		}
	}
	return a.Check()
}

// Check finds what must not be in an Ack, sent or received: ranges that are not
// ascending, apart and above Cumulative (messages.ErrCorrupt), or more of them than
// MaxAckRanges (ErrProtocol). So settling an Ack is one pass.
func (a *Ack) Check() error {
	if n := max(len(a.Ranges), len(a.Renewed)); n > MaxAckRanges {
		return fmt.Errorf("%w: ack: %d ranges, the limit is %d", ErrProtocol, n, MaxAckRanges)
	}
	// From == above+1 would belong to what precedes it, so it may not be.
	if err := ascending("range", a.Ranges, a.Cumulative); err != nil {
		return err
	}
	return ascending("renewed", a.Renewed, 0)
}

// ascending refuses ranges that are not above a sequence, in order and apart.
func ascending(what string, ranges []Range, above uint64) error {
	for _, r := range ranges {
		if r.From <= above || r.To < r.From {
			return corrupt("ack: %s %d-%d after %d", what, r.From, r.To, above)
		}
		above = r.To
	}
	return nil
}

func decodeRange(b []byte) (Range, error) {
	var r Range
	for len(b) > 0 {
		tag := b[0]
		if tag != tagFrom && tag != tagTo {
			n := skipUnknown(b)
			if n < 0 {
				return r, corrupt("ack: bad field in a range")
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(b[1:])
		if n < 0 {
			return r, corrupt("ack: bad number in a range")
		}
		if tag == tagFrom {
			r.From = v
		} else {
			r.To = v
		}
		b = b[1+n:]
	}
	return r, nil
}

// skipUnknown is the size of the field at the front of b, negative when it is
// malformed. So is a small field number in a tag of several bytes: no encoder
// writes that, and it would hide a known field.
func skipUnknown(b []byte) int {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return n
	}
	if num < 16 && n > 1 {
		return -1
	}
	size := protowire.ConsumeFieldValue(num, typ, b[n:])
	if size < 0 {
		return size
	}
	return n + size
}
