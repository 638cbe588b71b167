package main

// A topic goes into a file, and comes back from it.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/archive"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

// described is what a test compares of a topic: its records with their offsets, and its
// settings.
type described struct {
	records  []string
	settings penstock.TopicConfig
}

// inspect returns the topic as it is, passing over what an import filled in.
func inspect(ctx context.Context, t *testing.T, rt *penstock.Runtime, topic string) (d described) {
	t.Helper()
	desc, err := rt.DescribeTopic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	d.settings = desc.Config
	handle, err := rt.Topic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range desc.Partitions {
		d.records = append(d.records, fmt.Sprintf("partition %d from %d to %d", p.Partition, p.Start, p.End))
		for r, err := range handle.ReadTo(ctx, p.Partition, penstock.FromEarliest(), p.End) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Expired() && r.ExpiresAt().Year() == 1970 {
				continue
			}
			h, _ := r.Header("h")
			d.records = append(d.records, fmt.Sprintf("%d %s=%s %s %s %s h=%s", r.Offset, r.Key, r.Value, r.ID(), r.Time(), r.ExpiresAt(), h))
		}
	}
	return d
}

// stored makes a topic of three partitions, of which the first begins at 100 and the last
// is empty.
func stored(ctx context.Context, t *testing.T, rt *penstock.Runtime) {
	t.Helper()
	topic, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{
		Partitions: 3, Compression: penstock.CompressZstd, MaxRecordBytes: 1 << 16, DedupeWindow: time.Hour,
	}, penstock.PartitionBy(penstock.Manual(func(m *penstock.Message, _ int) int { return int(m.Key[0] - '0') })))
	if err != nil {
		t.Fatal(err)
	}
	ids := 0
	put := func(partition byte, n int) {
		var msgs []penstock.Message
		for i := range n {
			m := penstock.Message{Key: []byte{partition, byte('a' + i%20)}, Value: bytes.Repeat([]byte{byte(i)}, i%300), Time: time.Unix(int64(i), 5)}
			if i%2 == 0 {
				ids++
				m.ID, m.ExpiresAt = fmt.Sprint("p/", ids), time.Unix(5e9+int64(i), 0)
				m.Headers = []penstock.Header{{Name: "h", Value: []byte("v")}}
			}
			msgs = append(msgs, m)
		}
		if _, err := topic.PutBatch(ctx, msgs); err != nil {
			t.Fatal(err)
		}
	}
	put('0', 100)
	for range 4 {
		put('0', 3000)
	}
	put('1', 500)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if _, err := etcd.Put(ctx, keys.Space(prefixOf(t)).LogStart(topic.Info().ID, 0), keys.Offset(100)); err != nil {
		t.Fatal(err)
	}
}

// result is what export and import print with --json.
type result struct {
	Topic                             string
	Records, Bytes, Continued, Filled int64
}

func backupRuntime(t *testing.T) (context.Context, *penstock.Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	rt, err := penstock.Start(ctx, penstock.Etcd(endpoint), penstock.Prefix(prefixOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Stop(ctx) })
	return ctx, rt
}

