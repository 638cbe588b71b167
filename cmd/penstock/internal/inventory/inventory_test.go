package inventory

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestInventoryTellsWhatDoesNotDecode(t *testing.T) {
	space := keys.Space("/p")
	inv := Of(space, []discovery.KV{
		{Key: space.Sender("orders", "a"), Value: []byte{0xff}},
		{Key: space.GroupMeta("orders", "g"), Value: []byte{0xff}},
		{Key: space.Member("orders", "g", "m"), Value: []byte{0xff}},
		{Key: space.Deserted("orders", "g"), Value: []byte("yesterday")},
		{Key: "/p/dest/not/ours/at/all/x"},
	})
	if len(inv.Unreadable) != 4 || len(inv.Destinations) != 0 {
		t.Errorf("%+v", inv)
	}
}

func TestInventoryMarksDesertedGroups(t *testing.T) {
	space := keys.Space("/p")
	meta, err := proto.Marshal(&pb.GroupMeta{KeepForMs: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	inv := Of(space, []discovery.KV{
		{Key: space.Deserted("orders", "g"), Value: []byte("2026-11-22T02:03:04.5Z")},
		{Key: space.GroupMeta("orders", "g"), Value: meta},
	})
	var out strings.Builder
	if err := inv.Print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "keep 1m0s  no members since 2026-11-22T02:03:04Z\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q, want %q in it", out.String(), want)
	}
}

func TestInventoryOfTopics(t *testing.T) {
	space := keys.Space("/p")
	topic, err := proto.Marshal(&pb.Topic{Id: "abc", Partitions: 4, Compression: pb.Compression_S2, MaxRecordBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	inv := Inventory{}
	inv.TakeTopics(space, []discovery.KV{
		{Key: space.Topic("audit"), Value: topic}, {Key: space.Topic("bad"), Value: []byte{0xff}},
	})
	if len(inv.Topics) != 1 || inv.Topics[0].Name != "audit" || inv.Topics[0].Partitions != 4 || !slices.Equal(inv.Unreadable, []string{space.Topic("bad")}) {
		t.Errorf("%+v", inv)
	}
	now := time.Unix(100_000, 0)
	var marks []discovery.KV
	for _, age := range []time.Duration{0, time.Minute, time.Hour} {
		mark, err := proto.Marshal(&pb.Deleting{SinceUnixMs: now.Add(-age).UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, discovery.KV{Key: space.Deleting("x"), Value: mark})
	}
	if n := Unfinished(marks, now); n != 1 {
		t.Errorf("%d are unfinished, want the one of an hour ago", n)
	}
}
