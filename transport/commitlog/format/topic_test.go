package format

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestParseTopicRefusesWhatNoTopicIs(t *testing.T) {
	for name, v := range map[string]*pb.Topic{
		"no id":         {Partitions: 1, MaxRecordBytes: 1},
		"id with slash": {Id: "a/b", Partitions: 1, MaxRecordBytes: 1},
		"no partitions": {Id: "a", MaxRecordBytes: 1},
		"many":          {Id: "a", Partitions: 1025, MaxRecordBytes: 1},
		"no bytes":      {Id: "a", Partitions: 1},
		"large":         {Id: "a", Partitions: 1, MaxRecordBytes: 1 << 30},
		"compression":   {Id: "a", Partitions: 1, MaxRecordBytes: 1, Compression: 9},
	} {
		if info, err := ParseTopic("x", []byte(Encode(v)), 1, 2); !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(Encode(&pb.Topic{Id: "abc", Partitions: 7, Compression: pb.Compression_ZSTD, MaxRecordBytes: 100, CreatedUnixMs: 1700000000000})))
	f.Add([]byte(Encode(&pb.Topic{Id: "abc", Partitions: 7, MaxRecordBytes: 100, Compaction: &pb.Compaction{GraceMs: 5}})))
	f.Fuzz(func(t *testing.T, value []byte) {
		info, err := ParseTopic("name", value, 1, 2)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if err := info.Config.Validate(); err != nil {
			t.Fatal(err)
		}
		again, err := ParseTopic("name", []byte(TopicValue(info)), 1, 2)
		if err != nil || again != info {
			t.Fatalf("%+v became %+v, %v", info, again, err)
		}
	})
}
