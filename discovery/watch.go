package discovery

// Following a prefix: list, watch from there, and when anything is odd list
// again and tell the difference.
//
//	watch from now ──▶ list ──┐
//	      └──(not opened)──▶ list ──▶ watch ──▶ (cut, cancelled, compacted, no leader, silent) ──▶ pause ──▶ list
//	                                    └─────▶ (every few minutes, to be sure) ──────────────────────────▶ list
//
// etcd serves a watch from a revision that it has passed ten times a second, and one
// from now at once. So the first watch is opened before the list, for whoever waits to
// see what it is about to write. Later ones are not: etcd before 3.7 reports no progress
// to a watch from now until something is written, and a watch without it seems dead.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// WatchConfig says how a Watch follows its prefix. The zero value is good.
type WatchConfig struct {
	// Progress is how often etcd is asked for a sign of life; 5 s by default.
	// After three without one the prefix is listed again.
	Progress time.Duration
	// Relist is after how long the prefix is listed again in any case, more or
	// less a third; 7.5 min by default.
	Relist time.Duration
	// Page is how many keys a request of a list asks for; 500 by default.
	Page int64
	// Timeout bounds each request of a list, and how long etcd may take to open a
	// watch; 5 s by default.
	Timeout time.Duration
}

func (c WatchConfig) withDefaults() WatchConfig {
	if c.Progress == 0 {
		c.Progress = 5 * time.Second
	}
	if c.Relist == 0 {
		c.Relist = 450 * time.Second
	}
	if c.Page == 0 {
		c.Page = defaultPage
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}

// Validate returns all faults at once; each wraps messages.ErrInvalid.
func (c WatchConfig) Validate() error {
	c = c.withDefaults()
	var faults []error
	if c.Progress < 0 || c.Relist < 0 || c.Page < 0 || c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("%w: a setting of the watch is negative: %+v", messages.ErrInvalid, c))
	}
	if c.Relist < c.Progress {
		faults = append(faults, fmt.Errorf("%w: watch: Relist %v is shorter than Progress %v", messages.ErrInvalid, c.Relist, c.Progress))
	}
	return errors.Join(faults...)
}

// Watch follows a prefix that is small enough to hold in memory. Make it with
// NewWatch.
type Watch struct {
	client *clientv3.Client
	prefix string
	end    string // of the range; "" for a single key
	cfg    WatchConfig
}

// NewWatch makes a watch of every key that begins with prefix. Faults of cfg
// are returned by Run.
func NewWatch(client *clientv3.Client, prefix string, cfg WatchConfig) *Watch {
	return &Watch{client: client, prefix: prefix, end: clientv3.GetPrefixRangeEnd(prefix), cfg: cfg.withDefaults()}
}

// NewKeyWatch makes a watch of one key. It needs the right to read that key and no
// other.
func NewKeyWatch(client *clientv3.Client, key string, cfg WatchConfig) *Watch {
	return &Watch{client: client, prefix: key, cfg: cfg.withDefaults()}
}

// Run emits a Snapshot, and then a Delta for each change, in order and without
// gaps: whatever happens to the connection, applying the events in turn gives
// what etcd has, sooner or later. Deletes that were missed are made up from the
// difference. When etcd was wiped or replaced, the keys that are gone are
// deleted, and a Snapshot with Reset follows.
//
// It blocks until ctx ends and returns ctx's cause. While etcd is away it keeps
// trying. It ends early with an error that wraps messages.ErrDenied or
// messages.ErrInvalid. emit must return soon: what etcd sends meanwhile is
// held in memory. One Watch may Run several times at once; each keeps a copy of its own.
func (w *Watch) Run(ctx context.Context, emit func(WatchEvent)) error {
	if err := w.cfg.Validate(); err != nil {
		return err
	}
	var v view
	round := w.first
	for failures := 0; ; {
		health, err := round(ctx, &v, emit)
		round = w.round
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			failures = 0
			continue
		}
		if err = Classify("watch "+w.prefix+" at "+Where(w.client), err); Hopeless(err) {
			return err
		}
		if health == stream.Healthy {
			failures = 0
		}
		wait := retry.Pause(failures)
		failures++
		emit(Delayed{Err: err, Wait: wait})
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// first watches from now, lists, and follows until something is odd. It returns nil
// also when it heard nothing but the list: the round that comes next finds out why.
func (w *Watch) first(ctx context.Context, v *view, emit func(WatchEvent)) (stream.Health, error) {
	t, err := w.open(ctx)
	if err != nil {
		return stream.Ailing, nil //nolint:nilerr // see above
	}
	defer t.Close()
	changes, opened, err := t.WatchFromNow(w.cfg.Timeout, w.prefix, w.ranged()...)
	if err != nil {
		return stream.Ailing, nil //nolint:nilerr // see above
	}
	l, err := listRange(ctx, w.client, w.prefix, w.end, w.cfg.Page, w.cfg.Timeout)
	if err != nil || l.cluster != opened.Header.ClusterId || l.revision < opened.Header.Revision {
		return stream.Ailing, nil //nolint:nilerr // see above
	}
	for _, ev := range v.relist(l) {
		emit(ev)
	}
	v.opened = opened.Header.Revision
	health, err := w.follow(t, changes, v, emit)
	if health == stream.Ailing || t.Expired() {
		err = nil
	}
	return health, err
}

// round lists, and follows from there until something is odd. It returns nil
// when it is only time to list again.
func (w *Watch) round(ctx context.Context, v *view, emit func(WatchEvent)) (stream.Health, error) {
	l, err := listRange(ctx, w.client, w.prefix, w.end, w.cfg.Page, w.cfg.Timeout)
	if err != nil {
		return stream.Ailing, err
	}
	for _, ev := range v.relist(l) {
		emit(ev)
	}
	t, err := w.open(ctx)
	if err != nil {
		return stream.Ailing, err
	}
	defer t.Close()
	changes, err := t.Watch(t.Context(), w.cfg.Timeout, w.prefix, v.revision, w.ranged()...)
	if err != nil {
		return stream.Ailing, err
	}
	health, err := w.follow(t, changes, v, emit)
	if t.Expired() {
		err = nil
	}
	return health, err
}

// open opens a stream, for as long as until the next list.
func (w *Watch) open(ctx context.Context) (*stream.Stream, error) {
	life := time.Duration(float64(w.cfg.Relist) * (2 + 2*rand.Float64()) / 3)
	return stream.Open(ctx, w.client, w.cfg.Progress, life)
}

// ranged says how far what is watched goes.
func (w *Watch) ranged() []clientv3.OpOption {
	if w.end == "" {
		return nil
	}
	return []clientv3.OpOption{clientv3.WithRange(w.end)}
}

func (w *Watch) follow(t *stream.Stream, changes clientv3.WatchChan, v *view, emit func(WatchEvent)) (stream.Health, error) {
	state := stream.Ailing
	beat := time.NewTicker(t.Every())
	defer beat.Stop()
	for {
		select {
		case resp, open := <-changes:
			if err := t.Received(resp, open); err != nil {
				return state, err
			}
			state = stream.Healthy
			events, err := v.heard(resp.Header.ClusterId, resp.Header.Revision, resp.Events)
			if err != nil {
				return state, err
			}
			for _, ev := range events {
				emit(ev)
			}
		case <-beat.C:
			if err := t.Beat(); err != nil {
				return state, err
			}
		}
	}
}
