package messages

import "log/slog"

// How each event of topics is spelled in a log line, in the order of event_topic.go.

func (TopicCreated) event() {}

// Name implements Event.
func (TopicCreated) Name() string { return "topic_created" }

// Level implements Event.
func (TopicCreated) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e TopicCreated) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("id", e.ID),
		slog.Int("partitions", e.Partitions),
	)
}

func (TopicUpdated) event() {}

// Name implements Event.
func (TopicUpdated) Name() string { return "topic_updated" }

// Level implements Event.
func (TopicUpdated) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e TopicUpdated) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partitions", e.Partitions),
	)
}

func (TopicDeleted) event() {}

// Name implements Event.
func (TopicDeleted) Name() string { return "topic_deleted" }

// Level implements Event.
func (TopicDeleted) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e TopicDeleted) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("id", e.ID),
	)
}

func (Subscribed) event() {}

// Name implements Event.
func (Subscribed) Name() string { return "subscribed" }

// Level implements Event.
func (Subscribed) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e Subscribed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (Unsubscribed) event() {}

// Name implements Event.
func (Unsubscribed) Name() string { return "unsubscribed" }

// Level implements Event.
func (Unsubscribed) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e Unsubscribed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (GroupAssigned) event() {}

// Name implements Event.
func (GroupAssigned) Name() string { return "group_assigned" }

// Level implements Event.
func (GroupAssigned) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e GroupAssigned) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int64("generation", e.Generation),
		slog.Int("members", e.Members),
		slog.Int("partitions", e.Partitions),
		slog.Int("moved", e.Moved),
	)
}

func (PartitionClaimed) event() {}

// Name implements Event.
func (PartitionClaimed) Name() string { return "partition_claimed" }

// Level implements Event.
func (PartitionClaimed) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e PartitionClaimed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int64("fence", e.Fence),
	)
}

func (PartitionReleased) event() {}

// Name implements Event.
func (PartitionReleased) Name() string { return "partition_released" }

// Level implements Event.
func (PartitionReleased) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e PartitionReleased) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
	)
}

func (PartitionLost) event() {}

// Name implements Event.
func (PartitionLost) Name() string { return "partition_lost" }

// Level implements Event.
func (PartitionLost) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e PartitionLost) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("fence", e.Fence),
		errAttr("err", e.Err),
	)
}

func (ClaimRevoked) event() {}

// Name implements Event.
func (ClaimRevoked) Name() string { return "claim_revoked" }

// Level implements Event.
func (ClaimRevoked) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e ClaimRevoked) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.String("member", e.Member),
		slog.String("why", e.Why),
	)
}

func (CommitDelayed) event() {}

// Name implements Event.
func (CommitDelayed) Name() string { return "commit_delayed" }

// Level implements Event.
func (CommitDelayed) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e CommitDelayed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		errAttr("err", e.Err),
	)
}

func (AppendDelayed) event() {}

// Name implements Event.
func (AppendDelayed) Name() string { return "append_delayed" }

// Level implements Event.
func (AppendDelayed) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e AppendDelayed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		errAttr("err", e.Err),
	)
}

func (AppendFailed) event() {}

// Name implements Event.
func (AppendFailed) Name() string { return "append_failed" }

// Level implements Event.
func (AppendFailed) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e AppendFailed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int("records", e.Records),
		errAttr("err", e.Err),
	)
}

func (ReadDelayed) event() {}

// Name implements Event.
func (ReadDelayed) Name() string { return "read_delayed" }

// Level implements Event.
func (ReadDelayed) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e ReadDelayed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		errAttr("err", e.Err),
	)
}

func (BatchCorrupt) event() {}

// Name implements Event.
func (BatchCorrupt) Name() string { return "batch_corrupt" }

// Level implements Event.
func (BatchCorrupt) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e BatchCorrupt) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		errAttr("err", e.Err),
	)
}

func (LogRolledBack) event() {}

// Name implements Event.
func (LogRolledBack) Name() string { return "log_rolled_back" }

// Level implements Event.
func (LogRolledBack) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e LogRolledBack) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("position", e.Position),
		slog.Int64("end", e.End),
	)
}

func (RecordFailed) event() {}

// Name implements Event.
func (RecordFailed) Name() string { return "record_failed" }

// Level implements Event.
func (RecordFailed) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e RecordFailed) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int("attempt", e.Attempt),
		ms("delay", e.Delay),
		errAttr("err", e.Err),
		slog.Int("count", times(e.Count)),
	)
}

func (RecordDeadLettered) event() {}

// Name implements Event.
func (RecordDeadLettered) Name() string { return "record_dead_lettered" }

// Level implements Event.
func (RecordDeadLettered) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e RecordDeadLettered) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int("attempts", e.Attempts),
		errAttr("err", e.Err),
		slog.Int("count", times(e.Count)),
	)
}

func (OffsetsReset) event() {}

// Name implements Event.
func (OffsetsReset) Name() string { return "offsets_reset" }

// Level implements Event.
func (OffsetsReset) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e OffsetsReset) Attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partitions", e.Partitions),
		slog.Bool("forced", e.Forced),
	)
}
