package messages

// The events of how links are made, and their log lines.

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
	case errors.Is(e.Err, ErrDenied), errors.Is(e.Err, ErrInsecure), errors.Is(e.Err, ErrCorrupt), doubled && e.Attempt >= 16:
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

// LinksExposed: this runtime listens where others than this machine can connect, and
// without TLS: whoever is on the path reads the messages, and can write some of his own.
// There is one such event for each runtime.
type LinksExposed struct {
	// URLs are those that are not encrypted.
	URLs []string
}

func (LinksExposed) name() string      { return "links_exposed" }
func (LinksExposed) level() slog.Level { return slog.LevelWarn }
func (e LinksExposed) attrs() []slog.Attr {
	return []slog.Attr{slog.Any("urls", e.URLs)}
}

// CertificateTroubled: the certificate for links has expired, or its files cannot be
// read any more. What was read before stays in use. There is one event for each trouble.
type CertificateTroubled struct{ Err error }

func (CertificateTroubled) name() string      { return "certificate_troubled" }
func (CertificateTroubled) level() slog.Level { return slog.LevelWarn }
func (e CertificateTroubled) attrs() []slog.Attr {
	return present(errAttr("err", e.Err))
}
