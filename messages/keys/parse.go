package keys

// A key taken apart, for those who get keys from a list or a watch.

import (
	"strings"

	"github.com/penstock-io/penstock/messages"
)

// Kind says what a key holds.
type Kind uint8

// The kinds of key. None is no key of ours.
const (
	None Kind = iota
	KindSole
	KindSender
	KindSecret
	KindGroupMeta
	KindDeserted
	KindMember
	KindTopic
	KindDeleting
	KindLogStart
	KindHint
	KindIndexEntry
	KindBody
	KindTicket
	KindConsumerGroupMeta
	KindAssignment
	KindConsumerMember
	KindClaim
	KindCommitted
	KindBeginning
	KindPaused
	KindConsumerGroupPaused
	KindOwned
	KindKeeper
	KindAllowed
	KindCompacted
	KindExpiring
	KindWaiting
	KindDelay
	KindSchedule
	KindGroupSecret
	KindGeneration
)

// String names the kind as errors and logs do.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return kindNames[None]
	}
	return kindNames[k]
}

var kindNames = [...]string{ //nolint:gosec // names of keys, and no secrets
	None:                    "none",
	KindSole:                "sole sender",
	KindSender:              "sender",
	KindSecret:              "secret",
	KindGroupMeta:           "group settings",
	KindDeserted:            "group without members",
	KindMember:              "member",
	KindTopic:               "topic",
	KindDeleting:            "deleted topic",
	KindLogStart:            "start of a partition",
	KindHint:                "hint",
	KindIndexEntry:          "index entry",
	KindBody:                "batch",
	KindTicket:              "append ticket",
	KindConsumerGroupMeta:   "consumer group settings",
	KindAssignment:          "assignment",
	KindConsumerMember:      "consumer",
	KindClaim:               "claim",
	KindCommitted:           "committed offset",
	KindBeginning:           "beginning of a group",
	KindPaused:              "pause of a group",
	KindConsumerGroupPaused: "pause of a consumer group",
	KindOwned:               "mark of an owner",
	KindKeeper:              "keeper",
	KindAllowed:             "right to join",
	KindCompacted:           "progress of a compaction",
	KindExpiring:            "mark of records that expire",
	KindWaiting:             "delayed record",
	KindDelay:               "mark of delayed records",
	KindSchedule:            "schedule",
	KindGroupSecret:         "secret of a group",
	KindGeneration:          "generation of tokens",
}

// Key is a key taken apart. Fields that its kind does not have are zero.
type Key struct {
	Kind Kind
	// Dest is the destination, of the kinds of pipes.
	Dest string
	// Topic is a topic's name for KindTopic, else its id.
	Topic string
	// Group is a destination's or a topic's; empty for KindGeneration of the tokens for all
	// groups.
	Group string
	// ID is a sender's, a member's, for KindTicket a producer's, or for KindSchedule its
	// name.
	ID string
	// Partition is from 0 to messages.MaxPartitions-1.
	Partition int
	// Base is the offset of a batch, never negative.
	Base int64
	// Due is when a record is delivered, for KindWaiting, whose place is at Base: in
	// nanoseconds since 1970, never negative.
	Due int64
}

// In is the key's text in a space; empty for the kind None.
func (k Key) In(s Space) string {
	switch k.Kind {
	case KindSole:
		return s.Sole(k.Dest)
	case KindSender:
		return s.Sender(k.Dest, k.ID)
	case KindSecret:
		return s.Secret(k.Dest, k.ID)
	case KindGroupSecret:
		return s.GroupSecret(k.Dest, k.Group, k.ID)
	case KindGeneration:
		return s.Generation(k.Dest, k.Group)
	case KindAllowed:
		return s.Allowed(k.Dest, k.Group, k.ID)
	case KindGroupMeta:
		return s.GroupMeta(k.Dest, k.Group)
	case KindDeserted:
		return s.Deserted(k.Dest, k.Group)
	case KindMember:
		return s.Member(k.Dest, k.Group, k.ID)
	case KindTopic:
		return s.Topic(k.Topic)
	case KindDeleting:
		return s.Deleting(k.Topic)
	case KindLogStart:
		return s.LogStart(k.Topic, k.Partition)
	case KindHint:
		return s.Hint(k.Topic, k.Partition)
	case KindCompacted:
		return s.Compacted(k.Topic, k.Partition)
	case KindExpiring:
		return s.Expiring(k.Topic, k.Partition)
	case KindIndexEntry:
		return s.IndexEntry(k.Topic, k.Partition, k.Base)
	case KindBody:
		return s.Body(k.Topic, k.Partition, k.Base)
	case KindTicket:
		return s.Ticket(k.Topic, k.Partition, k.ID)
	case KindConsumerGroupMeta:
		return s.ConsumerGroupMeta(k.Topic, k.Group)
	case KindAssignment:
		return s.Assignment(k.Topic, k.Group)
	case KindConsumerMember:
		return s.ConsumerMember(k.Topic, k.Group, k.ID)
	case KindClaim:
		return s.Claim(k.Topic, k.Group, k.Partition)
	case KindCommitted:
		return s.Committed(k.Topic, k.Group, k.Partition)
	case KindOwned:
		return s.Owned(k.Topic, k.Group, k.Partition)
	case KindBeginning:
		return s.Beginning(k.Topic, k.Group)
	case KindPaused:
		return s.Paused(k.Dest, k.Group)
	case KindConsumerGroupPaused:
		return s.ConsumerGroupPaused(k.Topic, k.Group)
	case KindKeeper:
		return s.Keeper()
	case KindWaiting:
		return s.WaitingRecord(k.Topic, k.Partition, k.Due, k.Base)
	case KindDelay:
		return s.Delay(k.Topic, k.Partition)
	case KindSchedule:
		return s.Schedule(k.ID)
	default:
		return ""
	}
}