// A topic that was exported and imported has the same records at the same offsets, and
// the same settings; also when both were cut short and continued.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	ctx, rt := backupRuntime(t)
	stored(ctx, t, rt)
	file := filepath.Join(t.TempDir(), "audit.penstock")
	var got result
	parse := func(out string) {
		t.Helper()
		got = result{}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
	}
	out, _ := perform(t, cli.ExitDone, "", "topic", "export", "audit", file, "--json")
	parse(out)
	size, err := os.Stat(file)
	if err != nil || got.Records != 12_500 || got.Bytes != size.Size() || got.Continued != 0 {
		t.Errorf("export prints %s, the file has %d bytes: %v", out, size.Size(), err)
	}
	want := inspect(ctx, t, rt, "audit")
	imported := func(name string) {
		t.Helper()
		if has := inspect(ctx, t, rt, name); !slices.Equal(has.records, want.records) || has.settings != want.settings {
			t.Errorf("%s has %d records and %+v, want %d and %+v", name, len(has.records), has.settings, len(want.records), want.settings)
		}
	}
	out, _ = perform(t, cli.ExitDone, "", "topic", "import", file, "--as", "copy", "--json")
	if parse(out); got.Records != 12_500 || got.Filled != 0 || got.Topic != "copy" {
		t.Errorf("import prints %s", out)
	}
	imported("copy")

	if _, errs := perform(t, cli.ExitUsage, "", "topic", "export", "audit", file); !strings.Contains(errs, "--force") {
		t.Errorf("export over a file says %q", errs)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "topic", "import", file); !strings.Contains(errs, "--as") {
		t.Errorf("import into a topic that exists says %q", errs)
	}
	if _, errs := perform(t, cli.ExitDone, "", "topic", "import", file, "--check"); !strings.Contains(errs, "12500 records") {
		t.Errorf("--check says %q", errs)
	}

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.penstock")
	for _, share := range []int{1, 2, 3} { // of four parts of the file
		part := whole[:len(whole)*share/4]
		if err := os.WriteFile(cut+".part", part, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ = perform(t, cli.ExitDone, "", "topic", "export", "audit", cut, "--force=false", "--json")
		if parse(out); got.Records != 12_500 || got.Continued == 0 {
			t.Errorf("the export continued from %d of 4 prints %s", share, out)
		}
		again, err := os.ReadFile(cut)
		if err != nil || len(again) != len(whole) {
			t.Errorf("continued from %d of 4: %d bytes, want %d: %v", share, len(again), len(whole), err)
		}
		if err := os.WriteFile(cut, part, 0o600); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("copy", share)
		if _, errs := perform(t, cli.ExitFailed, "", "topic", "import", cut, "--as", name); !strings.Contains(errs, "cut short") {
			t.Errorf("import of a part says %q", errs)
		}
		out, _ = perform(t, cli.ExitDone, "", "topic", "import", file, "--as", name, "--resume", "--json")
		if parse(out); got.Continued == 0 {
			t.Errorf("the import continued from %d of 4 prints %s", share, out)
		}
		imported(name)
		if err := os.Remove(cut); err != nil {
			t.Fatal(err)
		}
	}

	perform(t, cli.ExitDone, "", "topic", "create", "other", "--partitions", "3")
	perform(t, cli.ExitDone, "a\n", "put", "other", "--partition", "1")
	if _, errs := perform(t, cli.ExitUsage, "", "topic", "import", file, "--as", "other", "--resume"); !strings.Contains(errs, "partition 0") {
		t.Errorf("resuming another topic says %q", errs)
	}
	if err := os.WriteFile(cut+".part", whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "topic", "export", "other", cut); !strings.Contains(errs, "another topic") {
		t.Errorf("continuing the file of another topic says %q", errs)
	}
	out, _ = perform(t, cli.ExitDone, "", "topic", "export", "audit", "-")
	if !strings.HasPrefix(out, "penstock topic archive 1\n") || len(out) < len(whole)-20 {
		t.Errorf("- prints %d bytes, want %d", len(out), len(whole))
	}
}

