package discovery

// Watching many prefixes of one runtime over few streams.
//
//	waiting ──due──▶ opening ──confirmed──▶ opened ──taken──▶ listing ──listed──▶ watched
//	   ▲                │                      │                 │                   │
//	   └────────────────┴──────────────────────┴─────────────────┴───────────────────┘
//	     after a pause: the stream ended, or etcd refused or is away
//	     at once: it is time to list again
//
// A stream for each of them would cost this process and etcd several goroutines and
// some 10 KiB, and a request every few seconds. Watches begin before the list for the
// reason that a Watch's first does.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/discovery/internal/stream"
)

// Watches follow prefixes that are small enough to hold in memory, as a Watch does
// each, all over the same streams. Each has a watch of its own there, so that nobody
// needs the right to read more than what is his, and nobody hears of what concerns
// others. Make them with NewWatches; they are safe for concurrent use.
//
// Nothing happens unless Run and List run. When these have ended and are run again,
// every prefix is listed again.
type Watches struct {
	client    *clientv3.Client
	cfg       WatchConfig
	laneTakes time.Duration
	bell      chan struct{} // holds at most one token, for List
	wake      chan struct{} // holds at most one token, for Run

	mu      sync.Mutex
	all     map[*watched]struct{}
	waiting []*watched // for Run to open them; some may have been stopped
	opened  []*watched // for List; as well
	ended   []placed   // watches that Run is to end
}

// watched is one prefix. The lock of its Watches guards it.
type watched struct {
	prefix, end string
	emit        func(WatchEvent)
	view        view
	at          watchedState
	failures    int
	notBefore   time.Time // to open it
	relist      time.Time // when to list it again in any case
	turn        int       // counts how often it waited: what was listed for an earlier turn is of no use
	placed      placed    // when opened
	refused     error     // why it was not, or what became of it before it was listed
	cluster     uint64    // that confirmed it, at a revision
	revision    int64
	early       []*etcdserverpb.WatchResponse // what was heard before it was listed
}

// placed is a watch of a stream.
type placed struct {
	lane *lane
	id   int64
}

type watchedState uint8

const (
	watchWaiting watchedState = iota
	watchOpening
	watchOpened
	watchListing
	watchStands
	watchStopped
)

// listedTogether is how many prefixes one request lists: less than the operations that
// etcd takes in one by default.
const listedTogether = 64

// Refused says that etcd does not let the prefix be watched, and that it is watched no
// more. It is an event of Watches.
type Refused struct {
	// Err wraps messages.ErrDenied or messages.ErrInvalid.
	Err error
}

func (Refused) watchEvent() {}

// NewWatches makes watches of a client, which must be of NewClient. Faults of cfg are
// returned by Run.
func NewWatches(client *clientv3.Client, cfg WatchConfig) *Watches {
	return &Watches{
		client: client, cfg: cfg.withDefaults(), laneTakes: laneTakes, all: make(map[*watched]struct{}),
		bell: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
}

// Watch has every key followed that begins with prefix, until stop is called. emit
// gets what Watch.Run emits, and Refused at the end if etcd does not allow it. It is
// called from Run and List, one call at a time for all prefixes: it must return at once
// and call nothing of these Watches. Neither Watch nor stop blocks for longer than an
// emit; after stop it is not called any more.
func (w *Watches) Watch(prefix string, emit func(WatchEvent)) (stop func()) {
	x := &watched{prefix: prefix, end: clientv3.GetPrefixRangeEnd(prefix), emit: emit}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[x] = struct{}{}
	w.await(x, time.Time{})
	return func() { w.stop(x) }
}

func (w *Watches) stop(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(x)
}

// forget ends x for good. mu is held.
func (w *Watches) forget(x *watched) {
	delete(w.all, x)
	w.leave(x)
	x.at, x.emit, x.view = watchStopped, nil, view{}
}

// leave has Run end the watch of x, if it has one. mu is held.
func (w *Watches) leave(x *watched) {
	if x.placed.lane != nil {
		w.ended = append(w.ended, x.placed)
		ring(w.wake)
	}
	x.placed, x.early = placed{}, nil
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// await has x opened and listed, unless it was stopped. mu is held.
func (w *Watches) await(x *watched, notBefore time.Time) {
	if x.at == watchStopped {
		return
	}
	w.leave(x)
	x.at, x.notBefore = watchWaiting, notBefore
	x.turn++
	w.waiting = append(w.waiting, x)
	ring(w.wake)
}

// failed has x opened and listed again after a pause. mu is held.
func (w *Watches) failed(x *watched, err error) {
	if x.at == watchStopped {
		return
	}
	wait := retry.Pause(x.failures)
	x.failures++
	x.emit(Delayed{Err: Classify("watch "+x.prefix+" at "+Where(w.client), err), Wait: wait})
	w.await(x, time.Now().Add(wait))
}

// lost: the watch of x has ended. A list that is under way is of use all the same. mu is
// held.
func (w *Watches) lost(x *watched, err error) {
	x.placed, x.early = placed{}, nil
	if x.at == watchOpened || x.at == watchListing {
		x.refused = err
		return
	}
	w.failed(x, err)
}

// List lists what is to be listed. It blocks until ctx ends and returns ctx's cause.
// Several may run at once, so that one slow reply holds up few.
func (w *Watches) List(ctx context.Context) error {
	for ctx.Err() == nil {
		if batch := w.take(); len(batch) > 0 {
			w.list(ctx, batch)
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.bell:
		}
	}
	return context.Cause(ctx)
}

// turn is a watched that is being listed.
type turn struct {
	*watched
	number int
}

// take returns some of what is to be listed.
func (w *Watches) take() (batch []turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.opened) > 0 && len(batch) < listedTogether {
		if x := w.opened[0]; x.at == watchOpened {
			x.at = watchListing
			batch = append(batch, turn{x, x.turn})
		}
		w.opened[0] = nil
		w.opened = w.opened[1:]
	}
	if len(w.opened) > 0 {
		ring(w.bell) // for another List
	} else {
		w.opened = nil
	}
	return batch
}

func (w *Watches) list(ctx context.Context, batch []turn) {
	if len(batch) > 1 && w.listTogether(ctx, batch) {
		return
	}
	for _, x := range batch {
		l, err := listRange(ctx, w.client, x.prefix, x.end, w.cfg.Page, w.cfg.Timeout)
		w.took(ctx, x, l, err)
	}
}

// listTogether lists by one request. It returns false when that was refused, for what
// may concern one of them alone.
func (w *Watches) listTogether(ctx context.Context, batch []turn) bool {
	ops := make([]clientv3.Op, len(batch))
	for i, x := range batch {
		ops[i] = clientv3.OpGet(x.prefix, clientv3.WithRange(x.end), clientv3.WithLimit(w.cfg.Page))
	}
	resp, err := Ask(ctx, w.cfg.Timeout, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return w.client.Txn(ctx).Then(ops...).Commit()
	})
	if err != nil && (Rejected(err) || OverLimit(err)) {
		return false
	}
	for i, x := range batch {
		if err != nil {
			w.took(ctx, x, listing{}, Classify("list "+x.prefix+" at "+Where(w.client), err))
			continue
		}
		found := resp.Responses[i].GetResponseRange()
		l := listing{cluster: resp.Header.ClusterId, revision: resp.Header.Revision}
		if found.More {
			l, err := listRange(ctx, w.client, x.prefix, x.end, w.cfg.Page, w.cfg.Timeout)
			w.took(ctx, x, l, err)
			continue
		}
		for _, kv := range found.Kvs {
			l.kvs = append(l.kvs, KVOf(kv))
		}
		w.took(ctx, x, l, nil)
	}
	return true
}

