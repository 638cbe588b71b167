package topics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

func TestDescriptionPrints(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	d := penstock.TopicDescription{
		TopicInfo:  penstock.TopicInfo{Name: "audit", ID: "abc", Created: at, Config: penstock.TopicConfig{Partitions: 2, Compression: "s2", MaxRecordBytes: 1000}},
		Partitions: []messages.PartitionInfo{{Partition: 0, Start: 5, End: 105, Bytes: 4000}, {Partition: 1}, {Partition: 2, Err: penstock.ErrCorrupt}},
		Groups: []penstock.GroupInfo{{
			Topic: "audit", Group: "billing", Mode: messages.GroupAutomatic, Generation: 3, Lag: 60,
			Members: []messages.GroupMember{{ID: "m\x1b", Host: "box", Since: at, Partitions: []int{0, 1}}, {ID: "n", Host: "box", Since: at}},
			Partitions: []messages.GroupPartition{
				{Partition: 0, Start: 5, End: 105, Committed: 45, Lag: 60, Owner: "m", Fence: 9}, {Partition: 1, Committed: -1}, {Partition: 2, Committed: -1, Lag: -1, Err: penstock.ErrCorrupt},
			},
			Err: errors.Join(penstock.ErrCorrupt, penstock.ErrInvalid),
		}},
	}
	var out strings.Builder
	v := viewDescription(d)
	if err := v.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `audit  id abc  partitions 2  compression s2  records to 1000 bytes  created 2026-11-22T03:00:00Z
partition  start  end  records  bytes
0          5      105  100      4000
1          0      0    0        0
2          corrupt
group billing of audit  automatic  generation 3  lag 60
  member m�  box  since 2026-11-22T03:00:00Z  partitions 0,1
  member n   box  since 2026-11-22T03:00:00Z  partitions -
  corrupt
  invalid argument
  partition  start  end  committed  lag  owner
  0          5      105  45         60   m
  1          0      0    -          0    -
  2          corrupt
`
	if out.String() != want {
		t.Errorf("printed\n%s, want\n%s", out.String(), want)
	}
	if v.Records != 100 || v.Groups[0].Offsets[1].Committed != nil || *v.Groups[0].Offsets[0].Committed != 45 {
		t.Errorf("%+v", v)
	}
}
