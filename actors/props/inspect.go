package props

// What these actors report of themselves to whoever looks at the tree.

import "github.com/penstock-io/penstock/supervisor"

var (
	_ supervisor.Inspector = (*destination)(nil)
	_ supervisor.Inspector = (*member)(nil)
)

// Inspect reports what waits to be accepted, and what is asked for and under way.
func (a *destination) Inspect(in *supervisor.Inspection) {
	in.Text("destination", a.cfg.Name)
	if a.destPart == nil {
		return
	}
	messages, bytes := a.queue.size()
	in.Int("waiting", messages)
	in.Int("waiting_bytes", bytes)
	if len(a.under) > 0 {
		in.Int("under_way", len(a.under))
	}
}

// Inspect reports what it is a member of, whom it hands messages to, and how many may
// be there unsettled.
func (a *member) Inspect(in *supervisor.Inspection) {
	in.Text("destination", a.cfg.Destination)
	in.Text("group", a.cfg.Group)
	if a.to.To != nil {
		in.Text("receiver", a.to.To.Id)
	}
	if a.crew != nil {
		in.Int("workers", len(a.crew.workers))
	}
	if a.memberPart != nil && a.handle != nil {
		in.Int("window", a.handle.Window())
	}
}
