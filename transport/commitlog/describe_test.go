package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

func TestDescribe(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 3)
	fill(t, l, info, 0, 5)
	fill(t, l, info, 1, 2)
	trim(t, l, info, 0, 20)

	// One group with everything, one without members, one with offsets only,
	// one whose members name their partitions.
	if _, _, err := l.EnsureGroup(ctx, info, "busy", Joining{}); err != nil {
		t.Fatal(err)
	}
	a, b := join(t, l, info, "busy", "a"), join(t, l, info, "busy", "b")
	if _, err := l.Assign(ctx, a, 0, assignment(7, share("b", 1), share("a", 2, 0), share("gone", 3))); err != nil {
		t.Fatal(err)
	}
	first, second := claimOne(t, l, a, 0), claimOne(t, l, b, 1)
	if err := commitOne(t, l, a, first.at(33, 30)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.EnsureGroup(ctx, info, "idle", Joining{}); err != nil {
		t.Fatal(err)
	}
	put(t, l, l.space.Committed(info.ID, "old", 0), format.Encode(&pb.Committed{Offset: 5, Base: 0, Fence: 9})) // trimmed since
	put(t, l, l.space.Committed(info.ID, "old", 1), format.Encode(&pb.Committed{Offset: 20, Base: 10}))
	put(t, l, l.space.Committed(info.ID, "old", 2), format.Encode(&pb.Committed{Offset: 4, Base: 4})) // past the end
	put(t, l, l.space.Committed(info.ID, "old", 3), format.Encode(&pb.Committed{Offset: 4, Base: 4})) // of no partition
	if _, _, err := l.EnsureGroup(ctx, info, "manual", Joining{Manual: true}); err != nil {
		t.Fatal(err)
	}
	put(t, l, l.space.ConsumerMember(info.ID, "manual", "m"), format.Encode(&pb.ConsumerMember{Id: "m", Host: "h", SinceUnixMs: 1700000000000, Partitions: []uint32{2, 1}}))
	// Keys of others are passed over.
	put(t, l, l.space.ConsumerGroups(info.ID)+"busy/strange", "?")

	since := time.UnixMilli(1700000000000)
	partition := func(p int, start, end, committed, lag int64) messages.GroupPartition {
		return messages.GroupPartition{Partition: p, Start: start, End: end, Committed: committed, Lag: lag}
	}
	busy := messages.GroupInfo{
		Topic: "orders", Group: "busy", Mode: messages.GroupAutomatic, Generation: 7,
		Members: []messages.GroupMember{{ID: "a", Host: "host-a", Since: since, Partitions: []int{0, 2}}, {ID: "b", Host: "host-b", Since: since, Partitions: []int{1}}},
		Partitions: []messages.GroupPartition{
			{Partition: 0, Start: 20, End: 50, Committed: 33, Lag: 17, Owner: "a", Fence: first.Fence},
			{Partition: 1, Start: 0, End: 20, Committed: -1, Lag: 20, Owner: "b", Fence: second.Fence},
			partition(2, 0, 0, -1, 0),
		},
		Lag: 37,
	}
	idle := messages.GroupInfo{
		Topic: "orders", Group: "idle", Mode: messages.GroupAutomatic,
		Partitions: []messages.GroupPartition{partition(0, 20, 50, -1, 30), partition(1, 0, 20, -1, 20), partition(2, 0, 0, -1, 0)},
		Lag:        50,
	}
	manual := idle
	manual.Group, manual.Mode = "manual", messages.GroupManual
	manual.Members = []messages.GroupMember{{ID: "m", Host: "h", Since: since, Partitions: []int{1, 2}}}
	old := messages.GroupInfo{
		Topic: "orders", Group: "old",
		Partitions: []messages.GroupPartition{partition(0, 20, 50, 5, 30), partition(1, 0, 20, 20, 0), partition(2, 0, 0, 4, 0)},
		Lag:        30,
	}
	d, err := l.Describe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if d.Revision == 0 {
		t.Error("no revision")
	}
	want := messages.TopicDescription{
		TopicInfo: info, Revision: d.Revision,
		Partitions: []messages.PartitionInfo{
			{Partition: 0, Start: 20, End: 50, Bytes: stored(t, l, info, 0)}, {Partition: 1, Start: 0, End: 20, Bytes: stored(t, l, info, 1)}, {Partition: 2},
		},
		Groups: []messages.GroupInfo{busy, idle, manual, old},
	}
	if got, want := fmt.Sprintf("%+v", d), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, g := range want.Groups {
		if got, err := l.DescribeGroup(ctx, info, g.Group); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", g) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, g)
		}
	}

	// The topic grows, and who knew it before sees it grown.
	grown, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.DescribeGroup(ctx, info, "old"); err != nil || len(got.Partitions) != 4 || got.Partitions[3].Committed != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []struct {
		topic messages.TopicInfo
		group string
		want  error
		says  string
	}{
		{grown, "nobody", messages.ErrNoGroup, "nobody"},
		{grown, "a/b", messages.ErrInvalid, "a/b"},
		{messages.TopicInfo{Name: "orders", ID: info.ID, CreateRevision: 1}, "busy", messages.ErrTopicDeleted, "orders"},
		{messages.TopicInfo{Name: "elsewhere", ID: info.ID, CreateRevision: 1}, "busy", messages.ErrTopicDeleted, "elsewhere"},
	} {
		if got, err := l.DescribeGroup(ctx, c.topic, c.group); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v, %v; want %v", got, err, c.want)
		}
	}
}

