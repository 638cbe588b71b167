package events

// Events on their way to the user's logger.

import (
	"context"
	"log/slog"
	"runtime/debug"

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
}

// NewLogger makes a logger of what happens from now on, until ctx ends.
func NewLogger(ctx context.Context, h *Bus, logger *slog.Logger) *Logger {
	return &Logger{bus: h, logger: logger, events: h.subscribe(ctx), tell: usercode.PanicTeller(h.Emit, loggerName)}
}

// Follow writes until ctx ends, and then what had come by then.
func (l *Logger) Follow(ctx context.Context) error {
	l.bus.follow(ctx, l.events, func(e messages.Event) { l.write(context.WithoutCancel(ctx), e) })
	return nil
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
