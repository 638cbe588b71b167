package format

// Where a group began, who has claimed which partition, and where the group is
// there.

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Beginning is where a group began. Its zero value is the earliest record of
// every partition. It never changes.
type Beginning struct {
	offsets []int64 // by partition, or Undecided
}

// Undecided is the offset of a partition in which it could not be decided where
// the group begins.
const Undecided = -1

// In is where the group begins in a partition. It returns false when that could
// not be decided, because the partition was damaged or the offset asked for was
// not there: it is up to the first who has claimed it.
func (b Beginning) In(p int) (messages.Start, bool) {
	switch {
	case p >= len(b.offsets):
		return messages.Earliest(), true // it came later
	case b.offsets[p] == Undecided:
		return messages.Start{}, false
	}
	return messages.AtOffset(b.offsets[p]), true
}

// BeginningAt is a beginning at offsets, one for each partition, Undecided where
// it could not be decided. It keeps the slice.
func BeginningAt(offsets []int64) Beginning { return Beginning{offsets} }

// Value is b as etcd keeps it, when it was decided at that time.
func (b Beginning) Value(decided time.Time) string {
	return Encode(&pb.Beginning{CreatedUnixMs: decided.UnixMilli(), Offsets: b.offsets})
}

// ParseBeginning reads the value of a group's beginning. The error wraps
// messages.ErrCorrupt and names the key.
func ParseBeginning(key string, value []byte) (Beginning, error) {
	var b pb.Beginning
	if err := proto.Unmarshal(value, &b); err != nil {
		return Beginning{}, corrupt(key, "%v", err)
	}
	if len(b.Offsets) > messages.MaxPartitions {
		return Beginning{}, corrupt(key, "%d partitions", len(b.Offsets))
	}
	if i := slices.IndexFunc(b.Offsets, func(o int64) bool { return o < Undecided }); i >= 0 {
		return Beginning{}, corrupt(key, "offset %d in partition %d", b.Offsets[i], i)
	}
	return Beginning{b.Offsets}, nil
}

// Holder is who has a claim.
type Holder struct {
	// Member is empty when the claim does not name one.
	Member string
	// MemberRevision is the CreateRevision of that member's key.
	MemberRevision int64
	// Revision is the CreateRevision of the claim.
	Revision int64
	// Generation is that of the assignment it was made under.
	Generation int64
	// Gone: the member's key was absent or another incarnation's.
	Gone bool
}

// ParseClaim reads the value of a claim. The error wraps messages.ErrCorrupt and
// names the key.
func ParseClaim(key string, value []byte) (*pb.Claim, error) {
	var c pb.Claim
	if err := proto.Unmarshal(value, &c); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	if err := keys.ValidateName("member", c.Member); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	if c.MemberRevision <= 0 {
		return nil, corrupt(key, "member revision %d", c.MemberRevision)
	}
	return &c, nil
}

// CheckPartitions refuses numbers that are not below count, and any that comes
// twice. The error wraps messages.ErrNoPartition or ErrInvalid.
func CheckPartitions(partitions []int, count int) error {
	seen := make(map[int]bool, len(partitions))
	for _, p := range partitions {
		if p < 0 || p >= count {
			return fmt.Errorf("%w: %d of %d", messages.ErrNoPartition, p, count)
		}
		if seen[p] {
			return fmt.Errorf("%w: partition %d is named twice", messages.ErrInvalid, p)
		}
		seen[p] = true
	}
	return nil
}

// Position is where a member is in a partition it has claimed.
type Position struct {
	Partition int
	// Fence is that of its claim.
	Fence int64
	// Offset is the next to be handled; Base is that of a batch at or before
	// it, where reading is to begin.
	Offset, Base int64
	// Known is the ModRevision of what the member last wrote or found there, 0
	// for none. An etcd that has something older was restored from a backup:
	// its log may not reach to Offset.
	Known int64
	// Sought: the member has sought to Offset since. Then it writes over what
	// an etcd that was restored from a backup has.
	Sought bool
	// Progress is what is known of the records from Offset on.
	Progress Progress
}

// ParseCommitted reads the value of a committed offset. The error wraps
// messages.ErrCorrupt and names the key.
func ParseCommitted(key string, value []byte) (*pb.Committed, error) {
	var c pb.Committed
	if err := proto.Unmarshal(value, &c); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	if c.Offset < 0 || c.Base < 0 || c.Base > c.Offset {
		return nil, corrupt(key, "offset %d in a batch at %d", c.Offset, c.Base)
	}
	if _, ok := ProgressOf(&c); !ok {
		return nil, corrupt(key, "what is finished or tried behind offset %d makes no sense", c.Offset)
	}
	return &c, nil
}