func TestDescribeNamesCorruptKeys(t *testing.T) {
	for name, key := range map[string]func(*Log, string) string{
		"topic":      func(l *Log, _ string) string { return l.space.Topic("orders") },
		"start":      func(l *Log, id string) string { return l.space.LogStart(id, 0) },
		"index":      func(l *Log, id string) string { return l.space.IndexEntry(id, 0, 10) },
		"first":      func(l *Log, id string) string { return l.space.IndexEntry(id, 0, 0) },
		"group":      func(l *Log, id string) string { return l.space.ConsumerGroupMeta(id, "g") },
		"member":     func(l *Log, id string) string { return l.space.ConsumerMember(id, "g", "m") },
		"assignment": func(l *Log, id string) string { return l.space.Assignment(id, "g") },
		"claim":      func(l *Log, id string) string { return l.space.Claim(id, "g", 0) },
		"committed":  func(l *Log, id string) string { return l.space.Committed(id, "g", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := startEtcd(t)
			ctx := testContext(t)
			info := create(t, l, "orders", 2)
			fill(t, l, info, 0, 2)
			fill(t, l, info, 1, 2)
			put(t, l, l.space.Committed(info.ID, "g", 1), format.Encode(&pb.Committed{Offset: 15, Base: 10}))
			put(t, l, l.space.Committed(info.ID, "sound", 1), format.Encode(&pb.Committed{Offset: 15, Base: 10}))
			put(t, l, key(l, info.ID), "\xff")
			d, err := l.Describe(ctx, "orders")
			for _, p := range d.Partitions {
				err = errors.Join(err, p.Err)
			}
			for _, g := range d.Groups {
				err = errors.Join(err, g.Err)
			}
			if !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "orders") && !strings.Contains(err.Error(), key(l, info.ID)) {
				t.Errorf("got %v", err)
			}
			if name == "topic" {
				return
			}
			// The rest is told all the same.
			if p, want := d.Partitions[1], (messages.PartitionInfo{Partition: 1, End: 20, Bytes: stored(t, l, info, 1)}); p != want {
				t.Errorf("%+v, want %+v", p, want)
			}
			sound := d.Groups[len(d.Groups)-1]
			if sound.Group != "sound" || sound.Err != nil || sound.Partitions[1].Lag != 5 {
				t.Errorf("%+v", sound)
			}
			wantLag := int64(25)
			if d.Partitions[0].Err != nil {
				wantLag = 5
				if p := sound.Partitions[0]; !errors.Is(p.Err, messages.ErrCorrupt) || p.Lag != -1 {
					t.Errorf("%+v", p)
				}
			}
			if sound.Lag != wantLag {
				t.Errorf("lag %d, want %d", sound.Lag, wantLag)
			}
			// Asked for by itself, a group is described alike.
			if g, err := l.DescribeGroup(ctx, info, "g"); err != nil || errors.Is(g.Err, messages.ErrCorrupt) == (d.Partitions[0].Err != nil) {
				t.Errorf("the group: %v, %v", g.Err, err)
			}
		})
	}
}

