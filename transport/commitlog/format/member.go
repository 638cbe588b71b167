package format

// The settings of a group, who is in it, and which member is to have which
// partitions.

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// ParseGroup reads the value of a group's settings. The error wraps
// messages.ErrCorrupt and names the key.
func ParseGroup(key string, value []byte) (*pb.ConsumerGroup, error) {
	var g pb.ConsumerGroup
	if err := proto.Unmarshal(value, &g); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	return &g, nil
}

// ParseMember reads the value of a member's key. The error wraps
// messages.ErrCorrupt and names the key.
func ParseMember(key string, value []byte) (*pb.ConsumerMember, error) {
	var m pb.ConsumerMember
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	partitions := make([]int, len(m.Partitions))
	for i, p := range m.Partitions {
		partitions[i] = int(p)
	}
	if err := CheckPartitions(partitions, messages.MaxPartitions); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	return &m, nil
}

// ParseAssignment reads the value of an assignment. The error wraps
// messages.ErrCorrupt and names the key. Of an assignment without an error each
// partition is one that its topic had, and is given to one member.
func ParseAssignment(key string, value []byte) (*pb.Assignment, error) {
	var a pb.Assignment
	if err := proto.Unmarshal(value, &a); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	if err := CheckAssignment(&a); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	return &a, nil
}

// CheckAssignment returns what is wrong with an assignment, or nil.
func CheckAssignment(a *pb.Assignment) error {
	if a.GetGeneration() < 1 {
		return fmt.Errorf("generation %d", a.GetGeneration())
	}
	if a.Partitions < 1 || a.Partitions > messages.MaxPartitions {
		return fmt.Errorf("%d partitions", a.Partitions)
	}
	given := make([]bool, a.Partitions)
	members := make(map[string]bool, len(a.Shares))
	for _, s := range a.Shares {
		if err := keys.ValidateName("member", s.GetMember()); err != nil {
			return err
		}
		if members[s.Member] {
			return fmt.Errorf("member %s has two shares", s.Member)
		}
		members[s.Member] = true
		for _, p := range s.Partitions {
			if p >= a.Partitions {
				return fmt.Errorf("partition %d of %d", p, a.Partitions)
			}
			if given[p] {
				return fmt.Errorf("partition %d is given twice", p)
			}
			given[p] = true
		}
	}
	return nil
}
