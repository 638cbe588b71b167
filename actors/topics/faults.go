package topics

// What is wrong with a call of an administrator, whatever the topic.

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// changeFaults are those of a change to a topic that are faults of every topic.
func changeFaults(u messages.TopicUpdate) error {
	cfg := messages.TopicConfig{
		Partitions: u.Partitions, Compression: u.Compression, MaxRecordBytes: u.MaxRecordBytes,
		MaxAge: max(0, u.MaxAge), TTL: max(0, u.TTL), MaxBytes: max(0, u.MaxBytes), MaxRecords: max(0, u.MaxRecords),
		Retention: u.Retention, Discard: u.Discard,
		DedupeWindow: max(0, u.DedupeWindow), DedupeRecords: u.DedupeRecords,
	}
	if cfg.DedupeWindow == 0 && u.DedupeWindow == 0 && cfg.DedupeRecords > 0 {
		cfg.DedupeWindow = time.Millisecond // the topic may have one
	}
	if cfg.Discard == messages.DiscardNew && cfg.MaxRecords == 0 {
		cfg.MaxRecords = 1 // the topic may have a limit
	}
	cfg.Compaction, cfg.TombstoneGrace, cfg.CompactionLag = u.Compaction, u.TombstoneGrace, u.CompactionLag
	if cfg.Compaction == "" && (cfg.TombstoneGrace != 0 || cfg.CompactionLag != 0) {
		cfg.Compaction = messages.CompactByKey // the topic may be compacted
	}
	cfg.EnsureDefaults()
	return cfg.Validate()
}

// resetFaults are those of a reset of offsets in every topic.
func resetFaults(to messages.Start, cfg ResetConfig) error {
	var errs []error
	if o, ok := to.Offset(); ok && o < 0 {
		errs = append(errs, fmt.Errorf("offset %d: %w: the first is 0", o, messages.ErrOffsetOutOfRange))
	}
	for _, p := range cfg.Partitions {
		if p < 0 || p >= messages.MaxPartitions {
			errs = append(errs, fmt.Errorf("partition %d: %w: they are counted from 0 to %d at most", p, messages.ErrNoPartition, messages.MaxPartitions-1))
		}
	}
	return errors.Join(errs...)
}

// startFaults are those of the beginnings of a topic's partitions.
func startFaults(starts []int64, cfg messages.TopicConfig) error {
	if len(starts) > cfg.Partitions {
		return fmt.Errorf("%w: %d starts for %d partitions", messages.ErrInvalid, len(starts), cfg.Partitions)
	}
	for p, at := range starts {
		if at < 0 || at > maxStart {
			return fmt.Errorf("partition %d starts at %d: %w", p, at, messages.ErrOffsetOutOfRange)
		}
	}
	return nil
}

// maxStart leaves room for all records that there will ever be.
const maxStart = 1 << 62
