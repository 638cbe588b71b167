package messages

// How each event of topics is logged, in the order of event_topic.go.

import "log/slog"

func (TopicCreated) name() string      { return "topic_created" }
func (TopicCreated) level() slog.Level { return slog.LevelInfo }
func (e TopicCreated) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("id", e.ID),
		slog.Int("partitions", e.Partitions),
	)
}

func (TopicUpdated) name() string      { return "topic_updated" }
func (TopicUpdated) level() slog.Level { return slog.LevelInfo }
func (e TopicUpdated) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partitions", e.Partitions),
	)
}

func (TopicDeleted) name() string      { return "topic_deleted" }
func (TopicDeleted) level() slog.Level { return slog.LevelWarn }
func (e TopicDeleted) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("id", e.ID),
	)
}

func (Subscribed) name() string      { return "subscribed" }
func (Subscribed) level() slog.Level { return slog.LevelInfo }
func (e Subscribed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (Unsubscribed) name() string      { return "unsubscribed" }
func (Unsubscribed) level() slog.Level { return slog.LevelInfo }
func (e Unsubscribed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (GroupAssigned) name() string      { return "group_assigned" }
func (GroupAssigned) level() slog.Level { return slog.LevelInfo }
func (e GroupAssigned) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int64("generation", e.Generation),
		slog.Int("members", e.Members),
		slog.Int("partitions", e.Partitions),
		slog.Int("moved", e.Moved),
	)
}

func (PartitionClaimed) name() string      { return "partition_claimed" }
func (PartitionClaimed) level() slog.Level { return slog.LevelInfo }
func (e PartitionClaimed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int64("fence", e.Fence),
	)
}

func (PartitionTakenOver) name() string { return "partition_taken_over" }

// level is a warning where a record may be at fault.
func (e PartitionTakenOver) level() slog.Level {
	if e.Careful > 0 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
func (e PartitionTakenOver) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int("takeovers", e.Takeovers),
		slog.Int64("careful", e.Careful),
	)
}

func (PartitionReleased) name() string      { return "partition_released" }
func (PartitionReleased) level() slog.Level { return slog.LevelInfo }
func (e PartitionReleased) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
	)
}

func (ReleaseUnasked) name() string      { return "release_unasked" }
func (ReleaseUnasked) level() slog.Level { return slog.LevelInfo }
func (e ReleaseUnasked) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Any("partitions", e.Partitions),
	)
}

func (PartitionLost) name() string      { return "partition_lost" }
func (PartitionLost) level() slog.Level { return slog.LevelWarn }
func (e PartitionLost) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("fence", e.Fence),
		errAttr("err", e.Err),
	)
}

func (ClaimRevoked) name() string      { return "claim_revoked" }
func (ClaimRevoked) level() slog.Level { return slog.LevelWarn }
func (e ClaimRevoked) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.String("member", e.Member),
		slog.String("why", e.Why),
	)
}

func (MemberBuried) name() string      { return "member_buried" }
func (MemberBuried) level() slog.Level { return slog.LevelWarn }
func (e MemberBuried) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (ProcessUnwatched) name() string         { return "process_unwatched" }
func (ProcessUnwatched) level() slog.Level    { return slog.LevelWarn }
func (e ProcessUnwatched) attrs() []slog.Attr { return present(errAttr("err", e.Err)) }

func (CommitDelayed) name() string      { return "commit_delayed" }
func (CommitDelayed) level() slog.Level { return slog.LevelWarn }
func (e CommitDelayed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		errAttr("err", e.Err),
	)
}

func (AppendDelayed) name() string      { return "append_delayed" }
func (AppendDelayed) level() slog.Level { return slog.LevelWarn }
func (e AppendDelayed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		errAttr("err", e.Err),
	)
}

func (PutsSlowed) name() string         { return "puts_slowed" }
func (PutsSlowed) level() slog.Level    { return slog.LevelWarn }
func (e PutsSlowed) attrs() []slog.Attr { return roomAttrs(e.Used, e.Size, e.Quota) }

func (PutsRefused) name() string         { return "puts_refused" }
func (PutsRefused) level() slog.Level    { return slog.LevelError }
func (e PutsRefused) attrs() []slog.Attr { return roomAttrs(e.Used, e.Size, e.Quota) }

func (PutsFree) name() string         { return "puts_free" }
func (PutsFree) level() slog.Level    { return slog.LevelInfo }
func (e PutsFree) attrs() []slog.Attr { return roomAttrs(e.Used, e.Size, e.Quota) }

