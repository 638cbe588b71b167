package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// plus is a configuration with the defaults of what it leaves out.
func plus(cfg messages.TopicConfig) messages.TopicConfig {
	cfg.EnsureDefaults()
	return cfg
}

func TestCreateTopic(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	for _, c := range []struct {
		name string
		cfg  messages.TopicConfig
		want messages.TopicConfig
	}{
		{"plain", messages.TopicConfig{}, messages.TopicConfig{Partitions: 1, Compression: messages.CompressS2, MaxRecordBytes: messages.MaxRecordBytes}},
		{"one.request", messages.TopicConfig{Partitions: 100, Compression: messages.CompressZstd, MaxRecordBytes: 10}, messages.TopicConfig{Partitions: 100, Compression: messages.CompressZstd, MaxRecordBytes: 10}},
		{"several-requests", messages.TopicConfig{Partitions: 101, Compression: messages.CompressNone}, messages.TopicConfig{Partitions: 101, Compression: messages.CompressNone, MaxRecordBytes: messages.MaxRecordBytes}},
	} {
		before := time.Now().Add(-time.Millisecond)
		info, err := l.CreateTopic(ctx, c.name, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if info.Name != c.name || info.Config != plus(c.want) || info.CreateRevision == 0 || info.ModRevision != info.CreateRevision || info.Created.Before(before) || info.Created.After(time.Now()) {
			t.Errorf("%+v", info)
		}
		if err := keys.ValidateName("id", info.ID); err != nil {
			t.Error(err)
		}
		if got, err := l.Topic(ctx, c.name); err != nil || got != info {
			t.Errorf("%+v, %v; want %+v", got, err, info)
		}
		starts := under(t, l, info.ID)
		if len(starts) != c.want.Partitions || starts[len(starts)-1] != l.space.LogStart(info.ID, c.want.Partitions-1) {
			t.Errorf("%d keys: %q", len(starts), starts)
		}
		if got := value(t, l, l.space.LogStart(info.ID, 0)); got != strings.Repeat("0", 20) {
			t.Errorf("the log starts at %q", got)
		}
	}
	topics, err := l.Topics(ctx)
	var names []string
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	if err != nil || !slices.Equal(names, []string{"one.request", "plain", "several-requests"}) {
		t.Errorf("%q, %v", names, err)
	}
	if marks := under(t, l, "/deleting/"); len(marks) > 0 {
		t.Errorf("marks are left: %q", marks)
	}
}

func TestBadTopics(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	create(t, l, "there", 1)
	writes := f.count()
	for _, c := range []struct {
		err  error
		want error
		says string
	}{
		{result(l.CreateTopic(ctx, "there", messages.TopicConfig{})), messages.ErrTopicExists, "there"},
		{result(l.CreateTopic(ctx, "there", messages.TopicConfig{Partitions: 300})), messages.ErrTopicExists, "there"},
		{result(l.CreateTopic(ctx, "ab", messages.TopicConfig{})), messages.ErrInvalid, `"ab"`},
		{result(l.CreateTopic(ctx, "a/b/c", messages.TopicConfig{})), messages.ErrInvalid, `"a/b/c"`},
		{result(l.CreateTopic(ctx, "many", messages.TopicConfig{Partitions: 1025})), messages.ErrInvalid, "1025"},
		{result(l.CreateTopic(ctx, "many", messages.TopicConfig{Partitions: -1})), messages.ErrInvalid, "-1"},
		{result(l.Topic(ctx, "not-there")), messages.ErrNoTopic, "not-there"},
		{result(l.Topic(ctx, "..")), messages.ErrInvalid, `".."`},
		{result(l.UpdateTopic(ctx, "not-there", messages.TopicUpdate{Partitions: 2})), messages.ErrNoTopic, "not-there"},
		{result(l.DeleteTopic(ctx, "not-there")), messages.ErrNoTopic, "not-there"},
		{result(l.Describe(ctx, "not-there")), messages.ErrNoTopic, "not-there"},
		{result(l.Describe(ctx, "")), messages.ErrInvalid, "empty"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("got %v, want %v that says %q", c.err, c.want, c.says)
		}
	}
	if n := f.count() - writes; n != 2 {
		t.Errorf("%d writes were sent, want the two refused ones", n)
	}
	if got := under(t, l, ""); len(got) != 2 {
		t.Errorf("something was written: %q", got)
	}
}

func result[T any](_ T, err error) error { return err }

// One of many wins, and the others leave nothing behind.
func TestCreateRace(t *testing.T) {
	for _, partitions := range []int{3, 250} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			l, _ := startEtcd(t)
			ctx := testContext(t)
			var wg sync.WaitGroup
			errs := make([]error, 8)
			infos := make([]messages.TopicInfo, len(errs))
			for i := range errs {
				wg.Go(func() {
					infos[i], errs[i] = l.CreateTopic(ctx, "contested", messages.TopicConfig{Partitions: partitions})
				})
			}
			wg.Wait()
			won := messages.TopicInfo{}
			for i, err := range errs {
				switch {
				case err == nil && won.ID != "":
					t.Fatal("two have won")
				case err == nil:
					won = infos[i]
				case !errors.Is(err, messages.ErrTopicExists):
					t.Error(err)
				}
			}
			if won.ID == "" {
				t.Fatal("nobody has won")
			}
			if all, ours := under(t, l, ""), under(t, l, won.ID); len(ours) != partitions || len(all) != partitions+1 {
				t.Errorf("%d keys in all, %d of the topic", len(all), len(ours))
			}
		})
	}
}