// Promise: groups of an imported topic continue where they were when it was exported: where
// they have committed, or where they began.
func TestImportedGroupsContinue(t *testing.T) {
	t.Parallel()
	ctx, rt := backupRuntime(t)
	createTopic(t, 1)
	putLines(t, 9)
	perform(t, cli.ExitDone, "", "sub", "audit", "committed", "--count", "4")
	topic, err := rt.Topic(ctx, "audit")
	if err != nil {
		t.Fatal(err)
	}
	begun, err := topic.Subscribe(ctx, "begun", penstock.FromOffset(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := begun.Unsubscribe(ctx); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "audit.penstock")
	perform(t, cli.ExitDone, "", "topic", "export", "audit", file)
	if out, _ := perform(t, cli.ExitDone, "", "topic", "import", file, "--as", "copy", "--json"); !strings.Contains(out, `"groups": 2`) {
		t.Errorf("import prints %s", out)
	}
	perform(t, cli.ExitDone, "", "topic", "import", file, "--as", "bare", "--no-groups")
	for group, want := range map[string]int64{"committed": 4, "begun": 7} {
		g, err := rt.DescribeConsumerGroup(ctx, "copy", group)
		if err != nil || g.Partitions[0].Committed != want {
			t.Errorf("%s is at %+v, want %d: %v", group, g.Partitions, want, err)
		}
		if _, err := rt.DescribeConsumerGroup(ctx, "bare", group); !errors.Is(err, penstock.ErrNoGroup) {
			t.Errorf("%s without groups: %v", group, err)
		}
	}
}

// A group with gaps continues at the first of them, and the import says how many records it
// handles again.
func TestImportSaysWhatIsHandledAgain(t *testing.T) {
	t.Parallel()
	ctx, rt := backupRuntime(t)
	perform(t, cli.ExitDone, "", "topic", "create", "audit")
	topic, err := rt.Topic(ctx, "audit")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, _, err := topic.Put(ctx, penstock.Message{Key: fmt.Append(nil, i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := topic.Subscribe(ctx, "gaps", penstock.Concurrency(8), penstock.CommitEvery(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	handling, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- sub.Consume(handling, func(ctx context.Context, r penstock.Record) error {
			if r.Offset == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
	}()
	for {
		g, err := rt.DescribeConsumerGroup(ctx, "audit", "gaps")
		if err != nil {
			t.Fatal(err)
		}
		if p := g.Partitions[0]; p.Committed == 1 && p.Done == 3 {
			break
		}
	}
	file := filepath.Join(t.TempDir(), "audit.penstock")
	perform(t, cli.ExitDone, "", "topic", "export", "audit", file)
	stop()
	<-ended
	out, says := perform(t, cli.ExitDone, "", "topic", "import", file, "--as", "copy", "--json")
	if !strings.Contains(out, `"again": 3`) || !strings.Contains(says, "group gaps will handle 3 records again") {
		t.Errorf("import prints %s and says %s", out, says)
	}
	if g, err := rt.DescribeConsumerGroup(ctx, "copy", "gaps"); err != nil || g.Partitions[0].Committed != 1 {
		t.Errorf("the group is %+v: %v", g, err)
	}
}

// Records keep their offsets where others before them were deleted: what takes the place
// of those has expired, and groups pass over it.
func TestImportKeepsOffsetsAroundGaps(t *testing.T) {
	t.Parallel()
	ctx, rt := backupRuntime(t)
	perform(t, cli.ExitDone, "", "topic", "create", "audit")
	var b bytes.Buffer
	perform(t, cli.ExitDone, "", "topic", "export", "audit", filepath.Join(t.TempDir(), "empty"))
	out, _ := perform(t, cli.ExitDone, "", "topic", "export", "audit", "-")
	r, err := archive.NewReader(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header()
	h.Partitions[0] = archive.Range{Start: 7, End: 20}
	w, err := archive.NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{9, 10, 15} {
		if err := w.Record(0, offset, &penstock.Message{Value: fmt.Append(nil, offset)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, _ = perform(t, cli.ExitDone, b.String(), "topic", "import", "-", "--as", "gaps", "--json")
	if !strings.Contains(out, `"filled":10`) && !strings.Contains(out, `"filled": 10`) {
		t.Errorf("import prints %s", out)
	}
	if d := inspect(ctx, t, rt, "gaps"); d.records[0] != "partition 0 from 7 to 20" || len(d.records) != 4 || !strings.HasPrefix(d.records[3], "15 =15") {
		t.Errorf("imported %q", d.records)
	}
	out, _ = perform(t, cli.ExitDone, "", "sub", "gaps", "billing", "--count", "3", "--format", `%o:%v\n`)
	if out != "9:9\n10:10\n15:15\n" {
		t.Errorf("a group gets %q", out)
	}
}
