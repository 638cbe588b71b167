package topics_test

// Topics that are compacted by key. Promise: the newest record of each key stays, at its
// offset, and what it supersedes goes, whoever dies or is set back meanwhile and wherever
// readers are.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// quickly has what is put compacted soon.
var quickly = penstock.TopicConfig{Compaction: penstock.CompactByKey, CompactionLag: 100 * time.Millisecond, TombstoneGrace: 200 * time.Millisecond}

// tableOf reads a partition from its beginning, and returns the offset and the value of the
// last record of each key, and how many records there are.
func tableOf(t *testing.T, rt *penstock.Runtime, partition int) (table map[string]string, records int) {
	t.Helper()
	ctx := harness.Context(t)
	d, err := rt.DescribeTopic(ctx, theTopic)
	if err != nil {
		t.Fatal(err)
	}
	table = make(map[string]string)
	for r, err := range openTopic(t, rt, theTopic).ReadTo(ctx, partition, penstock.FromEarliest(), d.Partitions[partition].End) {
		if err != nil {
			t.Fatal(err)
		}
		records++
		if table[string(r.Key)] = placed(r.Offset, r.Value); r.Tombstone() {
			delete(table, string(r.Key))
		}
	}
	return table, records
}

func placed(offset int64, value []byte) string {
	value, _, _ = bytes.Cut(value, []byte("-"))
	return fmt.Sprintf("%d:%s", offset, value)
}

// putKey puts a record, in a batch of its own, and notes it in a table.
func putKey(t *testing.T, topic *penstock.Topic, table map[string]string, key, value string) (offset int64) {
	t.Helper()
	m := penstock.Message{Key: []byte(key), Value: []byte(value), Tombstone: value == ""}
	offset, err := topic.PutTo(harness.Context(t), 0, m)
	if err != nil {
		t.Fatal(err)
	}
	if table[key] = placed(offset, m.Value); m.Tombstone {
		delete(table, key)
	}
	return offset
}

// compactedTo waits until a partition has these records and no other.
func compactedTo(t *testing.T, rt *penstock.Runtime, table map[string]string) {
	t.Helper()
	harness.Eventually(t, "one record of each key is left", func() bool {
		now, records := tableOf(t, rt, 0)
		if !maps.Equal(now, table) {
			t.Fatalf("the table is\n%v, want\n%v", now, table)
		}
		return records == len(table)
	})
}

