package messages

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestTopicConfigDefaults(t *testing.T) {
	var c TopicConfig
	c.EnsureDefaults()
	if want := (TopicConfig{Partitions: 1, Compression: CompressS2, MaxRecordBytes: MaxRecordBytes, Retention: RetainLimits, Discard: DiscardOld, Compaction: CompactNone}); c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	chosen := TopicConfig{
		Partitions: 7, Compression: CompressZstd, MaxRecordBytes: 100,
		MaxAge: time.Hour, TTL: time.Minute, MaxBytes: MinTopicBytes, MaxRecords: 1, Retention: RetainUntilDone, Discard: DiscardNew,
		Compaction: CompactByKey, TombstoneGrace: time.Minute, CompactionLag: time.Second,
	}
	c = chosen
	c.EnsureDefaults()
	if c != chosen {
		t.Errorf("defaults changed %+v into %+v", chosen, c)
	}
	c = TopicConfig{Compaction: CompactByKey}
	if c.EnsureDefaults(); c.TombstoneGrace != DefaultTombstoneGrace || c.CompactionLag != DefaultCompactionLag {
		t.Errorf("compaction by key has the defaults %+v", c)
	}
}

func TestTopicConfigValidate(t *testing.T) {
	good := TopicConfig{Partitions: 1, Compression: CompressNone, MaxRecordBytes: 1, Retention: RetainLimits, Discard: DiscardOld, Compaction: CompactNone}
	for _, c := range []struct {
		name   string
		change func(*TopicConfig)
		says   []string // empty: no fault
	}{
		{"good", func(c *TopicConfig) {}, nil},
		{"most", func(c *TopicConfig) { c.Partitions, c.MaxRecordBytes = MaxPartitions, MaxRecordBytes }, nil},
		{"no partitions", func(c *TopicConfig) { c.Partitions = 0 }, []string{"0 partitions", "1024"}},
		{"negative partitions", func(c *TopicConfig) { c.Partitions = -1 }, []string{"-1 partitions"}},
		{"too many partitions", func(c *TopicConfig) { c.Partitions = 1025 }, []string{"1025 partitions"}},
		{"strange compression", func(c *TopicConfig) { c.Compression = "lzma" }, []string{`"lzma"`, "zstd"}},
		{"no bytes", func(c *TopicConfig) { c.MaxRecordBytes = 0 }, []string{"max record bytes 0"}},
		{"too many bytes", func(c *TopicConfig) { c.MaxRecordBytes = MaxRecordBytes + 1 }, []string{"max record bytes 1048577"}},
		{"limits", func(c *TopicConfig) {
			c.MaxAge, c.TTL, c.MaxBytes, c.MaxRecords = time.Millisecond, time.Hour, MinTopicBytes, 1
		}, nil},
		{"refused", func(c *TopicConfig) { c.Discard, c.MaxRecords = DiscardNew, 1 }, nil},
		{"negative limits", func(c *TopicConfig) { c.MaxAge, c.TTL, c.MaxBytes, c.MaxRecords = -1, -1, -1, -1 }, []string{"max age -1ns", "TTL -1ns", "max bytes -1", "max records -1"}},
		{"few bytes", func(c *TopicConfig) { c.MaxBytes = MinTopicBytes - 1 }, []string{"max bytes 1048575"}},
		{"strange retention", func(c *TopicConfig) { c.Retention, c.Discard = "x", "y" }, []string{`retention "x"`, "until-done", `discard "y"`, "new"}},
		{"nothing to refuse", func(c *TopicConfig) { c.Discard = DiscardNew }, []string{"without max bytes"}},
		{"compacted", func(c *TopicConfig) {
			c.Compaction, c.TombstoneGrace, c.CompactionLag = CompactByKey, time.Millisecond, time.Hour
		}, nil},
		{"strange compaction", func(c *TopicConfig) { c.Compaction = "x" }, []string{`compaction "x"`, `"key"`}},
		{"compaction times", func(c *TopicConfig) {
			c.Compaction, c.TombstoneGrace, c.CompactionLag = CompactByKey, -1, 1
		}, []string{"tombstone grace -1ns", "compaction lag 1ns"}},
		{"nothing compacted", func(c *TopicConfig) { c.TombstoneGrace, c.CompactionLag = time.Hour, time.Hour }, []string{"tombstone grace without", "compaction lag without"}},
		{"everything", func(c *TopicConfig) { *c = TopicConfig{} }, []string{"0 partitions", `compression ""`, "max record bytes 0"}},
	} {
		cfg := good
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.says == nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in %q", c.name, part, err)
			}
		}
	}
}

func TestStart(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 10, time.FixedZone("x", 3600))
	for _, c := range []struct {
		start          Start
		latest         bool
		offset, time   int64
		isOffset, isAt bool
		text           string
	}{
		{start: Start{}, text: "earliest"},
		{start: Earliest(), text: "earliest"},
		{start: Latest(), latest: true, text: "latest"},
		{start: AtOffset(0), isOffset: true, text: "0"},
		{start: AtOffset(42), offset: 42, time: 42, isOffset: true, text: "42"},
		{start: AtTime(at), offset: at.UnixNano(), time: at.UnixNano(), isAt: true, text: "2024-05-06T06:08:09.00000001Z"},
		{start: AtTime(time.Unix(0, math.MinInt64)), offset: math.MinInt64, time: math.MinInt64, isAt: true, text: "1677-09-21T00:12:43.145224192Z"},
		{start: AtTime(time.Unix(0, math.MaxInt64)), offset: math.MaxInt64, time: math.MaxInt64, isAt: true, text: "2262-04-11T23:47:16.854775807Z"},
		{start: AtTime(time.Unix(0, math.MinInt64).Add(-1)), text: "earliest"},
		{start: AtTime(time.Unix(0, math.MaxInt64).Add(1)), latest: true, text: "latest"},
		{start: AtTime(time.Time{}), text: "earliest"},
		{start: AtTime(time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)), text: "earliest"},
		{start: AtTime(time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC)), latest: true, text: "latest"},
		{start: AtTime(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)), latest: true, text: "latest"},
		{start: AtTime(time.Unix(1<<62, 0)), latest: true, text: "latest"},
		{start: AtTime(time.Unix(0, 0)), isAt: true, text: "1970-01-01T00:00:00Z"},
	} {
		offset, isOffset := c.start.Offset()
		when, isAt := c.start.Time()
		if c.start.IsLatest() != c.latest || isOffset != c.isOffset || isAt != c.isAt || c.start.String() != c.text ||
			isOffset && offset != c.offset || isAt && when != c.time {
			t.Errorf("%v: latest %v, offset %d %v, time %d %v", c.start, c.start.IsLatest(), offset, isOffset, when, isAt)
		}
	}
	if Earliest() == AtOffset(0) || Earliest() == Latest() {
		t.Error("starts of different kinds are equal")
	}
}

func TestRecordClone(t *testing.T) {
	batch := []byte("keyvaluename")
	r := Record{Topic: "t", Partition: 1, Offset: 2, Fence: 3, Attempt: 4}
	r.Key, r.Value = batch[:3], batch[3:8]
	c := r.Clone()
	clear(batch)
	if string(c.Key) != "key" || string(c.Value) != "value" {
		t.Errorf("the clone shares the batch: %q %q", c.Key, c.Value)
	}
	if c.Topic != "t" || c.Partition != 1 || c.Offset != 2 || c.Fence != 3 || c.Attempt != 4 {
		t.Errorf("%+v", c)
	}
}