// Parse takes a key apart. It returns false for a key that lies outside the
// space, that no builder makes, or whose names ValidateName refuses: such a
// key is somebody else's. So is one of a partition that no topic can have. The
// result shares no memory beyond key itself.
func (s Space) Parse(key string) (Key, bool) {
	rest, ok := strings.CutPrefix(key, string(s)+"/")
	if !ok {
		return Key{}, false
	}
	// Six parts make the longest key; what has more is not ours.
	p := strings.SplitN(rest, "/", 7)
	var k Key
	switch p[0] {
	case "dest", "secret", "allow":
		k, ok = pipeParts(p)
	case "topics", "deleting":
		k, ok = topicParts(p)
	case "log":
		k, ok = logParts(p)
	case "groups", "offsets":
		k, ok = groupParts(p)
	case "delays":
		k, ok = delayParts(p)
	case "schedules":
		if ok = len(p) == 2; ok {
			k = Key{Kind: KindSchedule, ID: p[1]}
		}
	case "keeper":
		k, ok = Key{Kind: KindKeeper}, len(p) == 1
	default:
		ok = false
	}
	if !ok || !k.named() {
		return Key{}, false
	}
	return k, true
}

func pipeParts(p []string) (Key, bool) {
	switch {
	case len(p) == 3 && p[0] == "dest" && p[2] == "sole":
		return Key{Kind: KindSole, Dest: p[1]}, true
	case len(p) == 4 && p[0] == "dest" && p[2] == "senders":
		return Key{Kind: KindSender, Dest: p[1], ID: p[3]}, true
	case len(p) == 4 && p[0] == "allow":
		return Key{Kind: KindAllowed, Dest: p[1], Group: p[2], ID: p[3]}, true
	case len(p) == 3 && p[0] == "secret" && p[2] == generation:
		return Key{Kind: KindGeneration, Dest: p[1]}, true
	case len(p) == 4 && p[0] == "secret" && p[3] == generation:
		return Key{Kind: KindGeneration, Dest: p[1], Group: p[2]}, p[2] != ""
	case len(p) == 3 && p[0] == "secret":
		return Key{Kind: KindSecret, Dest: p[1], ID: p[2]}, true
	case len(p) == 4 && p[0] == "secret":
		return Key{Kind: KindGroupSecret, Dest: p[1], Group: p[2], ID: p[3]}, true
	case len(p) == 5 && p[0] == "dest" && p[2] == "groups" && p[4] == "meta":
		return Key{Kind: KindGroupMeta, Dest: p[1], Group: p[3]}, true
	case len(p) == 5 && p[0] == "dest" && p[2] == "groups" && p[4] == "deserted":
		return Key{Kind: KindDeserted, Dest: p[1], Group: p[3]}, true
	case len(p) == 5 && p[0] == "dest" && p[2] == "groups" && p[4] == "paused":
		return Key{Kind: KindPaused, Dest: p[1], Group: p[3]}, true
	case len(p) == 6 && p[0] == "dest" && p[2] == "groups" && p[4] == "members":
		return Key{Kind: KindMember, Dest: p[1], Group: p[3], ID: p[5]}, true
	default:
		return Key{}, false
	}
}

func topicParts(p []string) (Key, bool) {
	switch {
	case len(p) != 2:
		return Key{}, false
	case p[0] == "topics":
		return Key{Kind: KindTopic, Topic: p[1]}, true
	default:
		return Key{Kind: KindDeleting, Topic: p[1]}, true
	}
}

func delayParts(p []string) (Key, bool) {
	if len(p) != 3 {
		return Key{}, false
	}
	n, ok := parsePartition(p[2])
	return Key{Kind: KindDelay, Topic: p[1], Partition: n}, ok
}

