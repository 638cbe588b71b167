package messages

// What topics are made of, as callers see it.

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Limits of topics.
const (
	// MaxPartitions is the most partitions a topic can have.
	MaxPartitions = 1024
	// MaxBatchRecords bounds one append, in records.
	MaxBatchRecords = 16384
	// MaxBatchBytes bounds one append in encoded bytes before compression. A
	// single record may be larger, up to MaxRecordBytes.
	MaxBatchBytes = 512 << 10
	// MaxRecordBytes bounds one encoded record, as RecordSize counts it: an
	// append is one request to etcd, which takes 1.5 MiB.
	MaxRecordBytes = 1 << 20
)

// Compression says how the batches of a topic are written.
type Compression string

// The compressions. A batch that would not get smaller is written as it is.
const (
	CompressS2   Compression = "s2"   // the default: fast
	CompressZstd Compression = "zstd" // smaller, slower
	CompressNone Compression = "none"
)

// TopicConfig is what is decided when a topic is made. The zero value is good.
type TopicConfig struct {
	// Partitions is how many the topic has, 1 to MaxPartitions; 1 when zero.
	Partitions int
	// Compression of new batches; CompressS2 when empty.
	Compression Compression
	// MaxRecordBytes bounds one record in bytes, encoded: key, value and headers,
	// and what their encoding takes, as RecordSize counts it; MaxRecordBytes, the
	// most, when zero.
	MaxRecordBytes int
	// DedupeWindow is for how long the topic knows the ids of its records again: a
	// message whose ID a record of its partition has is not put a second time, and its
	// put returns that record's offset. At most MaxDedupeWindow; zero is no window,
	// and then ids mean nothing here.
	//
	// A record goes to a partition that follows from its key, or from its ID when it
	// has no key, whatever Partitioner there is but Manual. Manual and PutTo choose by
	// themselves: then an id is known again in the partition that they chose. When the
	// topic gets more partitions, ids of before are not known again in the new ones.
	DedupeWindow time.Duration
	// DedupeRecords is how many records back in its partition an id is known, whatever
	// the time, up to MaxDedupeRecords: each takes about 80 bytes in every process that
	// puts records with ids there. DefaultDedupeRecords when zero. It reaches back
	// MaxDedupeBytes of batches at most. Without a window it must be zero.
	DedupeRecords int
	// MaxAge is how old a record may get, by its time: then it is deleted with its
	// batch, when all records of that and of those before are as old. 0 is without end.
	MaxAge time.Duration
	// MaxBytes and MaxRecords bound what a partition keeps: its batches as they
	// stand in etcd, at least MinTopicBytes, and its records. 0 is without a bound.
	MaxBytes, MaxRecords int64
	// Retention says what else deletes records; RetainLimits when empty.
	Retention Retention
	// Discard says what gives way where MaxBytes or MaxRecords is reached; DiscardOld
	// when empty.
	Discard Discard
	// TTL is how long after its time a record is handed out, unless its own ExpiresAt
	// comes first; what has expired is deleted later. 0 is without end.
	TTL time.Duration
	// Compaction says whether a record supersedes those of its key before it;
	// CompactNone when empty. With CompactByKey a message without a key is refused.
	Compaction Compaction
	// TombstoneGrace is how long a tombstone stays at least when the records before it
	// that have its key are deleted, so that readers who have seen those hear of it.
	// DefaultTombstoneGrace when zero. Without CompactByKey it must be zero, and so must
	// CompactionLag.
	TombstoneGrace time.Duration
	// CompactionLag is how long a record stays at least, whatever comes after it.
	// DefaultCompactionLag when zero.
	CompactionLag time.Duration
}

// Compaction says whether records of a topic supersede others.
type Compaction string

// The compactions of a topic.
const (
	// CompactNone: records do not supersede one another. The default.
	CompactNone Compaction = "none"
	// CompactByKey: the newest record of each key in a partition supersedes those before
	// it, which are deleted later.
	CompactByKey Compaction = "key"
)

// Defaults of compaction, and the least that they can be.
const (
	DefaultTombstoneGrace = 24 * time.Hour
	DefaultCompactionLag  = time.Minute
	minCompactionTime     = time.Millisecond
)

// MinTopicBytes is the least that TopicConfig.MaxBytes can be: the largest record.
const MinTopicBytes = MaxRecordBytes

// NoLimit removes a limit of a topic, in a TopicUpdate.
const NoLimit = -1

// Retention says when a record is deleted besides the limits of its topic.
type Retention string

