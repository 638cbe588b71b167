package window

// The newest id of a producer.

import (
	"bytes"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Last looks for the newest id of a producer in the window of one partition. It is a
// commitlog.Sight.
type Last struct {
	prefix  []byte
	records int64
	oldest  int64
	end     format.LogEnd
	fault   error

	id   string
	nano int64 // when its batch was put
}

// NewLast begins to look, in a topic with these settings.
func NewLast(producer string, cfg messages.TopicConfig, now time.Time) *Last {
	return &Last{
		prefix: []byte(producer + "/"), records: int64(cfg.DedupeRecords),
		oldest: now.Add(-cfg.DedupeWindow).UnixNano(),
	}
}

// Found returns the id, empty for none, and when its batch was put, by the clock of who
// did. The error wraps messages.ErrCorrupt.
func (l *Last) Found() (id string, nano int64, err error) { return l.id, l.nano, l.fault }

// Begin is Sight's.
func (l *Last) Begin(end format.LogEnd) { l.end, l.id, l.nano, l.fault = end, "", 0, nil }

// Wants is Sight's.
func (l *Last) Wants(e format.Entry) bool { return !beyond(e, l.end, l.records) }

// Sees is Sight's.
func (l *Last) Sees(b *format.Batch) bool {
	if b.Time < l.oldest-int64(slack) {
		return false
	}
	for raw := b.Raw; len(raw) > 0; {
		var r messages.Payload
		n, err := messages.ConsumeRecord(raw, &r)
		if err != nil {
			l.fault = err
			return false
		}
		if id := r.IDBytes(); bytes.HasPrefix(id, l.prefix) && b.Time >= l.oldest && !messages.DelayOf(&r).Delivered {
			l.id, l.nano = string(id), b.Time
		}
		raw = raw[n:]
	}
	return l.id == ""
}
