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
}

// TopicOf returns a topic as people and programs see it.
func TopicOf(i penstock.TopicInfo) Topic {
	return Topic{
		Name: i.Name, ID: i.ID, Partitions: i.Config.Partitions, Compression: string(i.Config.Compression),
		MaxRecordBytes: i.Config.MaxRecordBytes, Created: i.Created.UTC(),
		DedupeWindowMS: i.Config.DedupeWindow.Milliseconds(), DedupeRecords: i.Config.DedupeRecords,
	}
}

// String is the topic as a row of columns.
func (t Topic) String() string {
	row := fmt.Sprintf("%s\tid %s\tpartitions %d\tcompression %s\trecords to %d bytes\tcreated %s",
		t.Name, cli.Clean(t.ID), t.Partitions, cli.Clean(t.Compression), t.MaxRecordBytes, t.Created.Format(time.RFC3339))
	if t.DedupeWindowMS > 0 {
		row += fmt.Sprintf("\tids known for %s or %d records", time.Duration(t.DedupeWindowMS)*time.Millisecond, t.DedupeRecords)
	}
	return row
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
