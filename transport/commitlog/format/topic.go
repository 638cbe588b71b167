package format

// The settings of a topic, and what is kept of one that is being deleted.

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// ParseTopic reads the value of a topic's key. The error wraps
// messages.ErrCorrupt and names the topic.
func ParseTopic(name string, value []byte, createRevision, modRevision int64) (messages.TopicInfo, error) {
	fail := func(format string, args ...any) (messages.TopicInfo, error) {
		return messages.TopicInfo{}, corrupt("topic "+name, format, args...)
	}
	var t pb.Topic
	if err := proto.Unmarshal(value, &t); err != nil {
		return fail("%v", err)
	}
	if err := keys.ValidateName("topic id", t.Id); err != nil {
		return fail("%v", err)
	}
	if t.Partitions < 1 || t.Partitions > messages.MaxPartitions {
		return fail("%d partitions", t.Partitions)
	}
	if t.MaxRecordBytes < 1 || t.MaxRecordBytes > messages.MaxRecordBytes {
		return fail("records of %d bytes", t.MaxRecordBytes)
	}
	compression, ok := compressions[t.Compression]
	if !ok {
		return fail("compression %d", t.Compression)
	}
	window := time.Duration(min(t.DedupeWindowMs, uint64(messages.MaxDedupeWindow/time.Millisecond))) * time.Millisecond
	cfg := messages.TopicConfig{
		Partitions: int(t.Partitions), Compression: compression, MaxRecordBytes: int(t.MaxRecordBytes),
		DedupeWindow: window, DedupeRecords: int(min(t.DedupeRecords, messages.MaxDedupeRecords)),
	}
	if c := t.Compaction; c != nil {
		cfg.Compaction, cfg.TombstoneGrace, cfg.CompactionLag = messages.CompactByKey, ofMillis(c.GraceMs), ofMillis(c.LagMs)
	}
	retained(&cfg, t.Retention)
	if err := cfg.Validate(); err != nil && (t.Retention != nil || t.Compaction != nil) {
		return fail("%v", err)
	}
	return messages.TopicInfo{
		Name: name, ID: t.Id,
		Config:         cfg,
		Created:        pb.Time(t.CreatedUnixMs),
		CreateRevision: createRevision, ModRevision: modRevision,
		Scheduled: t.Scheduled,
	}, nil
}

// TopicValue is t as etcd keeps it. What is in the key and in its revisions is not
// part of it.
func TopicValue(t messages.TopicInfo) string {
	v := &pb.Topic{
		Id: t.ID, Partitions: uint32(t.Config.Partitions), MaxRecordBytes: uint32(t.Config.MaxRecordBytes),
		CreatedUnixMs:  t.Created.UnixMilli(),
		DedupeWindowMs: uint64(t.Config.DedupeWindow.Milliseconds()), DedupeRecords: uint32(t.Config.DedupeRecords),
	}
	for number, c := range compressions {
		if c == t.Config.Compression {
			v.Compression = number
		}
	}
	v.Retention, v.Scheduled = retention(t.Config), t.Scheduled
	if t.Config.Compaction == messages.CompactByKey {
		v.Compaction = &pb.Compaction{GraceMs: t.Config.TombstoneGrace.Milliseconds(), LagMs: t.Config.CompactionLag.Milliseconds()}
	}
	return Encode(v)
}

// retained fills in what r says of a topic, nil for nothing.
func retained(cfg *messages.TopicConfig, r *pb.Retention) {
	cfg.EnsureDefaults()
	if r == nil {
		return
	}
	cfg.MaxAge, cfg.TTL = ofMillis(r.MaxAgeMs), ofMillis(r.TtlMs)
	cfg.MaxBytes, cfg.MaxRecords = r.MaxBytes, r.MaxRecords
	if r.UntilDone {
		cfg.Retention = messages.RetainUntilDone
	}
	if r.DiscardNew {
		cfg.Discard = messages.DiscardNew
	}
}

// ofMillis is a duration as it was read, bounded so that it is one.
func ofMillis(ms int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(min(max(ms, -1), most)) * time.Millisecond
}

// retention is what etcd keeps of the limits of a topic, nil when there are none.
func retention(cfg messages.TopicConfig) *pb.Retention {
	r := &pb.Retention{
		MaxAgeMs: cfg.MaxAge.Milliseconds(), TtlMs: cfg.TTL.Milliseconds(),
		MaxBytes: cfg.MaxBytes, MaxRecords: cfg.MaxRecords,
		UntilDone: cfg.Retention == messages.RetainUntilDone, DiscardNew: cfg.Discard == messages.DiscardNew,
	}
	if proto.Size(r) == 0 {
		return nil
	}
	return r
}

var compressions = map[pb.Compression]messages.Compression{
	pb.Compression_NONE: messages.CompressNone,
	pb.Compression_S2:   messages.CompressS2,
	pb.Compression_ZSTD: messages.CompressZstd,
}

// ParseDeleting reads the value of the mark of a topic that is being deleted or
// was made in part. The error wraps messages.ErrCorrupt and names the key.
func ParseDeleting(key string, value []byte) (*pb.Deleting, error) {
	var d pb.Deleting
	if err := proto.Unmarshal(value, &d); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	return &d, nil
}
