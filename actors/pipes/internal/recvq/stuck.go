package recvq

// Handlers that have one message in hand for too long.

import (
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// call is one message in the hands of one worker.
type call struct {
	w    *worker
	from *Link
	seq  uint64
}

// await waits for the end of the handlers. It emits an event for each that has had a
// message for AckWait, since the last InProgress, and again at each doubling. Without an
// AckWait there is none.
func (c *Consumption) await() {
	q := c.q
	var watch usercode.StuckWatch[call]
	usercode.AwaitLooking(c.over, q.cfg.AckWait, func(now time.Time) {
		for _, stuck := range watch.Look(now, q.cfg.AckWait, c.calls()) {
			q.emit(messages.HandlerStuck{
				Destination: q.cfg.Destination, Group: q.cfg.Group, Member: q.cfg.ID,
				Seq: stuck.Key.seq, Running: stuck.Running, Stack: q.Runs.Stack(stuck.Key.w.label),
			})
		}
	})
}

// calls are what the handlers have in hand, with the last InProgress of each.
func (c *Consumption) calls() map[call]time.Time {
	busy := make(map[call]time.Time)
	c.workersMu.Lock()
	for w := range c.workers {
		if w.from != nil {
			busy[call{w, w.from, w.seq}] = time.Time{}
		}
	}
	c.workersMu.Unlock()
	for k := range busy {
		k.from.lock()
		busy[k] = k.from.extended[k.seq]
		k.from.mu.Unlock()
	}
	return busy
}
