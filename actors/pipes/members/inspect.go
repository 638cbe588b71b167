package members

// What the actors of a member report of themselves to whoever looks at the tree.

import (
	"strings"

	"github.com/penstock-io/penstock/supervisor"
)

var (
	_ supervisor.Inspector = (*member)(nil)
	_ supervisor.Inspector = (*source)(nil)
)

// Inspect reports the senders that etcd shows, the links to them, what has come and
// was not handed out, and whether anybody reads.
func (a *member) Inspect(in *supervisor.Inspection) {
	s := a.m.in.Stats()
	in.Int("senders", len(a.sources))
	in.Int("links", s.Links)
	in.Int("waiting", s.Waiting)
	switch {
	case a.m.in.Paused():
		in.Text("reader", "paused")
	case !a.m.in.Busy():
		in.Text("reader", "none")
	}
}

// Inspect reports whom it dials, and how the link stands.
func (s *source) Inspect(in *supervisor.Inspection) {
	if s.sender != nil {
		in.Text("urls", strings.Join(s.sender.Urls, ","))
	}
	if s.link == nil {
		return
	}
	l := s.link.Look()
	in.Int("waiting", l.Waiting)
	in.Int("in_hand", l.InHand)
	in.Int("credit", l.Credit)
}
