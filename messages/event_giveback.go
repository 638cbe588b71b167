package messages

// Events of messages that a member gave back, or died over: what they are, how they are
// logged, and how they add up.

import "log/slog"

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
