package frame

// The codec of Reply. A frame is laid out with the record last, so that it goes out by
// reference; its tag is that of a record in a batch.

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	tagReply = byte(KindReply)<<3 | byte(protowire.BytesType)

	tagRequest = 1<<3 | byte(protowire.VarintType)
	tagError   = 3<<3 | byte(protowire.BytesType)
	tagFailed  = 4<<3 | byte(protowire.VarintType)
)

// AppendReplyHeader appends all of a Reply frame except its record, which takes record
// bytes and which the caller lets follow.
func AppendReplyHeader(b []byte, r *Reply, record int) []byte {
	why := strings.ToValidUTF8(Clip(r.Error), "?")
	size := sizeUint(r.Request) + record
	if why != "" {
		size += 1 + protowire.SizeBytes(len(why))
	}
	if r.Failed {
		size += 2
	}
	b = append(b, tagReply)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendUint(b, tagRequest, r.Request)
	if why != "" {
		b = append(b, tagError)
		b = protowire.AppendString(b, why)
	}
	if r.Failed {
		b = append(b, tagFailed, 1)
	}
	return b
}

// decodeReply reads a Reply message.
func decodeReply(b []byte, r *Reply) error {
	*r = Reply{}
	for len(b) > 0 {
		switch tag := b[0]; tag {
		case tagRequest, tagFailed:
			v, n := protowire.ConsumeVarint(b[1:])
			if n < 0 {
				return corrupt("reply: bad number")
			}
			if tag == tagRequest {
				r.Request = v
			} else {
				r.Failed = v != 0
			}
			b = b[1+n:]
		case tagRecords, tagError:
			v, n := protowire.ConsumeBytes(b[1:])
			if n < 0 {
				return corrupt("reply: cut short")
			}
			switch {
			case tag == tagRecords && r.Record != nil:
				return corrupt("reply: several records")
			case tag == tagRecords:
				r.Record = b[: 1+n : 1+n]
			default:
				r.Error = strings.ToValidUTF8(Clip(string(v[:min(len(v), maxReason)])), "?")
			}
			b = b[1+n:]
		default:
			n := skipUnknown(b)
			if n < 0 {
				return corrupt("reply: bad field")
			}
			b = b[n:]
		}
	}
	switch {
	case r.Request == 0:
		return corrupt("reply: to no request")
	case r.Failed == (len(r.Record) > 0):
		return corrupt("reply: both a record and a refusal, or neither")
	}
	return nil
}
