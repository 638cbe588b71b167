package discovery

// How large requests are encoded: in buffers of about their size. gRPC would take
// a whole megabyte for each of more than 32 KiB, for as long as etcd does not read
// it.

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers what codec encodes with otherwise
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's own but for large messages.
type codec struct{ encoding.CodecV2 }

var exact = codec{encoding.GetCodecV2("proto")}

// largeMessages are the sizes of the buffers: what a full batch and the largest
// record make is a little above 512 KiB and 1 MiB, and etcd's limit is 1.5 MiB.
var largeMessages = mem.NewTieredBufferPool(
	leastLarge, 48<<10, 64<<10, 96<<10, 128<<10, 192<<10, 256<<10, 320<<10, 384<<10, 448<<10, 516<<10, 768<<10, 1028<<10, 3<<19)

// leastLarge is the size below which gRPC's own buffers fit.
const leastLarge = 32 << 10

// Marshal encodes v, a protobuf message.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := proto.Size(m)
	if size <= leastLarge {
		return c.CodecV2.Marshal(v)
	}
	buf := largeMessages.Get(size)
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buf)[:0], m); err != nil {
		largeMessages.Put(buf)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buf, largeMessages)}, nil
}
