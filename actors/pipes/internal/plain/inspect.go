package plain

// What the actors around plain peers report of themselves to whoever looks at the tree.

import (
	"strings"

	"github.com/penstock-io/penstock/supervisor"
)

var (
	_ supervisor.Inspector = (*outlet)(nil)
	_ supervisor.Inspector = (*peer)(nil)
	_ supervisor.Inspector = (*inlet)(nil)
)

// Inspect reports where peers dial, how many there are, and what waits for them.
func (a *outlet) Inspect(in *supervisor.Inspection) {
	in.Text("urls", strings.Join(a.Listener.URLs(), ","))
	in.Int("peers", len(a.peers))
	if a.queue == nil {
		return
	}
	l := a.Queue.Look(a.queue)
	in.Int("queued", l.Queued)
	in.Int("in_flight", l.InFlight)
	in.Int("bytes", l.Bytes)
	in.Text("on_full", string(l.Policy))
}

// Inspect reports what is being written to the peer.
func (p *peer) Inspect(in *supervisor.Inspection) {
	in.Text("addr", p.conn.RemoteAddr())
	in.Text("url", p.conn.URL())
	if p.place == nil {
		return
	}
	look := p.out.LookAt(p.place)
	in.Int("in_flight", look.InFlight)
	in.Int("credit", look.Credit)
	in.Int64("sent", int64(look.Sent))
}

// Inspect reports whom it dials, and what has come of that.
func (a *inlet) Inspect(in *supervisor.Inspection) {
	in.Text("url", a.URL)
	if a.link == nil {
		return
	}
	l := a.link.Look()
	in.Int("waiting", l.Waiting)
	in.Int("in_hand", l.InHand)
	in.Int("credit", l.Credit)
}