// logParts reads log/<id>/<what>/<partition> and, of some, one or two parts more.
func logParts(p []string) (Key, bool) {
	if len(p) < 4 || len(p) > 6 {
		return Key{}, false
	}
	n, ok := parsePartition(p[3])
	if !ok {
		return Key{}, false
	}
	k := Key{Topic: p[1], Partition: n}
	switch {
	case len(p) == 4 && p[2] == "start":
		k.Kind = KindLogStart
	case len(p) == 4 && p[2] == "hint":
		k.Kind = KindHint
	case len(p) == 4 && p[2] == "compacted":
		k.Kind = KindCompacted
	case len(p) == 4 && p[2] == "expiring":
		k.Kind = KindExpiring
	case len(p) == 5 && p[2] == "index":
		k.Kind = KindIndexEntry
		k.Base, ok = ParseOffset(p[4])
	case len(p) == 5 && p[2] == "body":
		k.Kind = KindBody
		k.Base, ok = ParseOffset(p[4])
	case len(p) == 5 && p[2] == "queue":
		k.Kind = KindTicket
		k.ID = p[4]
	case len(p) == 6 && p[2] == "delayed":
		k.Kind = KindWaiting
		var due bool
		k.Due, due = ParseOffset(p[4])
		k.Base, ok = ParseOffset(p[5])
		ok = ok && due
	default:
		ok = false
	}
	return k, ok
}

func groupParts(p []string) (Key, bool) {
	switch {
	case len(p) == 4 && p[0] == "groups" && p[3] == "meta":
		return Key{Kind: KindConsumerGroupMeta, Topic: p[1], Group: p[2]}, true
	case len(p) == 4 && p[0] == "groups" && p[3] == "paused":
		return Key{Kind: KindConsumerGroupPaused, Topic: p[1], Group: p[2]}, true
	case len(p) == 4 && p[0] == "groups" && p[3] == "assignment":
		return Key{Kind: KindAssignment, Topic: p[1], Group: p[2]}, true
	case len(p) == 5 && p[0] == "groups" && p[3] == "members":
		return Key{Kind: KindConsumerMember, Topic: p[1], Group: p[2], ID: p[4]}, true
	case len(p) == 5 && p[0] == "groups" && p[3] == "claims":
		n, ok := parsePartition(p[4])
		return Key{Kind: KindClaim, Topic: p[1], Group: p[2], Partition: n}, ok
	case len(p) == 4 && p[0] == "offsets" && p[3] == "begin":
		return Key{Kind: KindBeginning, Topic: p[1], Group: p[2]}, true
	case len(p) == 5 && p[0] == "groups" && p[3] == "owned":
		n, ok := parsePartition(p[4])
		return Key{Kind: KindOwned, Topic: p[1], Group: p[2], Partition: n}, ok
	case len(p) == 4 && p[0] == "offsets":
		n, ok := parsePartition(p[3])
		return Key{Kind: KindCommitted, Topic: p[1], Group: p[2], Partition: n}, ok
	default:
		return Key{}, false
	}
}

// named reports whether each name the kind has is a good one.
func (k Key) named() bool {
	good := func(names ...string) bool {
		for _, name := range names {
			if nameFault(name) != "" {
				return false
			}
		}
		return true
	}
	switch k.Kind {
	case KindSole, KindSender, KindSecret, KindGroupSecret, KindGeneration, KindAllowed, KindGroupMeta, KindDeserted, KindPaused, KindMember:
		if !IsLoans(k.Dest) && !good(k.Dest) {
			return false
		}
	}
	switch k.Kind {
	case KindSole:
		return true
	case KindGeneration:
		return k.Group == "" || good(k.Group)
	case KindAllowed:
		return good(k.Group, k.ID)
	case KindSender, KindSecret:
		return good(k.ID)
	case KindGroupMeta, KindDeserted, KindPaused:
		return good(k.Group)
	case KindMember, KindGroupSecret:
		return good(k.Group, k.ID)
	case KindTopic:
		return ValidateTopic(k.Topic) == nil
	case KindDeleting, KindLogStart, KindHint, KindCompacted, KindExpiring, KindIndexEntry, KindBody, KindWaiting, KindDelay:
		return good(k.Topic)
	case KindTicket:
		return good(k.Topic, k.ID)
	case KindConsumerGroupMeta, KindConsumerGroupPaused, KindAssignment, KindClaim, KindCommitted, KindBeginning, KindOwned:
		return good(k.Topic, k.Group)
	case KindConsumerMember:
		return good(k.Topic, k.Group, k.ID)
	case KindSchedule:
		return good(k.ID)
	case KindKeeper:
		return true
	default:
		return false
	}
}

// parsePartition reads what partition writes for a topic's partitions.
func parsePartition(s string) (int, bool) {
	n, ok := number(s, partitionDigits)
	return int(n), ok && n < messages.MaxPartitions
}
