package messages

// The event of a link that is dialled again, and its log line.

import (
	"errors"
	"log/slog"
	"time"
)

// LinkDelayed: this member's link to a sender broke or could not be made, and is
// dialled again while etcd lists the sender.
type LinkDelayed struct {
	Destination, Group, Member, Sender string
	Err                                error
	// Attempt counts the dials since the link last held, from 1.
	Attempt int
	// Delay is how long the member waited before it dials again.
	Delay time.Duration
}

func (LinkDelayed) name() string { return "link_delayed" }

// level: senders come and go, so that a link is dialled again is no news: one line of
// each doubling is for people. One that etcd lists and nobody reaches for half a minute,
// or that does not get a member's rights, needs somebody.
func (e LinkDelayed) level() slog.Level {
	switch doubled := e.Attempt&(e.Attempt-1) == 0; {
	case errors.Is(e.Err, ErrDenied), errors.Is(e.Err, ErrCorrupt), doubled && e.Attempt >= 16:
		return slog.LevelWarn
	case doubled:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (e LinkDelayed) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		errAttr("err", e.Err),
		slog.Int("attempt", e.Attempt),
		ms("delay", e.Delay),
	)
}
