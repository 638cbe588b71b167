package keys

// The keys of topics. A topic's name is in one key only; everything else hangs
// on its id, so that a topic made again under an old name shares nothing with
// the old one. Partitions have four digits and offsets twenty, so that keys
// sort as numbers do.

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/messages"
)

// MinTopic is the shortest name of a topic, in bytes.
const MinTopic = 3

// ValidateTopic reports whether name can be used for a topic: as ValidateName,
// and three bytes or more.
func ValidateTopic(name string) error {
	if err := ValidateName("topic", name); err != nil {
		return err
	}
	if len(name) < MinTopic {
		return fmt.Errorf("%w: topic name %q is shorter than %d characters", messages.ErrInvalid, name, MinTopic)
	}
	return nil
}

// Topics is the prefix of all topics' settings.
func (s Space) Topics() string { return string(s) + "/topics/" }

// Topic is the key of a topic's id and settings.
func (s Space) Topic(name string) string { return s.Topics() + name }

// AllDeleting is the prefix of the marks of topics that are being swept.
func (s Space) AllDeleting() string { return string(s) + "/deleting/" }

// Deleting is the mark of a topic whose keys are being made or swept.
func (s Space) Deleting(id string) string { return s.AllDeleting() + id }

// Keeper is the key of the keeper's office, leased.
func (s Space) Keeper() string { return string(s) + "/keeper" }

// Schedules is the prefix of all schedules.
func (s Space) Schedules() string { return string(s) + "/schedules/" }

// Schedule is the key of a schedule: what it puts when, and how far it is.
func (s Space) Schedule(name string) string { return s.Schedules() + name }

// Log is the prefix of a topic's records and all about them.
func (s Space) Log(id string) string { return string(s) + "/log/" + id + "/" }

// Starts is the prefix of the first valid offsets of a topic's partitions.
func (s Space) Starts(id string) string { return s.Log(id) + "start/" }

// LogStart is the key of a partition's first valid offset.
func (s Space) LogStart(id string, p int) string { return s.Starts(id) + partition(p) }

// Hints is the prefix of a topic's hints.
func (s Space) Hints(id string) string { return s.Log(id) + "hint/" }

// Hint is the key of a base near a partition's end: advice, for finding the end.
func (s Space) Hint(id string, p int) string { return s.Hints(id) + partition(p) }

// AllExpiring is the prefix of the marks of a topic's partitions that have, or had, records
// which expire by themselves.
func (s Space) AllExpiring(id string) string { return s.Log(id) + "expiring/" }

// Expiring is the key of such a mark.
func (s Space) Expiring(id string, p int) string { return s.AllExpiring(id) + partition(p) }

// AllCompacted is the prefix of how far the compaction of a topic has come.
func (s Space) AllCompacted(id string) string { return s.Log(id) + "compacted/" }

// Compacted is the key of how far the compaction of a partition has come.
func (s Space) Compacted(id string, p int) string { return s.AllCompacted(id) + partition(p) }

// Indexes is the prefix of the index of a whole topic.
func (s Space) Indexes(id string) string { return s.Log(id) + "index/" }

// CutIndexes returns what follows Indexes in a key, and reports whether the key begins
// with that. It allocates nothing.
func (s Space) CutIndexes(id, key string) (rest string, ok bool) {
	rest = key
	for _, part := range [...]string{string(s), "/log/", id, "/index/"} {
		if rest, ok = strings.CutPrefix(rest, part); !ok {
			return key, false
		}
	}
	return rest, true
}

// Index is the prefix of a partition's index.
func (s Space) Index(id string, p int) string { return s.Indexes(id) + partition(p) + "/" }

// IndexEntry is the key of what is known of one batch.
func (s Space) IndexEntry(id string, p int, base int64) string { return s.Index(id, p) + Offset(base) }

// Bodies is the prefix of a partition's batches.
func (s Space) Bodies(id string, p int) string { return s.Log(id) + "body/" + partition(p) + "/" }

// Body is the key of one batch.
func (s Space) Body(id string, p int, base int64) string { return s.Bodies(id, p) + Offset(base) }

// AllWaiting is the prefix of the records of a topic that are delivered later.
func (s Space) AllWaiting(id string) string { return s.Log(id) + "delayed/" }

// Waiting is the prefix of those of a partition, in the order in which they are due.
func (s Space) Waiting(id string, p int) string { return s.AllWaiting(id) + partition(p) + "/" }

// WaitingRecord is the key of one, which is due at a time in nanoseconds since 1970, and has
// its place at an offset.
func (s Space) WaitingRecord(id string, p int, due, offset int64) string {
	return s.Waiting(id, p) + Offset(due) + "/" + Offset(offset)
}

