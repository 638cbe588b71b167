package registry

// Hearing of changes: one watch on each collection that has a kept key in it,
// however many there are. Who may not read a whole collection has a watch on
// each of its keys there instead, up to ownWatches.

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// watches are the watches on the kept keys, all on one stream.
type watches struct {
	registry *Registry
	stream   *stream.Stream   // nil while there is nothing to watch
	whole    map[string]watch // by prefix; they stay as long as the tail
	own      map[string]watch // by key, where denied
	denied   map[string]struct{}
}

type watch struct {
	changes clientv3.WatchChan
	cancel  context.CancelFunc
}

// ownWatches is how many keys can have a watch of their own. The others are put
// back by the audits.
const ownWatches = 1000

// streamLife is how long one stream of watches is used.
const streamLife = 10 * time.Minute

func (p *watches) close() {
	if p.stream != nil {
		p.stream.Close()
	}
	p.stream, p.whole, p.own, p.denied = nil, nil, nil, nil
}

// stand watches, and looks at what there is news of, until everything must be
// looked at again, and returns nil then. The health says whether a watch
// spoke.
func (p *watches) stand(ctx context.Context, emit func(Event)) (stream.Health, error) {
	r := p.registry
	audit := time.NewTimer(r.cfg.Audit)
	defer audit.Stop()
	beat := time.NewTicker(r.cfg.Progress)
	defer beat.Stop()
	state := stream.Ailing
	for {
		if all, keys := r.due(); all {
			return state, nil
		} else if len(keys) > 0 {
			if err := r.look(ctx, keys, emit); err != nil {
				return state, err
			}
			if p.stream != nil {
				p.stream.NotListened() // nobody listened meanwhile
			}
			continue
		}
		if err := p.sync(ctx); err != nil {
			return state, err
		}
		cases, places := p.cases(ctx, audit.C, beat.C)
		chosen, value, open := reflect.Select(cases)
		switch chosen {
		case 0:
			return state, context.Cause(ctx)
		case 1:
			// What there is to watch changed, or due tells more.
		case 2:
			return state, nil
		case 3:
			r.lookAgain()
			if p.stream != nil {
				if err := p.stream.Beat(); err != nil {
					return state, p.ended(err)
				}
			}
		default:
			var resp clientv3.WatchResponse
			if open {
				resp = value.Interface().(clientv3.WatchResponse)
			}
			if err := p.stream.Received(resp, open); err != nil {
				return state, p.ended(fmt.Errorf("watch %s: %w", places[chosen], err))
			}
			state = stream.Healthy
			r.heard(resp.Events)
		}
	}
}

// cases are what stand waits for, and where each of them is.
func (p *watches) cases(ctx context.Context, audit, beat <-chan time.Time) (cases []reflect.SelectCase, places []string) {
	add := func(place string, c reflect.Value) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: c})
		places = append(places, place)
	}
	add("", reflect.ValueOf(ctx.Done()))
	add("", reflect.ValueOf(p.registry.wake))
	add("", reflect.ValueOf(audit))
	add("", reflect.ValueOf(beat))
	for prefix, w := range p.whole {
		add(prefix, reflect.ValueOf(w.changes))
	}
	for key, w := range p.own {
		add(key, reflect.ValueOf(w.changes))
	}
	return cases, places
}

// ended is nil when the stream only lived its time; it is gone in any case.
func (p *watches) ended(err error) error {
	if p.stream.Expired() {
		err = nil
	}
	p.close()
	return err
}

// sync begins the watches that are missing. A watch on a collection stays when
// its last key goes: another may come.
func (p *watches) sync(ctx context.Context) error {
	r := p.registry
	for _, g := range r.inhabited() {
		if _, there := p.whole[g.prefix]; there {
			continue
		}
		if _, there := p.denied[g.prefix]; there {
			continue
		}
		if err := p.open(ctx); err != nil {
			return err
		}
		switch err := r.mayWatch(ctx, g.prefix); {
		case errors.Is(err, messages.ErrDenied):
			p.denied[g.prefix] = struct{}{}
		case err != nil:
			return err
		default:
			w, err := p.begin(g.prefix, g.from, clientv3.WithPrefix())
			if err != nil {
				return err
			}
			p.whole[g.prefix] = w
		}
	}
	if len(p.denied) == 0 {
		return nil
	}
	return p.syncOwn(ctx)
}

// syncOwn has a watch on each key of the collections that are denied.
func (p *watches) syncOwn(ctx context.Context) error {
	from := p.registry.within(p.denied)
	for key, w := range p.own {
		if _, wanted := from[key]; !wanted {
			defer w.cancel() // when others have begun: see below
			delete(p.own, key)
		}
	}
	for key, rev := range from {
		if _, there := p.own[key]; !there && len(p.own) < ownWatches {
			w, err := p.begin(key, rev)
			if err != nil {
				return err
			}
			p.own[key] = w
		}
	}
	if len(p.own)+len(p.whole) == 0 {
		// etcd's client ends a stream that has no watch left, and this one may
		// not open another.
		p.close()
	}
	return nil
}

func (p *watches) open(ctx context.Context) error {
	if p.stream != nil {
		return nil
	}
	t, err := stream.Open(ctx, p.registry.client, p.registry.cfg.Progress, streamLife)
	if err != nil {
		return err
	}
	p.stream, p.whole, p.own, p.denied = t, map[string]watch{}, map[string]watch{}, map[string]struct{}{}
	return nil
}

func (p *watches) begin(at string, from int64, opts ...clientv3.OpOption) (watch, error) {
	ctx, cancel := context.WithCancel(p.stream.Context())
	changes, err := p.stream.Watch(ctx, p.registry.cfg.Timeout, at, from, opts...)
	if err != nil {
		cancel()
		return watch{}, fmt.Errorf("watch %s: %w", at, err)
	}
	return watch{changes: changes, cancel: cancel}, nil
}

// mayWatch asks whether a prefix may be read as a whole, which etcd's client
// does not tell of a watch that was turned away.
func (r *Registry) mayWatch(ctx context.Context, prefix string) error {
	_, err := discovery.Ask(ctx, r.cfg.Timeout, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return r.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	})
	return discovery.Classify("watch "+prefix, err)
}

// inhabited are the collections with keys that were looked at. A leased key
// without a lease is not there, and was last seen too long ago to watch from.
func (r *Registry) inhabited() []collection {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []collection
	for _, g := range r.coverage {
		if g.keys > 0 && g.from > 0 {
			out = append(out, *g)
		}
	}
	return out
}

// within returns the kept keys of some collections, and from which revision on
// each is to be watched.
func (r *Registry) within(prefixes map[string]struct{}) map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int64{}
	for key, k := range r.kept {
		if k.Leased && r.lease == 0 {
			continue
		}
		if g := r.coverage.of(key); g == nil {
			continue
		} else if _, there := prefixes[g.prefix]; there {
			out[key] = k.known
		}
	}
	return out
}

// heard takes note of the keys that events bring news of.
func (r *Registry) heard(events []*clientv3.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		rev := ev.Kv.ModRevision
		if newest, there := r.writing[string(ev.Kv.Key)]; there {
			// Its own write, or news: the Put tells, once it knows.
			r.writing[string(ev.Kv.Key)] = max(newest, rev)
			continue
		}
		if k := r.kept[string(ev.Kv.Key)]; k != nil {
			if rev > k.known {
				r.todo.add(k.Key)
			}
			continue
		}
		if _, there := r.stray[string(ev.Kv.Key)]; there && ev.Type == clientv3.EventTypePut {
			r.todo.add(string(ev.Kv.Key))
		}
	}
}
