package groups

// The function given to RecordExpired: it is called apart from the readers, so that one
// that blocks holds up nothing but the calls behind it.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// tellsExpired makes the queue of the calls.
func (s *Subscription) tellsExpired() *usercode.Calls {
	of := fmt.Sprintf("RecordExpired of group %q of %q", s.cfg.Group, s.cfg.Topic)
	return usercode.NewCalls("the callbacks of "+of, s.env.Call, usercode.PanicTeller(s.env.Events.Emit, of))
}

// tellExpired queues a call. It reports whether there was room.
func (s *Subscription) tellExpired(r messages.Record) bool {
	m := r.Message()
	return s.expired.Offer(func() { s.cfg.Expired(context.Background(), r) }, messages.PayloadSize(&m))
}

// waitsFor reports whether the end of the subscription waits for a run of user code.
func (s *Subscription) waitsFor(c *usercode.Run) bool {
	return c.Of == s.buffer || s.expired != nil && c.Of == s.expired
}
