package inventory

// The topics of a listing.

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Topic is a topic's settings.
type Topic struct {
	Name           string `json:"name"`
	ID             string `json:"id"`
	Partitions     int    `json:"partitions"`
	Compression    string `json:"compression"`
	MaxRecordBytes int    `json:"max_record_bytes"`
	// DedupeWindowMS and DedupeRecords are those of ids, 0 for no window.
	DedupeWindowMS int64     `json:"dedupe_window_ms,omitempty"`
	DedupeRecords  int       `json:"dedupe_records,omitempty"`
	Created        time.Time `json:"created"`
	// The limits are left out where there is none.
	MaxAgeMS   int64  `json:"max_age_ms,omitempty"`
	TTLMS      int64  `json:"ttl_ms,omitempty"`
	MaxBytes   int64  `json:"max_bytes,omitempty"`
	MaxRecords int64  `json:"max_records,omitempty"`
	Retention  string `json:"retention,omitempty"`
	Discard    string `json:"discard,omitempty"`
	// Compaction and its times are left out where records supersede none.
	Compaction       string `json:"compaction,omitempty"`
	TombstoneGraceMS int64  `json:"tombstone_grace_ms,omitempty"`
	CompactionLagMS  int64  `json:"compaction_lag_ms,omitempty"`
}

// TopicOf returns a topic as people and programs see it.
func TopicOf(i penstock.TopicInfo) Topic {
	t := Topic{
		Name: i.Name, ID: i.ID, Partitions: i.Config.Partitions, Compression: string(i.Config.Compression),
		MaxRecordBytes: i.Config.MaxRecordBytes, Created: i.Created.UTC(),
		DedupeWindowMS: i.Config.DedupeWindow.Milliseconds(), DedupeRecords: i.Config.DedupeRecords,
		MaxAgeMS: i.Config.MaxAge.Milliseconds(), TTLMS: i.Config.TTL.Milliseconds(),
		MaxBytes: i.Config.MaxBytes, MaxRecords: i.Config.MaxRecords,
	}
	if i.Config.Retention != penstock.RetainLimits {
		t.Retention = string(i.Config.Retention)
	}
	if i.Config.Discard != penstock.DiscardOld {
		t.Discard = string(i.Config.Discard)
	}
	if i.Config.Compaction != penstock.CompactNone {
		t.Compaction = string(i.Config.Compaction)
		t.TombstoneGraceMS, t.CompactionLagMS = i.Config.TombstoneGrace.Milliseconds(), i.Config.CompactionLag.Milliseconds()
	}
	return t
}

// String is the topic as a row of columns.
func (t Topic) String() string {
	return fmt.Sprintf("%s\tid %s\tpartitions %d\tcompression %s\trecords to %d bytes\tcreated %s%s",
		t.Name, cli.Clean(t.ID), t.Partitions, cli.Clean(t.Compression), t.MaxRecordBytes, t.Created.Format(time.RFC3339), t.limits())
}

// limits are columns, one for each limit that there is.
func (t Topic) limits() (columns string) {
	add := func(is bool, format string, args ...any) {
		if is {
			columns += "\t" + fmt.Sprintf(format, args...)
		}
	}
	add(t.MaxAgeMS > 0, "age to %s", time.Duration(t.MaxAgeMS)*time.Millisecond)
	add(t.TTLMS > 0, "ttl %s", time.Duration(t.TTLMS)*time.Millisecond)
	add(t.MaxBytes > 0, "partitions to %d bytes", t.MaxBytes)
	add(t.MaxRecords > 0, "partitions to %d records", t.MaxRecords)
	add(t.DedupeWindowMS > 0, "ids known for %s or %d records", time.Duration(t.DedupeWindowMS)*time.Millisecond, t.DedupeRecords)
	add(t.Retention != "", "retained %s", cli.Clean(t.Retention))
	add(t.Discard != "", "discards %s", cli.Clean(t.Discard))
	add(t.Compaction != "", "compacted by %s after %s, tombstones after %s", cli.Clean(t.Compaction),
		time.Duration(t.CompactionLagMS)*time.Millisecond, time.Duration(t.TombstoneGraceMS)*time.Millisecond)
	return columns
}

// TakeTopics adds topics, which come sorted by name.
func (inv *Inventory) TakeTopics(space keys.Space, kvs []discovery.KV) {
	for _, kv := range kvs {
		t, err := format.ParseTopic(kv.Key[len(space.Topics()):], kv.Value, kv.CreateRevision, kv.ModRevision)
		if err != nil {
			inv.Unreadable = append(inv.Unreadable, kv.Key)
			continue
		}
		inv.Topics = append(inv.Topics, TopicOf(t))
	}
}

// Unfinished counts deletions of topics that began so long ago that whoever
// began them is gone.
func Unfinished(marks []discovery.KV, now time.Time) (n int) {
	for _, kv := range marks {
		var d pb.Deleting
		if proto.Unmarshal(kv.Value, &d) == nil && now.Sub(pb.Time(d.SinceUnixMs)) > abandonedAfter {
			n++
		}
	}
	return n
}

// abandonedAfter is far longer than making or deleting a topic takes.
const abandonedAfter = 10 * time.Minute