func roomAttrs(used, size, quota int64) []slog.Attr {
	return []slog.Attr{slog.Int64("used", used), slog.Int64("size", size), slog.Int64("quota", quota)}
}

func (EtcdAlarmed) name() string { return "etcd_alarmed" }
func (e EtcdAlarmed) level() slog.Level {
	if e.Alarms == "" {
		return slog.LevelInfo
	}
	return slog.LevelError
}
func (e EtcdAlarmed) attrs() []slog.Attr {
	attrs := append([]slog.Attr{slog.String("alarms", e.Alarms)}, roomAttrs(e.Used, e.Size, e.Quota)...)
	return append(attrs, slog.String("do", e.Do))
}

func (EtcdUnwatched) name() string         { return "etcd_unwatched" }
func (EtcdUnwatched) level() slog.Level    { return slog.LevelWarn }
func (e EtcdUnwatched) attrs() []slog.Attr { return present(errAttr("err", e.Err)) }

func (AppendFailed) name() string      { return "append_failed" }
func (AppendFailed) level() slog.Level { return slog.LevelError }
func (e AppendFailed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int("records", e.Records),
		errAttr("err", e.Err),
	)
}

func (ReadDelayed) name() string      { return "read_delayed" }
func (ReadDelayed) level() slog.Level { return slog.LevelWarn }
func (e ReadDelayed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		errAttr("err", e.Err),
	)
}

func (BatchCorrupt) name() string      { return "batch_corrupt" }
func (BatchCorrupt) level() slog.Level { return slog.LevelError }
func (e BatchCorrupt) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		errAttr("err", e.Err),
	)
}

func (LogRolledBack) name() string      { return "log_rolled_back" }
func (LogRolledBack) level() slog.Level { return slog.LevelError }
func (e LogRolledBack) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("position", e.Position),
		slog.Int64("end", e.End),
	)
}

func (RecordHandlerStuck) name() string      { return "record_handler_stuck" }
func (RecordHandlerStuck) level() slog.Level { return slog.LevelWarn }
func (e RecordHandlerStuck) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		ms("running", e.Running),
		optional("stack", e.Stack),
		slog.Int("count", times(e.Count)),
	)
}

func (RecordFailed) name() string      { return "record_failed" }
func (RecordFailed) level() slog.Level { return slog.LevelWarn }
func (e RecordFailed) attrs() []slog.Attr {
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

func (RecordDeadLettered) name() string      { return "record_dead_lettered" }
func (RecordDeadLettered) level() slog.Level { return slog.LevelWarn }
func (e RecordDeadLettered) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int("attempts", e.Attempts),
		slog.Int("deaths", e.Deaths),
		optional("omitted", e.Omitted),
		errAttr("err", e.Err),
		slog.Int("count", times(e.Count)),
	)
}

func (DeadLettersRepeated) name() string      { return "dead_letters_repeated" }
func (DeadLettersRepeated) level() slog.Level { return slog.LevelError }
func (e DeadLettersRepeated) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Int("run", e.Run),
		slog.Int("letters", e.Letters),
		slog.Int("of", e.Of),
		slog.Time("until", e.Until),
	)
}

func (RecordRejected) name() string      { return "record_rejected" }
func (RecordRejected) level() slog.Level { return slog.LevelError }
func (e RecordRejected) attrs() []slog.Attr {
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

func (RecordsExpired) name() string      { return "records_expired" }
func (RecordsExpired) level() slog.Level { return slog.LevelWarn }
func (e RecordsExpired) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Int("count", times(e.Count)),
		slog.Int("untold", e.Untold),
	}
}

func (GroupPaused) name() string      { return "group_paused" }
func (GroupPaused) level() slog.Level { return slog.LevelWarn }
func (e GroupPaused) attrs() []slog.Attr {
	return present(
		optional("destination", e.Destination),
		optional("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Time("until", e.Until),
	)
}

func (GroupResumed) name() string      { return "group_resumed" }
func (GroupResumed) level() slog.Level { return slog.LevelInfo }
func (e GroupResumed) attrs() []slog.Attr {
	return present(
		optional("destination", e.Destination),
		optional("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	)
}

func (OffsetsReset) name() string      { return "offsets_reset" }
func (OffsetsReset) level() slog.Level { return slog.LevelWarn }
func (e OffsetsReset) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("group", e.Group),
		slog.Int("partitions", e.Partitions),
		slog.Bool("forced", e.Forced),
	)
}

func (RecordsMissed) name() string      { return "records_missed" }
func (RecordsMissed) level() slog.Level { return slog.LevelWarn }
func (e RecordsMissed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		optional("group", e.Group),
		slog.Int("partition", e.Partition),
		slog.Int64("from", e.From),
		slog.Int64("to", e.To),
		slog.Int64("count", e.Count),
	)
}