// took continues with what was listed, or why not.
func (w *Watches) took(ctx context.Context, x turn, l listing, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case x.at != watchListing || x.turn != x.number:
	case ctx.Err() != nil:
		w.await(x.watched, time.Time{}) // for the next Run
	case Hopeless(err):
		emit := x.emit
		w.forget(x.watched)
		emit(Refused{Err: Classify("watch "+x.prefix+" at "+Where(w.client), err)})
	case err != nil:
		w.failed(x.watched, err)
	case x.refused != nil:
		for _, ev := range x.view.relist(l) {
			x.emit(ev)
		}
		w.failed(x.watched, x.refused)
	case l.cluster != x.cluster || l.revision < x.revision:
		w.failed(x.watched, fmt.Errorf("etcd was replaced: cluster %x at revision %d, was %x at %d", l.cluster, l.revision, x.cluster, x.revision))
	default:
		w.stands(x.watched, l)
	}
}

// stands begins to tell changes: what was heard meanwhile is taken in after the list.
// mu is held.
func (w *Watches) stands(x *watched, l listing) {
	for _, ev := range x.view.relist(l) {
		x.emit(ev)
	}
	x.view.opened = x.revision
	x.at, x.relist = watchStands, time.Now().Add(time.Duration(float64(w.cfg.Relist)*(2+2*rand.Float64())/3))
	early := x.early
	x.early = nil
	for _, resp := range early {
		if x.at == watchStands {
			w.changed(x, resp)
		}
	}
}

// changed takes in what was heard of x. mu is held.
func (w *Watches) changed(x *watched, resp *etcdserverpb.WatchResponse) {
	said, err := x.view.heard(resp.GetHeader().GetClusterId(), resp.GetHeader().GetRevision(), resp.Events)
	if err != nil {
		w.failed(x, err)
		return
	}
	x.failures = 0
	for _, ev := range said {
		x.emit(ev)
	}
}

// Run keeps the watches. It blocks until ctx ends and returns ctx's cause. While etcd
// is away it keeps trying. It ends early only with an error that wraps
// messages.ErrInvalid, for its configuration. One Run at a time.
func (w *Watches) Run(ctx context.Context) error {
	if err := w.cfg.Validate(); err != nil {
		return err
	}
	r := &lanes{w: w, ctx: ctx, heard: make(chan stream.Said), all: make(map[*stream.Shared]*lane)}
	defer r.close()
	beat := time.NewTicker(w.cfg.Progress)
	defer beat.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.wake:
			w.mu.Lock()
			due.Reset(r.sync(time.Now()))
		case now := <-due.C:
			w.mu.Lock()
			due.Reset(r.sync(now))
		case said := <-r.heard:
			w.mu.Lock()
			r.hear(said)
		case now := <-beat.C:
			w.mu.Lock()
			r.beat(now)
		}
		w.mu.Unlock()
	}
}
