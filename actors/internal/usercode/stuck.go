package usercode

// Handlers that stand still. Nothing is timed for each call: what the workers are at is
// noted at a steady pace, and who is at the same for too long is stuck.

import "time"

// StuckWatch knows what workers were at when it looked last. K identifies a worker
// and its call. The zero StuckWatch is ready; it is for one goroutine at a time.
type StuckWatch[K comparable] struct {
	seen map[K]*sighting
}

// sighting is a call that was under way.
type sighting struct {
	since time.Time     // seen first, or a sign of life
	due   time.Duration // how long it has to run to be told, the next time
}

// Stuck is a call that is to be told of.
type Stuck[K comparable] struct {
	Key     K
	Running time.Duration // at least
}

// Look takes what is under way at now, each with its last sign of life, which may be
// zero, and returns what has been under way for limit since it was seen first and since
// that sign; and again at each doubling of that.
func (w *StuckWatch[K]) Look(now time.Time, limit time.Duration, busy map[K]time.Time) (stuck []Stuck[K]) {
	if w.seen == nil {
		w.seen = make(map[K]*sighting)
	}
	for k := range w.seen {
		if _, still := busy[k]; !still {
			delete(w.seen, k)
		}
	}
	for k, alive := range busy {
		s := w.seen[k]
		if s == nil {
			s = &sighting{since: now, due: limit}
			w.seen[k] = s
		}
		if alive.After(s.since) {
			s.since, s.due = alive, limit
		}
		running := now.Sub(s.since)
		if running < s.due {
			continue
		}
		stuck = append(stuck, Stuck[K]{k, running})
		for s.due <= running {
			s.due *= 2
		}
	}
	return stuck
}

// AwaitLooking waits until over is closed, and looks meanwhile as often as calls want it
// that may run for limit. Without a limit it only waits.
func AwaitLooking(over <-chan struct{}, limit time.Duration, look func(now time.Time)) {
	if limit <= 0 {
		<-over
		return
	}
	pace := time.NewTicker(min(max(limit/4, 10*time.Millisecond), 5*time.Second))
	defer pace.Stop()
	for {
		select {
		case now := <-pace.C:
			look(now)
		case <-over:
			return
		}
	}
}
