package format

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestParseMember(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		good  bool
	}{
		"good":      {Encode(&pb.ConsumerMember{Id: "m", Partitions: []uint32{3, 0}}), true},
		"empty":     {"", true},
		"garbage":   {"\xff", false},
		"partition": {Encode(&pb.ConsumerMember{Partitions: []uint32{1024}}), false},
		"twice":     {Encode(&pb.ConsumerMember{Partitions: []uint32{1, 1}}), false},
	} {
		if m, err := ParseMember("the-key", []byte(c.value)); (err == nil) != c.good || err != nil && (!errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "the-key")) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func FuzzParseAssignment(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(Encode(&pb.Assignment{Generation: 3, Partitions: 4, By: "m", SinceUnixMs: 3, Shares: []*pb.Share{{Member: "m", Partitions: []uint32{0, 2}}, {Member: "n", Partitions: []uint32{1}}}})))
	f.Fuzz(func(t *testing.T, value []byte) {
		a, err := ParseAssignment("the-key", value)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		owners := map[uint32]bool{}
		for _, s := range a.Shares {
			for _, p := range s.Partitions {
				if owners[p] || p >= a.Partitions || p >= messages.MaxPartitions {
					t.Fatalf("partition %d of %v", p, a)
				}
				owners[p] = true
			}
		}
		again, err := ParseAssignment("the-key", []byte(Encode(a)))
		if err != nil || !proto.Equal(again, a) {
			t.Fatalf("%v became %v, %v", a, again, err)
		}
	})
}
