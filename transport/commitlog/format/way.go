package format

// Where a batch is on its way into the log, and the ends of a partition before
// and after it.

import "errors"

// Way is where a batch is on its way into the log. Only the appender that has the
// batch changes it.
type Way struct {
	State WayState
	// Base is the offset that it was sent to. After is the end of the partition
	// that it was sent to, and Behind the end that it makes there.
	Base          int64
	After, Behind LogEnd
	// Entry is the value of the index entry to be put at Base, with the body when
	// Behind says that it is inline.
	Entry string
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
	body := s.Body(t.Offset)
	bytes := t.Bytes + int64(len(body)+s.laterBytes)
	value := s.EntryValue(len(body), bytes)
	inline := len(body) <= InlineBytes
	if !inline {
		value = withExpiry(value, s.Expires)
	}
	s.Way.Base, s.Way.After = t.Offset, t
	s.Way.Behind = LogEnd{
		Offset: t.Offset + int64(s.Count), Last: t.Offset, Bytes: bytes,
		Entry: string(value), Inline: inline,
	}
	s.Way.Entry = s.Way.Behind.Entry
	if inline {
		s.Way.Entry = string(withExpiry(withBody(value, body), s.Expires))
		if len(s.Way.Entry) <= mostWhole {
			s.Way.Behind.Whole = s.Way.Entry
		}
	}
}

// LogEnd is the end of a partition, as of some moment.
type LogEnd struct {
	// Offset is that of the next record.
	Offset int64
	// Last is the base of the batch before it, -1 when none is known. Bytes is
	// that batch's LogBytes, or 0, and Entry the value of its index entry in
	// etcd, or empty. With Inline the body follows there, which Entry is without.
	Last, Bytes int64
	Entry       string
	Inline      bool
	// Whole is that value with the body, or empty: it is not known of the batches of
	// others, and not kept where it is large.
	Whole string
}

// ErrBehind: a batch was not sent, because its partition ends elsewhere than at the
// batch's Only.
var ErrBehind = errors.New("the log has another end than the batch may be put behind")

// Is reports whether both are the same end of the same log: an etcd that was set back
// may end at the same offset, behind another batch.
func (t LogEnd) Is(o LogEnd) bool {
	return t.Offset == o.Offset && t.Last == o.Last && t.Entry == o.Entry
}

// mostWhole is how large the value of an entry is that is compared as a whole: a
// comparison goes into etcd's log with the rest of its transaction.
const mostWhole = 256

// LogEnd is the end of a partition of which e describes the last batch.
func (e Entry) LogEnd() LogEnd {
	return LogEnd{Offset: e.End(), Last: e.Base, Bytes: e.LogBytes, Entry: e.Value, Inline: e.Body != nil}
}

// Above returns the least value that is greater than every value which begins with
// t.Entry, which must not be empty: "" when there is none.
func (t LogEnd) Above() string {
	b := []byte(t.Entry)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
