package format

// Where a batch is on its way into the log, and the ends of a partition before
// and after it.

// Way is where a batch is on its way into the log. Only the appender that has the
// batch changes it.
type Way struct {
	State WayState
	// Base is the offset that it was sent to. After is the end of the partition
	// that it was sent to, and Behind the end that it makes there.
	Base          int64
	After, Behind LogEnd
}

// WayState is what may have become of the attempts to append a batch.
type WayState uint8

const (
	// Fresh: nothing that was sent can ever be applied.
	Fresh WayState = iota
	// Doubtful: what was sent to Base may be applied, now or later.
	Doubtful
	// Landed: it is in the log at Base.
	Landed
)

// GoBehind makes the end t the place that s is sent to next.
func (s *Sealed) GoBehind(t LogEnd) {
	size := len(s.Body(t.Offset))
	bytes := t.Bytes + int64(size)
	s.Way.Base, s.Way.After = t.Offset, t
	s.Way.Behind = LogEnd{Offset: t.Offset + int64(s.Count), Last: t.Offset, Bytes: bytes, Entry: string(s.EntryValue(size, bytes))}
}

// LogEnd is the end of a partition, as of some moment.
type LogEnd struct {
	// Offset is that of the next record.
	Offset int64
	// Last is the base of the batch before it, -1 when none is known. Bytes is
	// that batch's LogBytes, or 0, and Entry the value of its index entry in
	// etcd, or empty.
	Last, Bytes int64
	Entry       string
}

// LogEnd is the end of a partition of which e describes the last batch.
func (e Entry) LogEnd() LogEnd {
	return LogEnd{Offset: e.End(), Last: e.Base, Bytes: e.LogBytes, Entry: e.Value}
}
