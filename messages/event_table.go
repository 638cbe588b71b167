package messages

// The events of tables of topics, and their log lines.

import (
	"log/slog"
	"time"
)

// TableLoads: a table of this runtime reads its topic as a whole. It is emitted every few
// seconds while that takes.
type TableLoads struct {
	Topic string
	Why   string // loading, or what made it read all again
	Read  int64  // records, or their offsets
	Left  int64  // as many more are to be read, about
}

// TableLoaded: a table of this runtime has read its topic as a whole.
type TableLoaded struct {
	Topic string
	Why   string // as in TableLoads
	Keys  int
	Bytes int64 // of memory, about
	Took  time.Duration
}

// TableClosed: a table of this runtime has ended. Err is nil after its Close, and when
// nobody used it any more.
type TableClosed struct {
	Topic string
	Err   error
}

func (TableLoads) name() string      { return "table_loads" }
func (TableLoads) level() slog.Level { return slog.LevelInfo }
func (e TableLoads) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("why", e.Why),
		slog.Int64("read", e.Read),
		slog.Int64("left", e.Left),
	)
}

func (TableLoaded) name() string      { return "table_loaded" }
func (TableLoaded) level() slog.Level { return slog.LevelInfo }
func (e TableLoaded) attrs() []slog.Attr {
	return present(
		slog.String("topic", e.Topic),
		slog.String("why", e.Why),
		slog.Int("keys", e.Keys),
		slog.Int64("bytes", e.Bytes),
		ms("took", e.Took),
	)
}

func (TableClosed) name() string { return "table_closed" }

// level is a warning where nobody has asked for the end.
func (e TableClosed) level() slog.Level {
	if e.Err != nil {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
func (e TableClosed) attrs() []slog.Attr {
	return present(slog.String("topic", e.Topic), errAttr("err", e.Err))
}