// stored is what the bodies of a partition take in etcd, in entries or apart.
func stored(t testing.TB, l *Log, info messages.TopicInfo, p int) (bytes int64) {
	t.Helper()
	for _, key := range []func(string, int, int64) string{l.space.IndexEntry, l.space.Body} {
		resp, err := l.client.Get(testContext(t), key(info.ID, p, 0), clientv3.WithRange(key(info.ID, p, math.MaxInt64)))
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			body := kv.Value
			if _, e, ok := l.ParseEntry(info.ID, string(kv.Key), kv.Value, 0); ok {
				body = e.Body
			}
			bytes += int64(len(body))
		}
	}
	return bytes
}

// What comes between two requests of a description is not in it.
func TestDescribeStaysAtItsRevision(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	other, _ := logAt(t, l.space)
	info := create(t, l, "orders", 1)
	me := join(t, l, info, "group", "me")
	c := claimOne(t, l, me, 0)
	a := other.Partition(info, 0).Appender(AppenderConfig{Producer: 1})
	var appended uint64
	move := func() {
		appended++
		base, err := a.Append(ctx, batchOf(1, appended, "a"), false)
		if err != nil {
			t.Error(err)
			return
		}
		if err := commitOne(t, other, me, c.at(base+1, base)); err != nil {
			t.Error(err)
		}
	}
	move()
	f.look = move
	for name, describe := range map[string]func() (messages.GroupInfo, error){
		"topic": func() (messages.GroupInfo, error) {
			d, err := l.Describe(ctx, "orders")
			return d.Groups[0], err
		},
		"group": func() (messages.GroupInfo, error) { return l.DescribeGroup(ctx, info, "group") },
	} {
		before := int64(appended)
		g, err := describe()
		if err != nil || int64(appended) == before {
			t.Fatalf("%s: %v, %d moves", name, err, int64(appended)-before)
		}
		if p := g.Partitions[0]; p.End != before || p.Committed != before {
			t.Errorf("%s: %+v, want %d", name, p, before)
		}
	}
}

