package props

// What these actors report of themselves to whoever looks at the tree.

import "github.com/penstock-io/penstock/supervisor"

var (
	_ supervisor.Inspector = (*destination)(nil)
	_ supervisor.Inspector = (*member)(nil)
	_ supervisor.Inspector = (*producer)(nil)
	_ supervisor.Inspector = (*subscription)(nil)
)

// Inspect reports what waits to be accepted, and what is asked for and under way.
func (a *destination) Inspect(in *supervisor.Inspection) {
	in.Text("destination", a.cfg.Name)
	if a.destPart == nil {
		return
	}
	inspectQueue(in, a.queue, a.under)
}

// Inspect reports what it is a member of, whom it hands messages to, and how many may
// be there unsettled.
func (a *member) Inspect(in *supervisor.Inspection) {
	in.Text("destination", a.cfg.Destination)
	in.Text("group", a.cfg.Group)
	inspectReceiver(in, a.to, a.crew)
	if a.memberPart != nil && a.handle != nil {
		in.Int("window", a.handle.Window())
	}
}

// Inspect reports what waits for room in the topic's buffer, and what is asked for and
// under way.
func (a *producer) Inspect(in *supervisor.Inspection) {
	in.Text("topic", a.topic)
	if a.producerPart == nil {
		return
	}
	inspectQueue(in, a.queue, a.under)
}

// Inspect reports what it is subscribed to, whom it hands records to, and how many
// partitions it owns.
func (a *subscription) Inspect(in *supervisor.Inspection) {
	in.Text("topic", a.cfg.Topic)
	in.Text("group", a.cfg.Group)
	inspectReceiver(in, a.to, a.crew)
	if a.subscriptionPart != nil && a.handle != nil {
		in.Int("partitions", len(a.handle.Partitions()))
	}
}

// inspectQueue reports what waits, and what marks have asked for.
func inspectQueue(in *supervisor.Inspection, q *publishes, under []*publish) {
	messages, bytes := q.size()
	in.Int("waiting", messages)
	in.Int("waiting_bytes", bytes)
	if len(under) > 0 {
		in.Int("under_way", len(under))
	}
}

// inspectReceiver reports who is handed what comes.
func inspectReceiver(in *supervisor.Inspection, to Receiver, c *crew) {
	if to.To != nil {
		in.Text("receiver", to.To.Id)
	}
	if c != nil {
		in.Int("workers", len(c.workers))
	}
}