// The retentions of a topic.
const (
	// RetainLimits: only the limits delete records. The default.
	RetainLimits Retention = "limits"
	// RetainUntilDone: also what every group of the topic has committed, as soon as
	// there is a group.
	RetainUntilDone Retention = "until-done"
)

// Discard says what gives way in a partition that is full.
type Discard string

// What a full partition discards.
const (
	// DiscardOld deletes the oldest batches. The default.
	DiscardOld Discard = "old"
	// DiscardNew refuses puts with ErrTopicFull.
	DiscardNew Discard = "new"
)

// Bounded reports whether settings have records deleted by time, size, number or
// commits, so that somebody has to look after the topic.
func Bounded(c *TopicConfig) bool {
	return c.MaxAge > 0 || c.TTL > 0 || c.Retention == RetainUntilDone || c.Discard != DiscardNew && (c.MaxBytes > 0 || c.MaxRecords > 0)
}

// Tended reports whether settings need somebody who looks after the topic: it is bounded,
// or compacted.
func Tended(c *TopicConfig) bool { return Bounded(c) || c.Compaction == CompactByKey }

// Lifetime is how long after its time a record is kept at most, by MaxAge and TTL; 0 is
// without end.
func Lifetime(c *TopicConfig) time.Duration {
	if c.MaxAge == 0 || c.TTL == 0 {
		return max(c.MaxAge, c.TTL)
	}
	return min(c.MaxAge, c.TTL)
}

// Limits of the window of ids of a topic.
const (
	// MaxDedupeWindow is the longest DedupeWindow.
	MaxDedupeWindow = 30 * 24 * time.Hour
	// DefaultDedupeRecords and MaxDedupeRecords are for DedupeRecords.
	DefaultDedupeRecords = 64 << 10
	MaxDedupeRecords     = 256 << 10
	// MaxDedupeBytes is how far back a window reaches in bytes of batches as they
	// stand in etcd: a process reads that much before its first append.
	MaxDedupeBytes = 64 << 20
)

// EnsureDefaults fills what is zero.
func (c *TopicConfig) EnsureDefaults() {
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.Compression == "" {
		c.Compression = CompressS2
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = MaxRecordBytes
	}
	if c.DedupeWindow > 0 && c.DedupeRecords == 0 {
		c.DedupeRecords = DefaultDedupeRecords
	}
	c.Retention = cmp.Or(c.Retention, RetainLimits)
	c.Discard = cmp.Or(c.Discard, DiscardOld)
	c.Compaction = cmp.Or(c.Compaction, CompactNone)
	if c.Compaction == CompactByKey {
		c.TombstoneGrace = cmp.Or(c.TombstoneGrace, DefaultTombstoneGrace)
		c.CompactionLag = cmp.Or(c.CompactionLag, DefaultCompactionLag)
	}
}

