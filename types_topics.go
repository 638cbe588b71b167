package penstock

// What topics carry and report.

import (
	"context"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Record is one record of a topic.
//
//	type Record struct {
//		Payload          // Key, Value, Time, Headers
//		Topic     string
//		Partition int    // from 0
//		Offset    int64  // its place in the partition, without gaps from 0
//		Fence     int64  // of the claim under which it was handed out; 0 without a group
//		Attempt   int    // 1 at first; each failed handling raises it
//		Deaths    int    // how often a process may have ended over it
//	}
//
//	func (r Record) Clone() Record // the same with bytes of its own
//	func (r Record) InProgress()   // its AckWait begins again, in a shared group
//
// Fence only grows for a partition: a database that keeps the largest it has seen
// can refuse the writes of a consumer that has lost the partition.
//
// A Record is a value. Its bytes stay valid without end, keep the batch in memory in
// which they came, and may be shared with other readers: do not write to them. Clone
// frees the batch.
type Record = messages.Record

// RecordHandler handles one record for Subscription.Consume. A nil error finishes
// it; an error or a panic makes it be handled again, or what ErrReject and RetryAfter
// say. ctx ends when the partition is lost or Consume ends.
type RecordHandler func(ctx context.Context, r Record) error

// PutResult says what became of one message that was put.
//
//	type PutResult struct {
//		Partition int   // -1 when none was chosen
//		Offset    int64 // valid when Err is nil: the record is committed there
//		Duplicate bool  // the topic had the message's ID: Offset is of the first record with it
//		Err       error
//	}
//
// With ErrUnknownOutcome as Err the record may be in the topic, or arrive there later;
// with any other error it is not and will not.
type PutResult = messages.PutResult

// Partitioner chooses the partition of each message that is put without naming one.
// ByKey, Sticky, RoundRobin, Random and Manual make one. It can be given to any
// number of topics: what it remembers is kept for each handle.
type Partitioner = actors.Partitioner

// TopicConfig has the settings of a topic that is created. The zero value is good.
//
//	type TopicConfig struct {
//		Partitions     int         // 1 to 1,024; 1 when zero
//		Compression    Compression // CompressS2 when empty
//		MaxRecordBytes int         // of one record, encoded, 1 to 1 MiB; 1 MiB when zero
//		DedupeWindow   time.Duration // how long ids are known again, up to 30 days; none when zero
//		DedupeRecords  int           // how many records back, up to 262,144; 65,536 when zero
//
//		MaxAge     time.Duration // of a record, by its time; then it is deleted
//		MaxBytes   int64         // of a partition in etcd, at least MinTopicBytes
//		MaxRecords int64         // of a partition
//		Retention  Retention     // RetainLimits when empty
//		Discard    Discard       // what gives way at MaxBytes and MaxRecords; DiscardOld when empty
//		TTL        time.Duration // after its time a record is not handed out any more, and deleted later
//
//		Compaction     Compaction    // CompactNone when empty
//		TombstoneGrace time.Duration // how long tombstones stay; a day when zero
//		CompactionLag  time.Duration // how long every record stays; a minute when zero
//	}
//
// Without limits records are kept until somebody deletes them. Batches are deleted as a
// whole, the oldest first, up to the first that no limit concerns.
//
//	func (c *TopicConfig) EnsureDefaults() // fills what is zero
//	func (c *TopicConfig) Validate() error // every fault, joined; each is ErrInvalid
//
// With a DedupeWindow, each Message.ID is in the topic once: a message whose ID one of the
// last DedupeRecords records of its partition has, put within DedupeWindow, is not put,
// and its result is that record's offset, whichever process put it. The window reaches
// back 64 MiB of compressed batches at most. Messages with an ID go to the partition of
// their key, or of their ID when they have no key, whatever Partitioner there is; Manual
// and PutTo choose by themselves, and then an ID is known again in that partition alone.
// A process reads the window before its first put of a message with an ID, and keeps
// about 100 bytes for each.
type TopicConfig = messages.TopicConfig

// TopicUpdate says what UpdateTopic changes. What is zero stays.
//
//	type TopicUpdate struct {
//		Partitions     int         // the new number, never less than before
//		Compression    Compression // of batches from now on
//		MaxRecordBytes int         // of records from now on
//		DedupeWindow   time.Duration // of ids from now on; a negative one is none
//		DedupeRecords  int           // the same, in records
//		MaxAge, TTL    time.Duration // NoLimit removes one; so it does of the next two
//		MaxBytes       int64
//		MaxRecords     int64
//		Retention      Retention
//		Discard        Discard
//		Compaction     Compaction
//		TombstoneGrace time.Duration // of CompactByKey
//		CompactionLag  time.Duration // of CompactByKey
//	}
//
// With more partitions, records of one key may go to another partition than before, and
// ids of before are not known again there.
type TopicUpdate = messages.TopicUpdate

// Compression says how the batches of a topic are written. A batch that would not
// get smaller is written as it is. The values are CompressS2, CompressZstd and
// CompressNone.
type Compression = messages.Compression

// The compressions of a topic.
const (
	// CompressS2 is fast, and the default.
	CompressS2 = messages.CompressS2
	// CompressZstd makes smaller batches than CompressS2 and takes longer.
	CompressZstd = messages.CompressZstd
	// CompressNone writes batches as they are.
	CompressNone = messages.CompressNone
)

// Compaction says whether a record of a topic supersedes those before it: CompactNone or
// CompactByKey.
type Compaction = messages.Compaction

// The compactions of a topic.
const (
	// CompactNone: records do not supersede one another. The default.
	CompactNone = messages.CompactNone
	// CompactByKey: the newest record of each key in a partition supersedes those before
	// it, which are deleted later. A message without a key is ErrInvalid.
	CompactByKey = messages.CompactByKey
)

// Defaults of compaction.
const (
	// DefaultTombstoneGrace is how long a tombstone stays after the records before it
	// that have its key were deleted.
	DefaultTombstoneGrace = messages.DefaultTombstoneGrace
	// DefaultCompactionLag is how long a record stays whatever comes after it.
	DefaultCompactionLag = messages.DefaultCompactionLag
)

// MinTopicBytes is the least that TopicConfig.MaxBytes can be: the largest record.
const MinTopicBytes = messages.MinTopicBytes

// NoLimit removes a limit of a topic, in a TopicUpdate.
const NoLimit = messages.NoLimit

// Retention says when records of a topic are deleted besides its limits: RetainLimits or
// RetainUntilDone.
type Retention = messages.Retention

// The retentions of a topic.
const (
	// RetainLimits: only the limits delete records. The default.
	RetainLimits = messages.RetainLimits
	// RetainUntilDone: also what every group of the topic has committed, as soon as there
	// is a group.
	RetainUntilDone = messages.RetainUntilDone
)

// Discard says what gives way in a partition that is full: DiscardOld or DiscardNew.
type Discard = messages.Discard

// What a full partition discards.
const (
	// DiscardOld deletes the oldest batches. The default.
	DiscardOld = messages.DiscardOld
	// DiscardNew refuses puts with ErrTopicFull: each batch that does not fit as a whole.
	DiscardNew = messages.DiscardNew
)

// Truncated is what Truncate or Purge did to one partition.
//
//	type Truncated struct {
//		Partition int
//		From      int64 // where it began before
//		Start     int64 // where it begins now
//		Erased    int   // records of the batch at Start, before the offset given
//	}
type Truncated = messages.Truncated

// TopicInfo is a topic's identity and settings.
//
//	type TopicInfo struct {
//		Name           string
//		ID             string      // a topic that is deleted and created again has another
//		Config         TopicConfig
//		Created        time.Time
//		CreateRevision int64       // of its key in etcd
//		ModRevision    int64       // of its key in etcd; grows with each update
//		Scheduled      bool        // a schedule puts records into it, or did
//	}
type TopicInfo = messages.TopicInfo

// TopicDescription is a topic with its partitions and groups, as of one revision of
// etcd.
//
//	type TopicDescription struct {
//		TopicInfo                  // Name, ID, Config, …
//		Revision   int64           // of etcd, at which all of it was read
//		Partitions []PartitionInfo // Partitions[p] is partition p
//		Groups     []GroupInfo
//	}
type TopicDescription = messages.TopicDescription

// PartitionInfo is one partition of a topic.
//
//	type PartitionInfo struct {
//		Partition  int
//		Start, End int64 // the first offset that can be read, and the next to be written
//		Bytes      int64 // of its batches in etcd, compressed, without their keys; what waits counts with the batch that it was put with
//		Delayed    int64     // records that wait until they are delivered
//		NextDue    time.Time // when the first of those is; the zero Time when none waits
//		Err        error // nil, or why nothing else is known: ErrCorrupt
//	}
type PartitionInfo = messages.PartitionInfo

// GroupInfo is a consumer group of a topic.
//
//	type GroupInfo struct {
//		Topic, Group string
//		Mode         GroupMode
//		Generation   int64 // counts assignments; 0 before the first, and in a manual group
//		Members      []GroupMember
//		Partitions   []GroupPartition
//		Lag          int64 // records, over all partitions whose end is known
//		PausedUntil  time.Time // when PauseConsumerGroup's pause ends; zero for none
//		Err          error // nil, or which keys of the group were passed over: ErrCorrupt
//	}
type GroupInfo = messages.GroupInfo

// GroupMode says how the partitions of a consumer group find their owners:
// GroupAutomatic or GroupManual. The first subscription decides it.
type GroupMode = messages.GroupMode

// The modes of a consumer group.
const (
	// GroupAutomatic: the members share out all partitions; made by Subscribe.
	GroupAutomatic = messages.GroupAutomatic
	// GroupManual: each member names its partitions; made by SubscribePartitions.
	GroupManual = messages.GroupManual
	// GroupShared: as GroupAutomatic, and the owners of partitions lend records to the
	// other members; made by Subscribe with Shared.
	GroupShared = messages.GroupShared
)

// GroupMember is one live subscription of a consumer group.
//
//	type GroupMember struct {
//		ID, Host   string
//		Since      time.Time
//		Partitions []int // assigned to it, or named by it
//	}
type GroupMember = messages.GroupMember

// GroupPartition says where a consumer group is in one partition.
//
//	type GroupPartition struct {
//		Partition  int
//		Start, End int64  // the partition's, as in PartitionInfo
//		Committed  int64  // the next offset to be handled; -1 when nothing was committed
//		Done       int64  // records behind Committed that are finished, see Concurrency
//		Lag        int64  // records from where the group is to End, without Done; -1 with an Err
//		Owner      string // the member that has claimed it, or empty
//		Fence      int64  // of that claim, or 0
//		Err        error  // nil, or why Start, End and Lag are not known
//	}
//
// Where nothing was committed, the lag counts from where the group began, or from
// Start.
type GroupPartition = messages.GroupPartition

// OffsetChange is what ResetOffsets did to one partition, or would do.
//
//	type OffsetChange struct {
//		Partition int
//		From      int64 // the committed offset before; -1 for none
//		To        int64
//	}
type OffsetChange = messages.OffsetChange

// MaxCommitsWaiting is how many calls of CommitAsync with a callback can wait for
// it in a subscription; one that is about several partitions counts for each.
const MaxCommitsWaiting = actors.MaxCommitsWaiting

// MaxCallbacksWaiting is how many callbacks of PutAsync can wait in a handle for
// the one before them to return, while more is accepted.
const MaxCallbacksWaiting = actors.MaxCallbacksWaiting
