package keeper

// The job that compacts etcd's history, where a user has asked for that: etcd keeps each
// value that was overwritten or deleted until somebody does.

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/messages"
)

const (
	// LeastHistory is the least that is kept of etcd's history: watches that were cut may
	// still need it.
	LeastHistory = 5 * time.Minute
	// historyEvery is how often the revision is noted, and the history compacted.
	historyEvery = 30 * time.Second
	// historyDenied is after how long it is tried again where etcd has refused it.
	historyDenied = time.Hour
)

// history is one term's: it compacts nothing before it has seen for keep which revision
// was when, by a time that is never set.
type history struct {
	keep time.Duration
	now  func() time.Time // nil for time.Now
	seen []revisionSeen   // the oldest first
}

type revisionSeen struct {
	revision int64
	at       time.Time
}

// Name is "history".
func (*history) Name() string { return "history" }

// Do notes the revision, and compacts up to the newest that is old enough. Without the
// right to, which takes a role of root, it says so once.
func (h *history) Do(ctx context.Context, w *Work) (time.Duration, error) {
	revision, err := w.Log.Revision(ctx)
	if err != nil {
		return 0, err
	}
	upTo := h.sees(revision, h.clock())
	if upTo == 0 {
		return historyEvery, nil
	}
	if err := w.Turn(ctx); err != nil {
		return 0, err
	}
	switch err := w.Log.Compact(ctx, w.Office, upTo); {
	case errors.Is(err, messages.ErrDenied):
		w.Emit(messages.KeeperRefused{Job: h.Name(), Err: err})
		return historyDenied, nil
	case err != nil:
		return 0, err
	}
	w.Count(func(s *messages.KeeperStats) { s.Compactions++ })
	w.Emit(messages.HistoryCompacted{Revision: upTo})
	return historyEvery, nil
}

func (h *history) clock() time.Time {
	if h.now != nil {
		return h.now()
	}
	return time.Now()
}

// sees takes in a revision, and returns the newest that was seen at least keep ago; 0 for
// none. What is older is forgotten.
func (h *history) sees(revision int64, now time.Time) (upTo int64) {
	if n := len(h.seen); n > 0 && revision < h.seen[n-1].revision {
		h.seen = nil // etcd was set back
	}
	h.seen = append(h.seen, revisionSeen{revision, now})
	for len(h.seen) > 0 && now.Sub(h.seen[0].at) >= h.keep {
		upTo = h.seen[0].revision
		h.seen = h.seen[1:]
	}
	return upTo
}