// While everything moves, what is described is a moment that was.
func TestDescribeIsOfOneRevision(t *testing.T) {
	l, _ := startEtcd(t)
	info := create(t, l, "orders", 1)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	me := join(t, l, info, "group", "me")
	c := claimOne(t, l, me, 0)
	// Each commit is of all that was appended so far, so the lag is never more
	// than the one batch that may be ahead of it, and never less than none.
	// etcd forgets its past every few commits.
	wg.Go(func() {
		a := l.Partition(info, 0).Appender(AppenderConfig{Producer: 1})
		for i := uint64(1); ; i++ {
			base, err := a.Append(ctx, batchOf(1, i, "a", "b", "c"), true)
			if err == nil {
				_, err = l.Commit(ctx, me, []format.Position{c.at(base+3, base)})
			}
			if err == nil && i%4 == 0 {
				var now *clientv3.GetResponse
				if now, err = l.client.Get(ctx, "x"); err == nil {
					_, err = l.client.Compact(ctx, now.Header.Revision)
				}
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	var last int64
	for range 30 {
		d, err := l.Describe(ctx, "orders")
		if err != nil {
			if strings.Contains(err.Error(), "compacted") {
				continue // five times in a row: it may happen
			}
			t.Fatal(err)
		}
		p := d.Groups[0].Partitions[0]
		if p.Committed > p.End || p.Committed >= 0 && p.End-p.Committed > 3 || p.End != d.Partitions[0].End || d.Revision < last {
			t.Fatalf("%+v at %d", p, d.Revision)
		}
		last = d.Revision
	}
	if last == 0 {
		t.Error("nothing could ever be described")
	}
}

// However little of a group there is, and whatever it says: no lag is negative,
// and all sums are right.
func TestGroupsFromAnything(t *testing.T) {
	const space = keys.Space("/s")
	rapid.Check(t, func(t *rapid.T) {
		var partitions []messages.PartitionInfo
		for p := range rapid.IntRange(1, 4).Draw(t, "partitions") {
			start := rapid.Int64Range(0, 50).Draw(t, "start")
			partitions = append(partitions, messages.PartitionInfo{Partition: p, Start: start, End: start + rapid.Int64Range(0, 50).Draw(t, "records")})
		}
		var kvs []*mvccpb.KeyValue
		for range rapid.IntRange(0, 20).Draw(t, "keys") {
			group := rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group")
			p := rapid.IntRange(0, 5).Draw(t, "p")
			offset := rapid.Int64Range(0, 200).Draw(t, "offset")
			kv := rapid.SampledFrom([][2]string{
				{space.Committed("id", group, p), format.Encode(&pb.Committed{Offset: offset})},
				{space.Claim("id", group, p), format.Encode(&pb.Claim{Member: "m", MemberRevision: 1})},
				{space.ConsumerMember("id", group, "m"), format.Encode(&pb.ConsumerMember{})},
				{space.Assignment("id", group), format.Encode(assignment(1, share("m", 0, 3)))},
				{space.ConsumerGroupMeta("id", group), format.Encode(&pb.ConsumerGroup{Manual: p == 0})},
				{"/s/groups/id/" + group + "/strange", "?"},
			}).Draw(t, "kv")
			kvs = append(kvs, &mvccpb.KeyValue{Key: []byte(kv[0]), Value: []byte(kv[1]), CreateRevision: 1})
		}
		for _, g := range groupsFrom(space, "orders", partitions, kvs) {
			if g.Err != nil {
				t.Fatal(g.Err)
			}
			var sum int64
			for i, p := range g.Partitions {
				if p.Lag < 0 || p.Lag > p.End-p.Start || p.Start != partitions[i].Start || p.End != partitions[i].End {
					t.Fatalf("%+v", p)
				}
				if p.Committed >= p.End && p.Lag != 0 || p.Committed <= p.Start && p.Lag != p.End-p.Start {
					t.Fatalf("%+v", p)
				}
				sum += p.Lag
			}
			if g.Lag != sum || len(g.Partitions) != len(partitions) || g.Topic != "orders" {
				t.Fatalf("%+v", g)
			}
		}
	})
}

// What a group with a hundred others costs is not what a hundred cost.
func TestDescribeManyGroups(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 50)
	for g := range 100 {
		if _, err := l.ResetOffsets(ctx, info, fmt.Sprintf("group-%02d", g), messages.Earliest(), nil, false, false); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	d, err := l.Describe(ctx, "orders")
	if err != nil || len(d.Groups) != 100 || d.Groups[99].Group != "group-99" || len(d.Groups[99].Partitions) != 50 {
		t.Fatalf("%d groups, %v", len(d.Groups), err)
	}
	names, err := l.Groups(ctx, info)
	if err != nil || len(names) != 100 || names[7] != "group-07" {
		t.Fatalf("%q, %v", names, err)
	}
	t.Logf("100 groups of 50 partitions described and listed in %v", time.Since(began))
}