// Whichever answer is lost, the topic is made once, or not at all.
func TestCreateWithLostAnswers(t *testing.T) {
	for _, c := range []struct {
		partitions, writes int
	}{{2, 1}, {250, 4}} {
		for _, kind := range []faultKind{drop, lose} {
			for at := range c.writes {
				l, f := startEtcd(t)
				plan := make([]fault, at+1)
				plan[at].kind = kind
				f.next(plan...)
				info, err := l.CreateTopic(testContext(t), "topic", messages.TopicConfig{Partitions: c.partitions})
				if err != nil {
					t.Errorf("%d partitions, fault %d at write %d: %v", c.partitions, kind, at, err)
					continue
				}
				f.used(t)
				if got, err := l.Topic(testContext(t), "topic"); err != nil || got != info {
					t.Errorf("%+v, %v; want %+v", got, err, info)
				}
				if got := under(t, l, ""); len(got) != c.partitions+1 {
					t.Errorf("%d keys", len(got))
				}
			}
		}
	}
}

// etcd may say that it is full after it has written.
func TestCreateWhileFull(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	f.next(fault{kind: lose, err: rpctypes.ErrGRPCNoSpace})
	info, err := l.CreateTopic(ctx, "written", messages.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Topic(ctx, "written"); err != nil || got != info {
		t.Errorf("%+v, %v", got, err)
	}
	f.next(fault{kind: drop, err: rpctypes.ErrGRPCNoSpace})
	if _, err := l.CreateTopic(ctx, "refused", messages.TopicConfig{}); !errors.Is(err, messages.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	f.used(t)
	if _, err := l.Topic(ctx, "refused"); !errors.Is(err, messages.ErrNoTopic) {
		t.Errorf("got %v", err)
	}
}

// A topic that its maker gave up stays out of sight, and is swept when that was
// long ago.
func TestHalfMadeTopicIsSwept(t *testing.T) {
	l, f := startEtcd(t)
	ctx, cancel := context.WithCancel(testContext(t))
	f.next(fault{}, fault{}, fault{kind: drop, before: cancel})
	if _, err := l.CreateTopic(ctx, "half", messages.TopicConfig{Partitions: 250}); !errors.Is(err, context.Canceled) && !errors.Is(err, messages.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	ctx = testContext(t)
	if _, err := l.Topic(ctx, "half"); !errors.Is(err, messages.ErrNoTopic) {
		t.Errorf("got %v", err)
	}
	marks := under(t, l, "/deleting/")
	if len(marks) != 1 || len(under(t, l, "")) != 101 {
		t.Fatalf("marks %q of %d keys", marks, len(under(t, l, "")))
	}
	if err := l.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(under(t, l, "")); n != 101 {
		t.Fatalf("a topic that is being made was swept: %d keys", n)
	}
	age(t, l, marks[0])
	if err := l.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if got := under(t, l, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// age makes a mark old.
func age(t testing.TB, l *Log, key string) {
	t.Helper()
	var d pb.Deleting
	if err := proto.Unmarshal([]byte(value(t, l, key)), &d); err != nil {
		t.Fatal(err)
	}
	d.SinceUnixMs -= (givenUp + time.Minute).Milliseconds()
	put(t, l, key, format.Encode(&d))
}

// A maker that was away for too long must not publish what others sweep.
func TestSlowMakerFails(t *testing.T) {
	for at := 1; at < 4; at++ {
		l, f := startEtcd(t)
		other, _ := logAt(t, l.space)
		plan := make([]fault, at+1)
		plan[at].before = func() {
			age(t, other, under(t, other, "/deleting/")[0])
			if err := other.Sweep(testContext(t)); err != nil {
				t.Error(err)
			}
		}
		f.next(plan...)
		if _, err := l.CreateTopic(testContext(t), "slow", messages.TopicConfig{Partitions: 250}); !errors.Is(err, messages.ErrUnavailable) {
			t.Errorf("at write %d: got %v", at, err)
		}
		f.used(t)
		if got := under(t, l, ""); len(got) > 0 {
			t.Errorf("at write %d: left %q", at, got)
		}
	}
}

// Nor what others have begun to sweep.
func TestSlowMakerFailsInMidSweep(t *testing.T) {
	for at := 1; at < 4; at++ {
		l, f := startEtcd(t)
		other, of := logAt(t, l.space)
		plan := make([]fault, at+1)
		plan[at].before = func() {
			age(t, other, under(t, other, "/deleting/")[0])
			of.next(fault{}, fault{kind: drop})
			if err := other.Sweep(testContext(t)); !errors.Is(err, messages.ErrUnavailable) {
				t.Errorf("at write %d: got %v", at, err)
			}
		}
		f.next(plan...)
		if _, err := l.CreateTopic(testContext(t), "slow", messages.TopicConfig{Partitions: 250}); !errors.Is(err, messages.ErrUnavailable) {
			t.Errorf("at write %d: got %v", at, err)
		}
		f.used(t)
		of.used(t)
		if err := l.Sweep(testContext(t)); err != nil {
			t.Error(err)
		}
		if got := under(t, l, ""); len(got) > 0 {
			t.Errorf("at write %d: left %q", at, got)
		}
	}
}

func TestUpdateTopic(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	made := create(t, l, "orders", 3)
	put(t, l, l.space.LogStart(made.ID, 1), keys.Offset(7))
	for _, c := range []struct {
		name   string
		update messages.TopicUpdate
		want   messages.TopicConfig
		says   []string // what an ErrInvalid must name
	}{
		{"nothing", messages.TopicUpdate{}, messages.TopicConfig{Partitions: 3, Compression: messages.CompressS2, MaxRecordBytes: messages.MaxRecordBytes}, nil},
		{"settings", messages.TopicUpdate{Compression: messages.CompressZstd, MaxRecordBytes: 100}, messages.TopicConfig{Partitions: 3, Compression: messages.CompressZstd, MaxRecordBytes: 100}, nil},
		{"more partitions", messages.TopicUpdate{Partitions: 130}, messages.TopicConfig{Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100}, nil},
		{"as many", messages.TopicUpdate{Partitions: 130}, messages.TopicConfig{Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100}, nil},
		{"limits", messages.TopicUpdate{MaxAge: time.Hour, MaxBytes: 1 << 30, MaxRecords: 9, TTL: time.Minute, Retention: messages.RetainUntilDone, Discard: messages.DiscardNew}, messages.TopicConfig{
			Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100,
			MaxAge: time.Hour, MaxBytes: 1 << 30, MaxRecords: 9, TTL: time.Minute, Retention: messages.RetainUntilDone, Discard: messages.DiscardNew,
		}, nil},
		{"nothing to refuse", messages.TopicUpdate{MaxBytes: messages.NoLimit, MaxRecords: messages.NoLimit}, messages.TopicConfig{}, []string{"without max bytes"}},
		{"fewer limits", messages.TopicUpdate{MaxAge: messages.NoLimit, MaxRecords: messages.NoLimit, TTL: -5 * time.Second, Retention: messages.RetainLimits}, messages.TopicConfig{
			Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100, MaxBytes: 1 << 30, Discard: messages.DiscardNew,
		}, nil},
		{"compacted", messages.TopicUpdate{Compaction: messages.CompactByKey, TombstoneGrace: time.Hour, Discard: messages.DiscardOld, MaxBytes: messages.NoLimit}, messages.TopicConfig{
			Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100,
			Compaction: messages.CompactByKey, TombstoneGrace: time.Hour, CompactionLag: messages.DefaultCompactionLag,
		}, nil},
		{"compacted later", messages.TopicUpdate{CompactionLag: time.Second}, messages.TopicConfig{
			Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100,
			Compaction: messages.CompactByKey, TombstoneGrace: time.Hour, CompactionLag: time.Second,
		}, nil},
		{"strange compaction", messages.TopicUpdate{Compaction: "x"}, messages.TopicConfig{}, []string{`"x"`}},
		{"not compacted", messages.TopicUpdate{Compaction: messages.CompactNone}, messages.TopicConfig{
			Partitions: 130, Compression: messages.CompressZstd, MaxRecordBytes: 100,
		}, nil},
		{"grace without compaction", messages.TopicUpdate{TombstoneGrace: time.Hour}, messages.TopicConfig{}, []string{"tombstone grace"}},
		{"fewer", messages.TopicUpdate{Partitions: 2}, messages.TopicConfig{}, []string{"2 partitions", "130"}},
		{"negative", messages.TopicUpdate{Partitions: -1}, messages.TopicConfig{}, []string{"-1 partitions", "130"}},
		{"too many", messages.TopicUpdate{Partitions: 1025}, messages.TopicConfig{}, []string{"1025"}},
		{"strange compression", messages.TopicUpdate{Compression: "x"}, messages.TopicConfig{}, []string{`"x"`}},
		{"negative bytes", messages.TopicUpdate{MaxRecordBytes: -1}, messages.TopicConfig{}, []string{"-1"}},
	} {
		before, err := l.Topic(ctx, "orders")
		if err != nil {
			t.Fatal(err)
		}
		info, err := l.UpdateTopic(ctx, "orders", c.update)
		if c.says != nil {
			if !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q is not in %v", c.name, part, err)
				}
			}
			continue
		}
		if err != nil || info.Config != plus(c.want) || info.ID != made.ID || info.CreateRevision != made.CreateRevision || (info.ModRevision > before.ModRevision) != (plus(c.want) != before.Config) {
			t.Errorf("%s: %+v, %v", c.name, info, err)
		}
		if got, err := l.Topic(ctx, "orders"); err != nil || got != info {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, info)
		}
	}
	if n := len(under(t, l, made.ID)); n != 130 {
		t.Errorf("%d starts", n)
	}
	if got := value(t, l, l.space.LogStart(made.ID, 1)); got != keys.Offset(7) {
		t.Errorf("an update moved a start to %s", got)
	}
}

func TestUpdateRace(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	made := create(t, l, "orders", 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 10 * (i + 1)}); err != nil && !errors.Is(err, messages.ErrInvalid) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{MaxRecordBytes: 100 + i}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	info, err := l.Topic(ctx, "orders")
	if err != nil || info.Config.Partitions != 80 || info.Config.MaxRecordBytes < 100 || info.Config.MaxRecordBytes > 107 {
		t.Errorf("%+v, %v", info, err)
	}
	if n := len(under(t, l, made.ID)); n != 80 {
		t.Errorf("%d starts", n)
	}
}

// Who is slow to make a start must not undo a trim that came before.
func TestSlowUpdateKeepsStarts(t *testing.T) {
	l, f := startEtcd(t)
	other, _ := logAt(t, l.space)
	made := create(t, l, "orders", 1)
	f.next(fault{before: func() {
		if _, err := other.UpdateTopic(testContext(t), "orders", messages.TopicUpdate{Partitions: 4}); err != nil {
			t.Error(err)
		}
		put(t, other, other.space.LogStart(made.ID, 3), keys.Offset(7))
	}})
	info, err := l.UpdateTopic(testContext(t), "orders", messages.TopicUpdate{Partitions: 5})
	if err != nil || info.Config.Partitions != 5 {
		t.Errorf("%+v, %v", info, err)
	}
	f.used(t)
	if got := value(t, l, l.space.LogStart(made.ID, 3)); got != keys.Offset(7) {
		t.Errorf("the start is %s", got)
	}
}

func TestUpdateOfATopicThatIsDeleted(t *testing.T) {
	for _, again := range []bool{false, true} {
		for at := range 2 {
			l, f := startEtcd(t)
			other, _ := logAt(t, l.space)
			old := create(t, l, "orders", 1)
			plan := make([]fault, at+1)
			var fresh messages.TopicInfo
			plan[at].before = func() {
				if _, err := other.DeleteTopic(testContext(t), "orders"); err != nil {
					t.Error(err)
				}
				if again {
					fresh = create(t, other, "orders", 1)
				}
			}
			f.next(plan...)
			if _, err := l.UpdateTopic(testContext(t), "orders", messages.TopicUpdate{Partitions: 5}); !errors.Is(err, messages.ErrTopicDeleted) {
				t.Errorf("again %v, at %d: got %v", again, at, err)
			}
			f.used(t)
			if left := under(t, l, old.ID); len(left) > 0 {
				t.Errorf("again %v, at %d: left %q", again, at, left)
			}
			if !again {
				continue
			}
			if got, err := l.Topic(testContext(t), "orders"); err != nil || got != fresh {
				t.Errorf("the new topic is %+v, %v; want %+v", got, err, fresh)
			}
		}
	}
}

func TestUpdateWithLostAnswers(t *testing.T) {
	for at := range 2 {
		l, f := startEtcd(t)
		create(t, l, "orders", 1)
		plan := make([]fault, at+1)
		plan[at].kind = lose
		f.next(plan...)
		if _, err := l.UpdateTopic(testContext(t), "orders", messages.TopicUpdate{Partitions: 5}); !errors.Is(err, messages.ErrUnavailable) {
			t.Errorf("at %d: got %v", at, err)
		}
		f.used(t)
		info, err := l.UpdateTopic(testContext(t), "orders", messages.TopicUpdate{Partitions: 5})
		if err != nil || info.Config.Partitions != 5 || len(under(t, l, info.ID)) != 5 {
			t.Errorf("at %d: %+v, %v", at, info, err)
		}
	}
}

func TestCorruptTopics(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	good := create(t, l, "good", 1)
	put(t, l, l.space.Topic("bad"), "\xff")
	put(t, l, l.space.Topics()+"-not-ours", "x")
	if _, err := l.Topic(ctx, "bad"); !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("got %v", err)
	}
	topics, err := l.Topics(ctx)
	if !errors.Is(err, messages.ErrCorrupt) || len(topics) != 1 || topics[0] != good {
		t.Errorf("%+v, %v", topics, err)
	}
}
