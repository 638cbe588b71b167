package messages

// Events about the user's own code: who reads, and callbacks.

import "log/slog"

// UnreadReturned: messages that had come to a member and were not handed out went
// back to their senders, because nobody reads there.
type UnreadReturned struct {
	Destination, Group, Member string
	Count                      int
	// Why tells what became of the reader, for people.
	Why string
}

func (UnreadReturned) event() {}

// Name implements Event.
func (UnreadReturned) Name() string { return "unread_returned" }

// Level implements Event.
func (UnreadReturned) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e UnreadReturned) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Int("count", e.Count),
		slog.String("why", e.Why),
	}
}

// CallbackPanicked: a function of the user's that is not about a message panicked,
// or ended its goroutine. What it was called for is lost; it is called again for
// what comes next.
type CallbackPanicked struct {
	// Callback names it, for people: "logger".
	Callback string
	// Count is how often, since the last event of it.
	Count int
	// Value is what it panicked with the last time, printed.
	Value string
	Stack string
}

func (CallbackPanicked) event() {}

// Name implements Event.
func (CallbackPanicked) Name() string { return "callback_panicked" }

// Level implements Event.
func (CallbackPanicked) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e CallbackPanicked) Attrs() []slog.Attr {
	return present(
		slog.String("callback", e.Callback),
		slog.Int("count", e.Count),
		slog.String("value", e.Value),
		slog.String("stack", e.Stack),
	)
}
