package prefetch

// Handlers that are at one call for too long.

import (
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// call is one call of a handler, which begins with the record at offset, on the goroutine
// with a label.
type call struct {
	partition int
	offset    int64
	label     string
}

// Wait waits for the end of the consumption. Meanwhile it emits an event for each
// handler that has been at one call for limit, and again at each doubling. member is who
// it is told of.
func (c *Consumption) Wait(limit time.Duration, member string) {
	b := c.buffer
	var watch usercode.StuckWatch[call]
	usercode.AwaitLooking(c.over, limit, func(now time.Time) {
		for _, stuck := range watch.Look(now, limit, b.calls()) {
			b.emit(messages.RecordHandlerStuck{
				Topic: b.cfg.Topic, Group: b.cfg.Group, Member: member, Partition: stuck.Key.partition, Offset: stuck.Key.offset,
				Running: stuck.Running, Stack: b.inside.Stack(stuck.Key.label),
			})
		}
	})
}

// calls are the handlers that have a claim in hand. A call begins with the first offset
// that is not finished.
func (b *Buffer) calls() map[call]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	busy := make(map[call]time.Time)
	for _, c := range b.claims {
		for h := range c.hands {
			busy[call{c.Partition, h.e.Record.Offset, h.label}] = time.Time{}
		}
		if cur := c.cursor; cur != nil && cur.cancel != nil {
			offset := c.finished.Load()
			if offset == moved {
				offset = c.handed.Load() - 1
			}
			busy[call{c.Partition, offset, cur.label}] = time.Time{}
		}
	}
	return busy
}
