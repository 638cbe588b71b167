package messages

// Events of messages that a member gave back, or died over: what they are, how they are
// logged, and how they add up.

import (
	"errors"
	"log/slog"
	"time"
)

// MessageRejected: a member said that a message will never be handled. It is a dead
// letter.
type MessageRejected struct {
	Destination, Group, Member string
	Seq                        uint64
	Err                        error
	// Parked says that there is no dead-letter handler: a copy is parked for inspection,
	// and the message is settled.
	Parked bool
	// Count is how many the event stands for; the other fields are the newest one's.
	Count int
}

// DeathCounted: a member may have died over messages: its link died, or AckWait expired,
// while they were in hand.
type DeathCounted struct {
	Destination, Group, Member string
	// Deaths is how often that happened to them.
	Deaths int
	Cause  error
	// Count is how many messages the event stands for; the other fields are the newest
	// one's.
	Count int
}

func (MessageRejected) name() string { return "message_rejected" }

// level is a warning where nobody takes the message.
func (e MessageRejected) level() slog.Level {
	if e.Parked {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
func (e MessageRejected) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		errAttr("err", e.Err),
		slog.Bool("parked", e.Parked),
		slog.Int("count", times(e.Count)),
	)
}

func (DeathCounted) name() string      { return "death_counted" }
func (DeathCounted) level() slog.Level { return slog.LevelInfo }
func (e DeathCounted) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Int("deaths", e.Deaths),
		errAttr("cause", e.Cause),
		slog.Int("count", times(e.Count)),
	)
}

func (e MessageRejected) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e MessageRejected) plus(older Event) Event {
	e.Count = add(older.(MessageRejected).Count, e.Count)
	return e
}

func (e DeathCounted) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e DeathCounted) plus(older Event) Event {
	e.Count = add(older.(DeathCounted).Count, e.Count)
	return e
}

// The events of how links are made, and their log lines.

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

// PlainPeerLinked: a stock nanomsg peer is connected. It is a PULL peer that has dialled
// a plain listener, and gets messages of the destination; or, where Member is set, the
// PUSH peer at a URL that this member dials.
type PlainPeerLinked struct {
	Destination, Group, Member string
	// Addr is the peer's address on the connection; URL is where it was dialled, or came in.
	Addr, URL string
}

func (PlainPeerLinked) name() string      { return "plain_peer_linked" }
func (PlainPeerLinked) level() slog.Level { return slog.LevelInfo }
func (e PlainPeerLinked) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("addr", e.Addr),
		slog.String("url", e.URL),
	)
}

// PlainPeerUnlinked: the connection to a stock nanomsg peer ended.
type PlainPeerUnlinked struct {
	Destination, Group, Member string
	// Addr is the peer's address on the connection; URL is where it was dialled, or came in.
	Addr, URL string
	// Cause is nil when this side has ended it.
	Cause error
	// Requeued counts the messages that a PULL peer had not been written whole: they go to
	// another one.
	Requeued int
}

func (PlainPeerUnlinked) name() string      { return "plain_peer_unlinked" }
func (PlainPeerUnlinked) level() slog.Level { return slog.LevelInfo }
func (e PlainPeerUnlinked) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("addr", e.Addr),
		slog.String("url", e.URL),
		errAttr("cause", e.Cause),
		slog.Int("requeued", e.Requeued),
	)
}

// PlainExposed: a destination has a plain listener where others than this machine can
// connect. There is no token there: whoever connects takes messages, and nobody else gets
// those.
type PlainExposed struct {
	Destination string
	URLs        []string
}

func (PlainExposed) name() string      { return "plain_exposed" }
func (PlainExposed) level() slog.Level { return slog.LevelWarn }
func (e PlainExposed) attrs() []slog.Attr {
	return []slog.Attr{slog.String("destination", e.Destination), slog.Any("urls", e.URLs)}
}

// ListenerTroubled: members cannot dial one of this runtime's URLs any more: somebody has put
// another file in the place of a unix socket, or has deleted it and it cannot be made again.
// Links that stand are not touched, and the listener keeps trying. There is one event for
// each trouble.
type ListenerTroubled struct {
	// URL is the one that was asked for.
	URL string
	Err error
}

func (ListenerTroubled) name() string      { return "listener_troubled" }
func (ListenerTroubled) level() slog.Level { return slog.LevelWarn }
func (e ListenerTroubled) attrs() []slog.Attr {
	return present(slog.String("url", e.URL), errAttr("err", e.Err))
}

// CertificateTroubled: the certificate for links has expired, or its files cannot be
// read any more. What was read before stays in use. There is one event for each trouble.
type CertificateTroubled struct{ Err error }

func (CertificateTroubled) name() string      { return "certificate_troubled" }
func (CertificateTroubled) level() slog.Level { return slog.LevelWarn }
func (e CertificateTroubled) attrs() []slog.Attr {
	return present(errAttr("err", e.Err))
}