// Validate returns every fault of c, joined; each wraps ErrInvalid.
func (c *TopicConfig) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if c.Partitions < 1 || c.Partitions > MaxPartitions {
		fault("%d partitions: there must be between 1 and %d", c.Partitions, MaxPartitions)
	}
	switch c.Compression {
	case CompressS2, CompressZstd, CompressNone:
	default:
		fault("compression %q: there are %q, %q and %q", c.Compression, CompressS2, CompressZstd, CompressNone)
	}
	if c.MaxRecordBytes < 1 || c.MaxRecordBytes > MaxRecordBytes {
		fault("max record bytes %d: it must be between 1 and %d", c.MaxRecordBytes, MaxRecordBytes)
	}
	switch {
	case c.DedupeWindow < 0 || c.DedupeWindow > MaxDedupeWindow || c.DedupeWindow%time.Millisecond != 0:
		fault("a dedupe window of %s: it must be whole milliseconds, up to %s", c.DedupeWindow, MaxDedupeWindow)
	case c.DedupeRecords < 0 || c.DedupeRecords > MaxDedupeRecords:
		fault("dedupe records %d: it must be at most %d", c.DedupeRecords, MaxDedupeRecords)
	case c.DedupeWindow == 0 && c.DedupeRecords != 0:
		fault("dedupe records without a dedupe window")
	}
	for _, d := range []struct {
		what string
		time.Duration
	}{{"max age", c.MaxAge}, {"TTL", c.TTL}} {
		if d.Duration != 0 && (d.Duration < time.Millisecond || d.Duration > longestLife) {
			fault("%s %s: it must be between 1ms and %s, or 0 for none", d.what, d.Duration, longestLife)
		}
	}
	if c.MaxBytes != 0 && (c.MaxBytes < MinTopicBytes || c.MaxBytes > mostKept) {
		fault("max bytes %d: it must be between %d and %d, or 0 for none", c.MaxBytes, MinTopicBytes, int64(mostKept))
	}
	if c.MaxRecords < 0 || c.MaxRecords > mostKept {
		fault("max records %d: it must be between 1 and %d, or 0 for none", c.MaxRecords, int64(mostKept))
	}
	if c.Retention != RetainLimits && c.Retention != RetainUntilDone {
		fault("retention %q: there are %q and %q", c.Retention, RetainLimits, RetainUntilDone)
	}
	switch {
	case c.Discard != DiscardOld && c.Discard != DiscardNew:
		fault("discard %q: there are %q and %q", c.Discard, DiscardOld, DiscardNew)
	case c.Discard == DiscardNew && c.MaxBytes == 0 && c.MaxRecords == 0:
		fault("discard %q without max bytes or max records: nothing would be refused", c.Discard)
	}
	for _, d := range []struct {
		what string
		time.Duration
	}{{"tombstone grace", c.TombstoneGrace}, {"compaction lag", c.CompactionLag}} {
		if d.Duration != 0 && (d.Duration < minCompactionTime || d.Duration > longestLife) {
			fault("%s %s: it must be between %s and %s, or 0 for the default", d.what, d.Duration, minCompactionTime, longestLife)
		} else if d.Duration != 0 && c.Compaction != CompactByKey {
			fault("a %s without compaction %q: nothing would be compacted", d.what, CompactByKey)
		}
	}
	if c.Compaction != CompactNone && c.Compaction != CompactByKey {
		fault("compaction %q: there are %q and %q", c.Compaction, CompactNone, CompactByKey)
	}
	return errors.Join(faults...)
}

const (
	longestLife = 100 * 365 * 24 * time.Hour
	mostKept    = 1 << 62
)

// TopicUpdate says what to change about a topic; what is zero stays.
type TopicUpdate struct {
	// Partitions is the new number, never less than before. Records of one key
	// may go to another partition from then on.
	Partitions int
	// Compression of batches from now on.
	Compression Compression
	// MaxRecordBytes for records from now on.
	MaxRecordBytes int
	// DedupeWindow from now on; a negative one is none. Processes that have the topic
	// open learn of it within a second, and until then put as before.
	DedupeWindow time.Duration
	// DedupeRecords from now on.
	DedupeRecords int
	// MaxAge, MaxBytes, MaxRecords and TTL are the new limits; NoLimit, or less than 0,
	// removes one. What is above a lower limit is deleted within some seconds.
	MaxAge               time.Duration
	MaxBytes, MaxRecords int64
	TTL                  time.Duration
	// Retention and Discard from now on.
	Retention Retention
	Discard   Discard
	// Compaction, TombstoneGrace and CompactionLag from now on. CompactNone takes the
	// other two away; what was deleted does not come back.
	Compaction                    Compaction
	TombstoneGrace, CompactionLag time.Duration
}

// TopicInfo is a topic as its key in etcd has it.
type TopicInfo struct {
	Name string
	// ID is the topic's for as long as it lives; a topic that is deleted and
	// made again has another.
	ID      string
	Config  TopicConfig
	Created time.Time
	// CreateRevision is what appends compare, so that nothing lands in a topic
	// that is gone. ModRevision grows with each update.
	CreateRevision, ModRevision int64
	// Scheduled: a schedule puts records into it, or did. Who has it open may be the keeper.
	Scheduled bool
}

// Record is one record of a topic, as consumers get it. It is a value; its
// bytes stay valid without end and pin the batch they came in; Clone detaches
// them. Treat them as read-only: another reader may share the batch.
type Record struct {
	Payload
	// Topic is the topic's name.
	Topic string
	// Partition is the record's, from 0.
	Partition int
	// Offset is the record's place in its partition, contiguous from 0.
	Offset int64
	// Fence is the CreateRevision of the claim under which the record was
	// handed out, or 0 without a group. It only grows: a database that
	// remembers the largest it has seen for a partition can refuse what a
	// consumer does that has lost the partition since.
	Fence int64
	// Attempt is 1 at first; each failed handling raises it, also after a restart where it
	// was committed.
	Attempt int
	// Deaths is how often a process may have ended over it.
	Deaths int

	loan *loan // nil: it is not lent
}

