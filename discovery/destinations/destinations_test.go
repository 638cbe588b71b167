package destinations

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOf(t *testing.T) {
	space := keys.Space("/p")
	at := time.Date(2026, 11, 29, 4, 5, 6, 0, time.UTC)
	all, unreadable := Of(space, []discovery.KV{
		{Key: space.GroupMeta("orders", "a-b"), Value: marshal(t, &pb.GroupMeta{Mode: 99, Policy: pb.QueuePolicy_DROP_OLDEST, KeepForMs: 1500})},
		{Key: space.Deserted("orders", "a-b"), Value: []byte(at.Format(time.RFC3339Nano))},
		{Key: space.GroupMeta("orders", "a"), Value: marshal(t, messages.GroupSettings{Mode: messages.AtMostOnce, Policy: messages.QueueError, KeepFor: messages.Forever}.Meta())},
		{Key: space.Deserted("orders", "a"), Value: []byte(at.Format(time.RFC3339Nano))},
		{Key: space.Member("orders", "a", "m"), Value: marshal(t, &pb.Member{Host: "h", SinceUnixMs: at.UnixMilli(), Window: 7})},
		{Key: space.Member("orders", "a", "bad"), Value: []byte{0xff}},
		{Key: space.Sender("orders", "s"), Value: marshal(t, &pb.Sender{Urls: []string{"tcp://h:1"}, Host: "h", SinceUnixMs: at.UnixMilli(), Version: "v1.2.3"})},
		{Key: space.Sole("orders"), Value: []byte("s")},
		{Key: space.Sender("invoices", "s"), Value: []byte{0xff}},
		{Key: space.Topic("audit"), Value: []byte("of somebody else")},
		{Key: "/p/dest/not/ours/at/all/x"},
	})
	want := messages.DestinationInfo{
		Name: "orders", Sole: "s",
		Senders: []messages.SenderInfo{{ID: "s", URLs: []string{"tcp://h:1"}, Host: "h", Since: at, Version: "v1.2.3"}},
		Groups: []messages.PipeGroupInfo{
			{
				Name: "a", Mode: messages.AtMostOnce, Policy: messages.QueueError, KeepFor: messages.Forever,
				Members: []messages.PipeMemberInfo{{ID: "m", Host: "h", Since: at, Window: 7}},
			},
			{Name: "a-b", Mode: "99", Policy: messages.QueueDropOldest, KeepFor: 1500 * time.Millisecond, Deserted: at},
		},
	}
	if len(all) != 2 || all[0].Name != "invoices" || !errors.Is(all[0].Err, messages.ErrCorrupt) {
		t.Fatalf("%+v", all)
	}
	got := all[1]
	if !errors.Is(got.Err, messages.ErrCorrupt) {
		t.Errorf("a key that does not decode: %v", got.Err)
	}
	if got.Name != want.Name || got.Sole != want.Sole || got.Revision != want.Revision ||
		!reflect.DeepEqual(got.Senders, want.Senders) || !reflect.DeepEqual(got.Groups, want.Groups) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if bad := []string{space.Member("orders", "a", "bad"), space.Sender("invoices", "s")}; !slices.Equal(unreadable, bad) {
		t.Errorf("%q do not decode, want %q", unreadable, bad)
	}
}
