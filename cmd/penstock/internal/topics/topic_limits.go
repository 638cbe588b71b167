package topics

// The flags of a topic's limits, and how they are shown.

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// topicLimits are the flags as they were given.
type topicLimits struct {
	maxAge, ttl, maxBytes, maxRecords, retention, discard string
	compact                                               string
	tombstoneGrace, compactionLag                         time.Duration
}

// noLimit is how a flag spells that there is none.
const noLimit = "none"

func (l *topicLimits) add(cmd *cobra.Command, d penstock.TopicConfig) {
	f := cmd.Flags()
	f.StringVar(&l.maxAge, "max-age", "", "delete records older than this `duration` (such as 36h), or none")
	f.StringVar(&l.ttl, "ttl", "", "hand out no records older than this `duration`, and delete them later, or none")
	f.StringVar(&l.maxBytes, "max-bytes", "", "most `bytes` that a partition keeps in etcd, 1048576 at least, or none")
	f.StringVar(&l.maxRecords, "max-records", "", "most `records` that a partition keeps, or none")
	f.StringVar(&l.retention, "retention", string(d.Retention), "`what` else deletes records: limits (nothing) or until-done (what all groups have committed)")
	f.StringVar(&l.discard, "discard", string(d.Discard), "`what` gives way at --max-bytes and --max-records: old (records) or new (puts are refused)")
	f.StringVar(&l.compact, "compact", string(d.Compaction), "`what` supersedes records: key (the newest record of each key deletes those before it, later) or none")
	f.DurationVar(&l.tombstoneGrace, "tombstone-grace", 0, fmt.Sprintf("with --compact key: how long a tombstone stays when what it deletes is gone (default %s)", penstock.DefaultTombstoneGrace))
	f.DurationVar(&l.compactionLag, "compaction-lag", 0, fmt.Sprintf("with --compact key: how long every record stays (default %s)", penstock.DefaultCompactionLag))
	cli.CompleteFlag(cmd, "compact", string(penstock.CompactNone), string(penstock.CompactByKey))
	cli.CompleteFlag(cmd, "retention", string(penstock.RetainLimits), string(penstock.RetainUntilDone))
	cli.CompleteFlag(cmd, "discard", string(penstock.DiscardOld), string(penstock.DiscardNew))
}

// change sets what was given; a limit that was removed is penstock.NoLimit.
func (l *topicLimits) change(u *penstock.TopicUpdate, given func(flag string) bool) error {
	for _, d := range []struct {
		flag, value string
		to          *time.Duration
	}{{"max-age", l.maxAge, &u.MaxAge}, {"ttl", l.ttl, &u.TTL}} {
		switch v, err := time.ParseDuration(d.value); {
		case !given(d.flag):
		case d.value == noLimit:
			*d.to = penstock.NoLimit
		case err != nil || v < time.Millisecond:
			return cli.Usagef("--%s %q: want a duration of 1ms or more, such as 36h, or %s", d.flag, d.value, noLimit)
		default:
			*d.to = v
		}
	}
	for _, n := range []struct {
		flag, value string
		least       int64
		to          *int64
	}{{"max-bytes", l.maxBytes, penstock.MinTopicBytes, &u.MaxBytes}, {"max-records", l.maxRecords, 1, &u.MaxRecords}} {
		switch v, err := strconv.ParseInt(n.value, 10, 64); {
		case !given(n.flag):
		case n.value == noLimit:
			*n.to = penstock.NoLimit
		case err != nil || v < n.least:
			return cli.Usagef("--%s %q: want a number of at least %d, or %s", n.flag, n.value, n.least, noLimit)
		default:
			*n.to = v
		}
	}
	u.Retention, u.Discard = penstock.Retention(l.retention), penstock.Discard(l.discard)
	u.Compaction, u.TombstoneGrace, u.CompactionLag = penstock.Compaction(l.compact), l.tombstoneGrace, l.compactionLag
	switch {
	case (given("compact") || u.Compaction != "") && u.Compaction != penstock.CompactNone && u.Compaction != penstock.CompactByKey:
		return cli.Usagef("--compact %q: want %s or %s", l.compact, penstock.CompactByKey, penstock.CompactNone)
	case given("tombstone-grace") && l.tombstoneGrace < time.Millisecond:
		return cli.Usagef("--tombstone-grace %s: want 1ms or more", l.tombstoneGrace)
	case given("compaction-lag") && l.compactionLag < time.Millisecond:
		return cli.Usagef("--compaction-lag %s: want 1ms or more", l.compactionLag)
	case (given("retention") || u.Retention != "") && u.Retention != penstock.RetainLimits && u.Retention != penstock.RetainUntilDone:
		return cli.Usagef("--retention %q: want %s or %s", l.retention, penstock.RetainLimits, penstock.RetainUntilDone)
	case (given("discard") || u.Discard != "") && u.Discard != penstock.DiscardOld && u.Discard != penstock.DiscardNew:
		return cli.Usagef("--discard %q: want %s or %s", l.discard, penstock.DiscardOld, penstock.DiscardNew)
	}
	return nil
}

// set fills in the limits of a topic that is created.
func (l *topicLimits) set(cfg *penstock.TopicConfig, given func(flag string) bool) error {
	var u penstock.TopicUpdate
	if err := l.change(&u, given); err != nil {
		return err
	}
	cfg.MaxAge, cfg.TTL = max(0, u.MaxAge), max(0, u.TTL)
	cfg.MaxBytes, cfg.MaxRecords = max(0, u.MaxBytes), max(0, u.MaxRecords)
	cfg.Retention, cfg.Discard = u.Retention, u.Discard
	cfg.Compaction, cfg.TombstoneGrace, cfg.CompactionLag = u.Compaction, u.TombstoneGrace, u.CompactionLag
	if cfg.Compaction == penstock.CompactByKey {
		cfg.TombstoneGrace = cmp.Or(cfg.TombstoneGrace, penstock.DefaultTombstoneGrace)
		cfg.CompactionLag = cmp.Or(cfg.CompactionLag, penstock.DefaultCompactionLag)
	}
	return nil
}