func (KeeperElected) name() string       { return "keeper_elected" }
func (KeeperElected) level() slog.Level  { return slog.LevelInfo }
func (KeeperElected) attrs() []slog.Attr { return nil }

func (KeeperDeposed) name() string       { return "keeper_deposed" }
func (KeeperDeposed) level() slog.Level  { return slog.LevelInfo }
func (KeeperDeposed) attrs() []slog.Attr { return nil }

func (KeeperRefused) name() string      { return "keeper_refused" }
func (KeeperRefused) level() slog.Level { return slog.LevelWarn }
func (e KeeperRefused) attrs() []slog.Attr {
	return present(optional("job", e.Job), errAttr("err", e.Err))
}

func (KeeperDelayed) name() string      { return "keeper_delayed" }
func (KeeperDelayed) level() slog.Level { return slog.LevelWarn }
func (e KeeperDelayed) attrs() []slog.Attr {
	return present(slog.String("job", e.Job), errAttr("err", e.Err))
}

func (TopicTrimmed) name() string      { return "topic_trimmed" }
func (TopicTrimmed) level() slog.Level { return slog.LevelInfo }
func (e TopicTrimmed) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("start", e.Start),
		slog.Int("batches", e.Batches),
		slog.Int64("records", e.Records),
		slog.Int64("bytes", e.Bytes),
		slog.String("why", e.Why),
	)
}

func (RecordsDelivered) name() string         { return "records_delivered" }
func (RecordsDelivered) level() slog.Level    { return slog.LevelDebug }
func (e RecordsDelivered) attrs() []slog.Attr { return deliveredAttrs(e) }

func (RecordsLate) name() string         { return "records_late" }
func (RecordsLate) level() slog.Level    { return slog.LevelWarn }
func (e RecordsLate) attrs() []slog.Attr { return deliveredAttrs(RecordsDelivered(e)) }

func deliveredAttrs(e RecordsDelivered) []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int("count", e.Count),
		ms("late", e.Late),
	)
}

func (TopicCompacted) name() string      { return "topic_compacted" }
func (TopicCompacted) level() slog.Level { return slog.LevelInfo }
func (e TopicCompacted) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("end", e.End),
		slog.Int("batches", e.Batches),
		slog.Int("superseded", e.Superseded),
		slog.Int("removed", e.Removed),
		slog.Int64("bytes", e.Bytes),
		slog.Int64("trimmed", e.Trimmed),
		ms("took", e.Took),
	)
}

func (ClockStepped) name() string         { return "clock_stepped" }
func (ClockStepped) level() slog.Level    { return slog.LevelWarn }
func (e ClockStepped) attrs() []slog.Attr { return present(ms("by", e.By)) }

func (HistoryCompacted) name() string      { return "history_compacted" }
func (HistoryCompacted) level() slog.Level { return slog.LevelDebug }
func (e HistoryCompacted) attrs() []slog.Attr {
	return present(slog.Int64("revision", e.Revision))
}

func (ScheduleFired) name() string      { return "schedule_fired" }
func (ScheduleFired) level() slog.Level { return slog.LevelDebug }
func (e ScheduleFired) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("schedule", e.Schedule),
		slog.String("topic", e.Topic),
		slog.Int("partition", e.Partition),
		slog.Int64("offset", e.Offset),
		slog.Time("tick", e.Tick),
		ms("late", e.Late),
	}
}

func (ScheduleMissed) name() string      { return "schedule_missed" }
func (ScheduleMissed) level() slog.Level { return slog.LevelWarn }
func (e ScheduleMissed) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("schedule", e.Schedule),
		slog.String("topic", e.Topic),
		slog.Int("count", e.Count),
		slog.Time("since", e.Since),
		slog.String("policy", string(e.Policy)),
	}
}

func (ScheduleFailed) name() string      { return "schedule_failed" }
func (ScheduleFailed) level() slog.Level { return slog.LevelError }
func (e ScheduleFailed) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("schedule", e.Schedule), slog.String("topic", e.Topic)}
	if !e.Tick.IsZero() {
		attrs = append(attrs, slog.Time("tick", e.Tick))
	}
	return append(attrs, errAttr("err", e.Err))
}
