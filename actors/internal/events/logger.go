package events

// Events on their way to the user's logger.

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// loggerName names the logger in messages.CallbackPanicked.
const loggerName = "logger"

// Logger writes a line for each event. It outlives the goroutine that does so,
// which a logger may end.
type Logger struct {
	bus    *Bus
	logger *slog.Logger
	events *subscriber
	tell   func(value any, stack []byte)
	active atomic.Int32 // calls of Follow that have not returned
}

// NewLogger makes a logger of what happens from now on, until the bus closes.
func NewLogger(h *Bus, logger *slog.Logger) *Logger {
	return &Logger{
		bus: h, logger: logger, events: h.subscribe(context.Background()),
		tell: usercode.PanicTeller(h.Emit, loggerName),
	}
}

// Follow writes until ctx ends, and then what had come by then.
func (l *Logger) Follow(ctx context.Context) error {
	l.active.Add(1)
	defer l.active.Add(-1)
	l.bus.follow(ctx, l.events, func(e messages.Event) { l.write(context.WithoutCancel(ctx), e) })
	return nil
}

// Rest writes what nobody has followed, once the bus has closed. It waits as long as
// patience for the logger, which is the user's, and then leaves it behind. A call of
// Follow that has not returned writes the rest itself when its logger returns.
func (l *Logger) Rest(runs *usercode.Runs, patience time.Duration) {
	if l.active.Load() > 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer runs.Enter(&usercode.Run{What: "the logger"})()
		for e := range l.events.events {
			l.write(context.Background(), e)
		}
	}()
	left := time.NewTimer(patience)
	defer left.Stop()
	select {
	case <-done:
	case <-left.C:
	}
}

// write is one line. A logger that panics loses that line only. It is not told
// that it fails with the line that tells so, or that would never end.
func (l *Logger) write(ctx context.Context, e messages.Event) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if own, ok := e.(messages.CallbackPanicked); !ok || own.Callback != loggerName {
			l.tell(value, debug.Stack())
		}
	}()
	messages.LogEvent(ctx, l.logger, e)
	returned = true
}
