package main

// The topics of a listing.

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// takeTopics adds topics, which come sorted by name.
func (inv *inventory) takeTopics(space keys.Space, kvs []discovery.KV) {
	for _, kv := range kvs {
		t, err := format.ParseTopic(kv.Key[len(space.Topics()):], kv.Value, kv.CreateRevision, kv.ModRevision)
		if err != nil {
			inv.Unreadable = append(inv.Unreadable, kv.Key)
			continue
		}
		inv.Topics = append(inv.Topics, viewTopic(t))
	}
}

// unfinished counts deletions of topics that began so long ago that whoever
// began them is gone.
func unfinished(marks []discovery.KV, now time.Time) (n int) {
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

// partitionsOf is how many partitions the topics have together.
func partitionsOf(topics []topicView) (n int) {
	for _, t := range topics {
		n += t.Partitions
	}
	return n
}
