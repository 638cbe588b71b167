package discovery

// Following a prefix that is too large to list or to hold: a log.
//
//	watch from now ──▶ (cut, cancelled, no leader, silent, or old) ──▶ pause ──▶ watch from now
//
// What changes in between is for the listener to look up; Opened tells it when.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/discovery/internal/stream"
)

// FollowEvent is one of Opened, Heard, Delayed.
type FollowEvent interface{ followEvent() }

// Opened says that every change after Revision will be heard. Whatever was
// missed before is seen by a linearizable read made now.
type Opened struct {
	Revision int64
	// Cluster is etcd's cluster id: another one than before means that etcd was
	// replaced. So does a smaller Revision.
	Cluster uint64
}

// Heard is what happened, in order. Apply Deletes first, then Puts: a key may
// be among both, or several times among the puts. It may cover several
// revisions, and one revision may be spread over several.
type Heard struct {
	Puts    []KV
	Deletes []string
}

func (Opened) followEvent()  {}
func (Heard) followEvent()   {}
func (Delayed) followEvent() {}

// Follow hears what happens under a prefix from now on, and neither lists it nor
// remembers any of it. Make it with NewFollow.
type Follow struct {
	client *clientv3.Client
	prefix string
	cfg    WatchConfig
}

// NewFollow makes a follower of every key that begins with prefix; client must
// be of NewClient. cfg's Relist is after how long the watch is opened again in
// any case; its Page is not used. Faults of cfg are returned by Run.
func NewFollow(client *clientv3.Client, prefix string, cfg WatchConfig) *Follow {
	return &Follow{client: client, prefix: prefix, cfg: cfg.withDefaults()}
}

// Run emits Opened each time that its watch is established, and a Heard for
// what happens while it stands. It never asks etcd for an old revision: after a
// cut there is a gap, and then Opened.
//
// It blocks until ctx ends and returns ctx's cause. While etcd is away it keeps
// trying. It ends early with an error that wraps messages.ErrDenied or
// messages.ErrInvalid. emit must return soon: what etcd sends meanwhile is held
// in memory. One Follow may Run several times at once.
func (f *Follow) Run(ctx context.Context, emit func(FollowEvent)) error {
	if err := f.cfg.Validate(); err != nil {
		return err
	}
	from := fromNow
	for failures := 0; ; {
		health, err := f.round(ctx, from, emit)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if health == stream.Healthy {
			failures = 0
		}
		if err == nil {
			continue
		}
		switch {
		case errors.Is(err, stream.ErrSilent), errors.Is(err, errNotOpened):
			from = fromKnown
		case errors.Is(err, rpctypes.ErrCompacted):
			from = fromNow
		}
		if err = Classify("watch "+f.prefix+" at "+Where(f.client), err); Hopeless(err) {
			return err
		}
		wait := retry.Pause(failures)
		failures++
		emit(Delayed{Err: err, Wait: wait})
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// from says how a round finds where to begin.
type from uint8

const (
	// fromNow leaves it to etcd, which begins at once, and at a revision that
	// nobody can compact. But etcd before 3.7 reports no progress then until
	// something is written, so that on a quiet one the watch seems dead.
	fromNow from = iota
	// fromKnown asks for the revision and watches from there. Where others
	// compact all the time it may be gone before etcd gets to it.
	fromKnown
)

// errNotOpened: etcd refused a watch. Its client hands on the reason as text, so
// that a missing permission is recognized only when something else is asked.
var errNotOpened = errors.New("the watch was not opened")

// round watches from one Opened until something is odd. It returns nil when it is
// only time to open again.
func (f *Follow) round(ctx context.Context, from from, emit func(FollowEvent)) (stream.Health, error) {
	var rev int64
	if from == fromKnown {
		resp, err := get(ctx, f.client, f.prefix, f.cfg.Timeout, clientv3.WithKeysOnly())
		if err != nil {
			return stream.Ailing, err
		}
		rev = resp.Header.Revision
	}
	life := time.Duration(float64(f.cfg.Relist) * (2 + 2*rand.Float64()) / 3)
	t, err := stream.Open(ctx, f.client, f.cfg.Progress, life)
	if err != nil {
		return stream.Ailing, err
	}
	defer t.Close()
	health, err := f.hear(t, rev, emit)
	if t.Expired() {
		err = nil
	}
	return health, err
}

// hear watches from rev, or from now where it is 0.
func (f *Follow) hear(t *stream.Stream, rev int64, emit func(FollowEvent)) (stream.Health, error) {
	state := stream.Ailing
	var opened Opened
	changes, err := t.Watch(t.Context(), f.cfg.Timeout, f.prefix, rev, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if err != nil {
		return state, fmt.Errorf("%w: %w", errNotOpened, err)
	}
	beat := time.NewTicker(t.Every())
	defer beat.Stop()
	for {
		select {
		case resp, open := <-changes:
			if err := t.Received(resp, open); err != nil {
				if opened.Revision == 0 {
					err = fmt.Errorf("%w: %w", errNotOpened, err)
				}
				return state, err
			}
			if opened.Revision == 0 {
				// etcd begins after what it was at, unless it was told where.
				opened = Opened{Revision: resp.Header.Revision, Cluster: resp.Header.ClusterId}
				if rev != 0 {
					opened.Revision = rev
				}
				emit(opened)
			} else if resp.Header.ClusterId != opened.Cluster || resp.IsProgressNotify() && resp.Header.Revision < opened.Revision {
				return state, fmt.Errorf("etcd was replaced: cluster %x at revision %d, was %x at %d", resp.Header.ClusterId, resp.Header.Revision, opened.Cluster, opened.Revision)
			}
			if !resp.Created {
				state = stream.Healthy
			}
			for _, ev := range changed(resp.Events, opened.Revision) {
				emit(ev)
			}
		case <-beat.C:
			if err := t.Beat(); err != nil {
				return state, err
			}
		}
	}
}

// changed turns events into runs of deletes and then puts, without those up to
// and with revision after.
func changed(events []*clientv3.Event, after int64) []Heard {
	var out []Heard
	var c Heard
	flush := func() {
		if len(c.Puts)+len(c.Deletes) > 0 {
			out = append(out, c)
		}
		c = Heard{}
	}
	for _, ev := range events {
		switch {
		case ev.Kv.ModRevision <= after:
		case ev.Type == clientv3.EventTypeDelete:
			if len(c.Puts) > 0 {
				flush()
			}
			c.Deletes = append(c.Deletes, string(ev.Kv.Key))
		default:
			c.Puts = append(c.Puts, KVOf(ev.Kv))
		}
	}
	flush()
	return out
}