// loan is what a record was lent by.
type loan struct {
	of  Settler
	seq uint64
}

// Lent is r as a record that was lent: delivery seq of a link. It is for Penstock.
func Lent(r Record, of Settler, seq uint64) Record {
	r.loan = &loan{of, seq}
	return r
}

// InProgress says that a record of a shared group is still being handled: its AckWait
// begins again. Of a record that is not lent there is none, and it does nothing. It does
// not block, and is safe for concurrent use.
func (r Record) InProgress() {
	if r.loan != nil {
		r.loan.of.InProgress(r.loan.seq)
	}
}

// Clone is the record with bytes of its own, so that keeping it does not keep
// its batch.
func (r Record) Clone() Record {
	r.Payload = r.Payload.Clone()
	return r
}

// PutResult says what became of one message of a put.
type PutResult struct {
	Partition int
	// Offset is valid when Err is nil: the record is committed there.
	Offset int64
	// Duplicate reports whether a record with the message's ID was there already:
	// Offset is that record's, and nothing was put.
	Duplicate bool
	// Err is nil, or why not. With ErrUnknownOutcome the record may be, or may
	// yet come, in the topic; with any other it is not and never will be.
	Err error
}

// TopicDescription is a topic as of one revision of etcd.
type TopicDescription struct {
	TopicInfo
	// Revision is the one that everything here was read at.
	Revision int64
	// Partitions are all of them, Config.Partitions many: Partitions[p] is
	// partition p.
	Partitions []PartitionInfo
	Groups     []GroupInfo
}

// PartitionInfo is one partition.
type PartitionInfo struct {
	Partition int
	// Start is the first offset that can be read, End the next to be written.
	Start, End int64
	// Bytes is what its batches take in etcd, packed as they are and without
	// their keys.
	// What waits to be delivered counts with the batch that it was put with.
	Bytes int64
	// Delayed is how many records wait for the time at which they are delivered, and NextDue
	// when the first of them is; the zero Time when none waits.
	Delayed int64
	NextDue time.Time
	// Err is nil, or why nothing else is known: it wraps ErrCorrupt where what
	// stands in etcd does not make sense.
	Err error
}

// Truncated is what Truncate or Purge did to one partition.
type Truncated struct {
	Partition int
	// From is where the partition began before, Start where it begins now.
	From, Start int64
	// Erased counts records of the batch at Start that lie before the offset given:
	// they are deleted, and Start is the base of their batch.
	Erased int
}

// OffsetChange is what ResetOffsets did, or would do, to one partition.
type OffsetChange struct {
	Partition int
	// From is the committed offset before, -1 for none.
	From, To int64
}

// Start says where to begin reading a partition. Its zero value is the
// earliest record there is.
type Start struct {
	kind startKind
	at   int64
}

type startKind uint8

const (
	startEarliest startKind = iota
	startLatest
	startOffset
	startTime
)

// Earliest begins at the first record there is.
func Earliest() Start { return Start{} }

// Latest begins at the first record put after the reading began.
func Latest() Start { return Start{kind: startLatest} }

// AtOffset begins at an offset; one that was trimmed counts as the earliest.
func AtOffset(offset int64) Start { return Start{kind: startOffset, at: offset} }

// AtTime begins at the first batch that holds a record of time t or later, or
// at the end when there is none. Times need not be sorted: what comes later may
// be older. Records have times from 1677 to 2262: a t before that is Earliest, one
// after it Latest.
func AtTime(t time.Time) Start {
	switch {
	case t.Before(firstTime):
		return Earliest()
	case t.After(lastTime):
		return Latest()
	}
	return Start{kind: startTime, at: t.UnixNano()}
}

// IsLatest reports whether s is Latest.
func (s Start) IsLatest() bool { return s.kind == startLatest }

// Offset is the offset of AtOffset, and whether s is one.
func (s Start) Offset() (int64, bool) { return s.at, s.kind == startOffset }

// Time is the time of AtTime in nanoseconds since 1970 UTC, and whether s is one.
func (s Start) Time() (int64, bool) { return s.at, s.kind == startTime }

// String is how the command line spells it: earliest, latest, an offset, or a
// time in RFC 3339.
func (s Start) String() string {
	switch s.kind {
	case startLatest:
		return "latest"
	case startOffset:
		return fmt.Sprint(s.at)
	case startTime:
		return time.Unix(0, s.at).UTC().Format(time.RFC3339Nano)
	default:
		return "earliest"
	}
}