// AllDelays is the prefix of the marks of partitions with records that are delivered later.
func (s Space) AllDelays() string { return string(s) + "/delays/" }

// Delay is the mark of a partition that records wait in it: when the first of those is due
// that were put last.
func (s Space) Delay(id string, p int) string { return s.AllDelays() + id + "/" + partition(p) }

// Tickets is the prefix of the queue for a partition's next append.
func (s Space) Tickets(id string, p int) string { return s.Log(id) + "queue/" + partition(p) + "/" }

// Ticket is one appender's place in that queue.
func (s Space) Ticket(id string, p int, producer string) string { return s.Tickets(id, p) + producer }

// Transactions is the prefix of the marks of transactions.
func (s Space) Transactions() string { return string(s) + "/transactions/" }

// Transaction is the mark of a transaction that leaves no other trace: a leased key.
func (s Space) Transaction(id string) string { return s.Transactions() + id }

// AllConsumerGroups is the prefix of the groups of all topics, without offsets.
func (s Space) AllConsumerGroups() string { return string(s) + "/groups/" }

// ConsumerGroups is the prefix of a topic's groups.
func (s Space) ConsumerGroups(id string) string { return s.AllConsumerGroups() + id + "/" }

// ConsumerGroup is the prefix of everything about one group but its offsets.
func (s Space) ConsumerGroup(id, group string) string { return s.ConsumerGroups(id) + group + "/" }

// ConsumerGroupMeta is the key of a group's mode.
func (s Space) ConsumerGroupMeta(id, group string) string { return s.ConsumerGroup(id, group) + "meta" }

// ConsumerGroupPaused is the key of a group's pause.
func (s Space) ConsumerGroupPaused(id, group string) string {
	return s.ConsumerGroup(id, group) + "paused"
}

// Assignment is the key of who is to own which partition.
func (s Space) Assignment(id, group string) string { return s.ConsumerGroup(id, group) + "assignment" }

// ConsumerMembers is the prefix of a group's members.
func (s Space) ConsumerMembers(id, group string) string {
	return s.ConsumerGroup(id, group) + "members/"
}

// ConsumerMember is the key of one member.
func (s Space) ConsumerMember(id, group, member string) string {
	return s.ConsumerMembers(id, group) + member
}

// Claims is the prefix of a group's claims.
func (s Space) Claims(id, group string) string { return s.ConsumerGroup(id, group) + "claims/" }

// Claim is the key of the ownership of one partition.
func (s Space) Claim(id, group string, p int) string { return s.Claims(id, group) + partition(p) }

// TopicOffsets is the prefix of what all groups of a topic have committed.
func (s Space) TopicOffsets(id string) string { return string(s) + "/offsets/" + id + "/" }

// GroupOffsets is the prefix of what a group has committed. It is apart from
// the group, so that who watches the group does not see every commit.
func (s Space) GroupOffsets(id, group string) string { return s.TopicOffsets(id) + group + "/" }

// Committed is the key of where a group is in a partition.
func (s Space) Committed(id, group string, p int) string {
	return s.GroupOffsets(id, group) + partition(p)
}

// Owned is the key that says that a partition was claimed and not released: it outlives a
// claim whose owner has ended in another way.
func (s Space) Owned(id, group string, p int) string {
	return s.ConsumerGroup(id, group) + "owned/" + partition(p)
}

// Beginning is the key of where a group began.
func (s Space) Beginning(id, group string) string { return s.GroupOffsets(id, group) + "begin" }

// Offset is an offset as keys have it: twenty digits.
func Offset(o int64) string { return padded(o, offsetDigits) }

// ParseOffset reads what Offset writes, and nothing else.
func ParseOffset(s string) (int64, bool) { return number(s, offsetDigits) }

const partitionDigits, offsetDigits = 4, 20

func partition(p int) string { return padded(int64(p), partitionDigits) }

// padded is n with zeros in front, as fmt writes it with %0*d: each append and each
// entry of the index has several, and fmt would allocate for each.
func padded(n int64, digits int) string {
	var text [offsetDigits]byte
	if n < 0 || digits > len(text) {
		return fmt.Sprintf("%0*d", digits, n)
	}
	at := len(text)
	for ; n > 0; n /= 10 {
		at--
		text[at] = byte('0' + n%10)
	}
	for len(text)-at < digits {
		at--
		text[at] = '0'
	}
	return string(text[at:])
}

func number(s string, digits int) (int64, bool) {
	if len(s) != digits || strings.TrimLeft(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