// Every key's newest record stays, tombstones go with what they delete, and groups, reads
// and deletions by call continue wherever they are.
func TestCompactedByKey(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	told := penstocktest.Record(t, rt)
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, quickly)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]string)
	for round := range 4 {
		for k := range 10 {
			value := fmt.Sprintf("%d.%d", round, k)
			if k%2 == 0 { // in a body of its own
				value += strings.Repeat("-", 2<<10)
			}
			putKey(t, topic, table, fmt.Sprint(k), value)
		}
		if round == 0 {
			sub := subscribe(t, topic, theGroup, penstock.CommitEvery(20*time.Millisecond))
			if err := sub.Commit(harness.Context(t), polled(t, sub, 5)...); err != nil {
				t.Fatal(err)
			}
			unsubscribe(t, sub)
		}
	}
	putKey(t, topic, table, "0", "")
	putKey(t, topic, table, "never", "")
	compactedTo(t, rt, table)
	if n, err := topic.DeleteKey(harness.Context(t), []byte("1")); n != 1 || err != nil {
		t.Errorf("deleted %d of key 1, %v", n, err)
	}
	delete(table, "1")
	putKey(t, topic, table, "2", "again")
	// A batch in the middle of which records go.
	results, err := topic.PutBatch(harness.Context(t), []penstock.Message{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")}, {Key: []byte("a"), Value: []byte("3")}})
	if err != nil {
		t.Fatal(err)
	}
	table["a"], table["b"] = placed(results[2].Offset, []byte("3")), placed(results[1].Offset, []byte("2"))
	compactedTo(t, rt, table)
	compactedTo(t, harness.Runtime(t, ns), table) // which has nothing in memory

	sub := subscribe(t, topic, theGroup, penstock.CommitEvery(20*time.Millisecond))
	got := make(map[string]string)
	for len(got) < len(table) {
		for _, r := range polled(t, sub, 1) {
			got[string(r.Key)] = placed(r.Offset, r.Value)
			if err := sub.Commit(harness.Context(t), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	unsubscribe(t, sub)
	if !maps.Equal(got, table) {
		t.Errorf("the group that stood in the middle got %v, want %v", got, table)
	}
	caughtUp(t, rt, theTopic, theGroup)
	d, err := rt.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	if p := d.Partitions[0]; p.Start == 0 || p.End != 46 {
		t.Errorf("the partition is %+v", p)
	}
	e := penstocktest.WaitEvent[messages.TopicCompacted](t, told, harness.Patience, nil)
	if s := rt.Stats().Keeper; e.Topic != theTopic || s.SupersededRecords < 30 || s.RemovedTombstones < 2 || s.RewrittenBatches == 0 || s.CompactionPasses == 0 {
		t.Errorf("told %+v, counted %+v", e, s)
	}
}

// Promise: what is in the window of ids stays, so that who puts a record once more, as another
// process, does not make an older value the newest of its key.
func TestCompactionLeavesTheWindowOfIDs(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	cfg, ctx := quickly, harness.Context(t)
	cfg.DedupeWindow, cfg.DedupeRecords = time.Hour, 2
	topic, err := rt.CreateTopic(ctx, theTopic, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, _, err := topic.Put(ctx, penstock.Message{Key: []byte("k"), Value: fmt.Appendf(nil, "%d", i), ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "the newest is left of those before the window", func() bool {
		table, records := tableOf(t, rt, 0)
		if table["k"] != "4:4" {
			t.Fatalf("the table is %v", table)
		}
		return records == 3
	})
	again := openTopic(t, harness.Runtime(t, ns), theTopic)
	if _, offset, err := again.Put(ctx, penstock.Message{Key: []byte("k"), Value: []byte("3"), ID: "3"}); offset != 3 || err != nil {
		t.Errorf("put once more: at %d, %v", offset, err)
	}
}

// The keeper is killed while it compacts under load, and another continues. Of each key the
// newest record that was acknowledged is there, unless a newer one is, and in the end there
// is one.
func TestCompactingKeeperIsKilled(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	if err := makeTopic(t, rt, theTopic, 1).Close(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := rt.UpdateTopic(harness.Context(t), theTopic, penstock.TopicUpdate{Compaction: quickly.Compaction, CompactionLag: quickly.CompactionLag}); err != nil {
		t.Fatal(err)
	}
	const names = 50
	acct := newAccount()
	spec := childSpec{Role: roleProducer, Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, LeaseTTL: 2 * time.Second, Keys: names}
	key := keys.Space(ns).Keeper()
	c := harness.Client(t)
	keeper := func() (revision int64) {
		resp, err := c.Get(harness.Context(t), key)
		if err == nil && len(resp.Kvs) == 1 {
			revision = resp.Kvs[0].CreateRevision
		}
		return revision
	}
	for life, last := 0, int64(0); life < 3; life++ {
		spec.Name = fmt.Sprint("life ", life)
		child := spawn(t, spec, acct)
		child.says(t, "ready")
		child.tell(t, fmt.Sprintf("put %d", life*1_000_000))
		harness.Eventually(t, "a new keeper", func() bool { now := keeper(); return now != 0 && now != last })
		last = keeper()
		was := compactedUpTo(t, ns)
		harness.Eventually(t, "it compacts", func() bool { return compactedUpTo(t, ns) > was })
		child.kill(t)
	}
	want := make(map[string]place)
	ids := make(map[string]int)
	acct.enter(func() {
		for id, at := range acct.accepted {
			k := fmt.Sprint(id % names)
			if old, ok := want[k]; !ok || at.offset > old.offset {
				want[k], ids[k] = at, id
			}
		}
	})
	reader := harness.Runtime(t, ns) // the next keeper
	topic := openTopic(t, reader, theTopic)
	for k := range names { // so that what was in doubt is superseded by what is known
		if k%5 == 0 {
			offset, err := topic.PutTo(harness.Context(t), 0, penstock.Message{Key: fmt.Append(nil, k), Tombstone: true})
			if err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprint(k)] = place{0, offset}
		}
	}
	harness.Eventually(t, "one record of each key is left", func() bool {
		last, records := make(map[string]penstock.Record), 0
		d, err := reader.DescribeTopic(harness.Context(t), theTopic)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range topic.ReadTo(harness.Context(t), 0, penstock.FromEarliest(), d.Partitions[0].End) {
			if err != nil {
				t.Fatal(err)
			}
			last[string(r.Key)] = r
			records++
		}
		for k, at := range want {
			r, ok := last[k]
			if !ok || r.Offset < at.offset || r.Offset == at.offset && !r.Tombstone() && recordNumber(r) != ids[k] {
				t.Fatalf("key %s: the last is at %d, there %v; put was %d at %d", k, r.Offset, ok, ids[k], at.offset)
			}
		}
		return records == names
	})
}

// compactedUpTo is how far the first partition is compacted.
func compactedUpTo(t *testing.T, ns string) int64 {
	t.Helper()
	resp, err := harness.Client(t).Get(harness.Context(t), ns+"/log/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if strings.HasSuffix(string(kv.Key), "/compacted/0000") {
			c, err := format.ParseCompacted(string(kv.Key), kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			return c.UpTo
		}
	}
	return 0
}

// An etcd is restored under the keeper: what superseded a record is gone, and what was
// deleted is back. The record stays, and compaction goes on with what there is.
func TestCompactionAfterARestore(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, quickly)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]string)
	for _, v := range []string{"1", "2", "3"} {
		for _, k := range []string{"a", "b", "c"} {
			putKey(t, topic, table, k, v)
		}
	}
	compactedTo(t, rt, table)
	etcd.BackUp()
	then := maps.Clone(table)
	putKey(t, topic, table, "a", "4")
	putKey(t, topic, table, "b", "")
	compactedTo(t, rt, table)
	etcd.Restore()
	late := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	if now, _ := tableOf(t, late, 0); !maps.Equal(now, then) {
		t.Fatalf("restored is %v, want %v", now, then)
	}
	putKey(t, openTopic(t, late, theTopic), then, "c", "5")
	putKey(t, openTopic(t, late, theTopic), then, "d", "1")
	compactedTo(t, late, then)
	if got := slices.Sorted(maps.Keys(then)); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("left are %v", got)
	}
}

// Offsets of which nothing is left are passed over.
func TestErasedOffsetsArePassedOver(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, quickly)
	if err != nil {
		t.Fatal(err)
	}
	const many = 20_000
	if _, err := topic.PutTo(harness.Context(t), 0, penstock.Message{Key: []byte("first"), Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for n := range many {
		m := penstock.Message{Key: []byte("k"), Value: fmt.Append(nil, n)}
		if err := topic.PutAsync(harness.Context(t), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, topic)
	harness.Eventually(t, "two are left", func() bool { _, n := tableOf(t, rt, 0); return n == 2 })
	ctx, cancel := context.WithTimeout(harness.Context(t), harness.Patience)
	defer cancel()
	cold := harness.Runtime(t, ns)
	sub := subscribe(t, openTopic(t, cold, theTopic), theGroup)
	began := time.Now()
	for n := 0; n < 2; {
		recs, err := sub.Poll(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		n += len(recs)
	}
	t.Logf("passed over %d erased offsets in %s", many-1, time.Since(began))
}
