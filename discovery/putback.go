package discovery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keeping: read all keys, set right what is not, watch each of them until one
// changes, and again. Each key has a watch of its own, because what lies
// between two of them may be a log.

// Run keeps the keys. It blocks until ctx ends and answers ctx's cause; the
// keys stay, and end with their lease. While etcd is away, or denies the
// rights, it goes on trying. It ends early only with an error that wraps
// messages.ErrInvalid, for its configuration. One Run at a time.
func (r *Registry) Run(ctx context.Context, emit func(RegistryEvent)) error {
	if err := r.cfg.Validate(); err != nil {
		return err
	}
	p := &posts{registry: r}
	defer p.close()
	for failures := 0; ; {
		revision, err := r.reconcile(ctx, emit)
		if err == nil {
			failures = 0
			err = p.stand(ctx, revision)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		p.close()
		wait := pause(failures)
		failures++
		emit(Delayed{Err: Classify("keep registrations at "+Where(r.client), err), Wait: wait})
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// reconcile reads every kept key, sets right what it can, and answers the
// revision of the first read: whatever happens to a key after it, the watch
// must see.
func (r *Registry) reconcile(ctx context.Context, emit func(RegistryEvent)) (int64, error) {
	var events []RegistryEvent
	defer func() {
		for _, ev := range events {
			emit(ev)
		}
	}()
	if err := r.take(ctx); err != nil {
		return 0, err
	}
	defer r.give()
	// Each request is bounded by itself; together they may take longer.
	var first int64
	for wants := range slices.Chunk(r.wants(), MaxBatch) {
		revision, err := r.setRight(ctx, wants, &events)
		if err != nil {
			r.mu.Lock()
			r.dirty = true
			r.mu.Unlock()
			return 0, err
		}
		if first == 0 {
			first = revision
		}
	}
	return first, nil
}

// wants are the kept keys, and the strays as unwanted ones.
func (r *Registry) wants() []want {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty = false
	var out []want
	for _, k := range r.kept {
		if k.Leased && r.lease == 0 {
			continue // the session is about to bring one, and wake us
		}
		out = append(out, want{Entry: k.Entry, lease: r.lease, was: k.was})
	}
	for key := range r.stray {
		out = append(out, want{Entry: Entry{Key: key, Leased: true}, gone: true})
	}
	return out
}

// setRight reads some keys and writes what is not as it should be: what has no
// guard in one transaction, the others one by one, so that none of them stands
// in another's way.
func (r *Registry) setRight(ctx context.Context, wants []want, events *[]RegistryEvent) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*r.cfg.Timeout)
	defer cancel()
	views, revision, err := r.observe(ctx, wants)
	if err != nil {
		return 0, err
	}
	leases := r.ownLeases()
	var plain, single []int
	for i, w := range wants {
		switch v := decide(w, views[i], leases); {
		case v == settled:
			r.settle(w, views[i].kv)
		case v == taken:
			if r.complain(w.Key, views[i].kv.ModRevision) {
				*events = append(*events, Conflict{Key: w.Key, Holder: views[i].kv})
			}
		case v == create && len(w.Guard) > 0:
			single = append(single, i)
		default:
			plain = append(plain, i)
		}
	}
	batches := [][]int{plain}
	for _, i := range single {
		batches = append(batches, []int{i})
	}
	for _, batch := range batches {
		if err := r.write(ctx, batch, wants, views, events); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

// observe reads keys as they are now.
func (r *Registry) observe(ctx context.Context, wants []want) ([]seen, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	gets := make([]clientv3.Op, len(wants))
	for i, w := range wants {
		gets[i] = clientv3.OpGet(w.Key)
	}
	resp, err := r.client.Txn(ctx).Then(gets...).Commit()
	if refused(err) {
		resp, err = r.client.Txn(ctx).Then(gets...).Commit()
	}
	if err != nil {
		return nil, 0, err
	}
	return readBack(resp, wants), resp.Header.Revision, nil
}

// write carries out what some wants ask for.
func (r *Registry) write(ctx context.Context, batch []int, all []want, views []seen, events *[]RegistryEvent) error {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	wants, before := make([]want, len(batch)), make([]seen, len(batch))
	for n, i := range batch {
		wants[n], before[n] = all[i], views[i]
	}
	after, err := r.converge(ctx, wants, before)
	var conflict *TakenError
	switch {
	case err == nil:
	case errors.Is(err, ErrGuard):
		if r.complainGuard(wants[0].Key) {
			*events = append(*events, Refused{Key: wants[0].Key, Err: err})
		}
		return nil
	case errors.As(err, &conflict):
		// Somebody was faster between the read and the write. The next look
		// sorts the others out.
		if r.complain(conflict.Key, conflict.Holder.ModRevision) {
			*events = append(*events, Conflict{Key: conflict.Key, Holder: conflict.Holder})
		}
		r.mu.Lock()
		r.dirty = true
		r.mu.Unlock()
		r.nudge()
		return nil
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		r.leaseGone(wants[0].lease)
		return err
	default:
		return err
	}
	for n, w := range wants {
		if !w.gone {
			*events = append(*events, PutBack{Key: w.Key, Why: r.why(w, before[n])})
		}
		r.settle(w, after[n])
	}
	return nil
}

// why says what had happened to a key that was found so.
func (r *Registry) why(w want, found seen) Why {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[w.Key]
	switch {
	case w.Leased && k != nil && k.last.Lease != w.lease:
		return NewLease
	case found.absent():
		return Deleted
	default:
		return Changed
	}
}

// settle notes that a key is as it should be.
func (r *Registry) settle(w want, kv KV) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.gone {
		if s, there := r.stray[w.Key]; there && time.Since(s.since) > strayFor {
			delete(r.stray, w.Key)
		}
		return
	}
	if k := r.kept[w.Key]; k != nil {
		k.last, k.conflict, k.refused = kv, 0, false
	}
}

// complain tells whether a holder of a kept key is a new one.
func (r *Registry) complain(key string, holder int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[key]
	if k == nil || k.conflict == holder {
		return false
	}
	k.conflict = holder
	return true
}

func (r *Registry) complainGuard(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[key]
	if k == nil || k.refused {
		return false
	}
	k.refused = true
	return true
}

// posts are the watches on the kept keys, all on one stream.
type posts struct {
	registry *Registry
	tail     *tail // nil while there is nothing to watch
	watched  map[string]post
}

type post struct {
	changes clientv3.WatchChan
	from    int64 // events up to it were known
	cancel  context.CancelFunc
}

func (p *posts) close() {
	if p.tail != nil {
		p.tail.close()
	}
	p.tail, p.watched = nil, nil
}

// postsLife is how long one stream of watches is used.
const postsLife = 10 * time.Minute

// stand watches until the keys must be looked at again, and answers nil then.
// revision is that of the last look.
func (p *posts) stand(ctx context.Context, revision int64) error {
	r := p.registry
	audit := time.NewTimer(r.cfg.Audit)
	defer audit.Stop()
	beat := time.NewTicker(r.cfg.Progress)
	defer beat.Stop()
	for {
		if err := p.sync(ctx, revision); err != nil {
			return err
		}
		if r.isDirty() {
			return nil
		}
		const fixed = 4
		cases := []reflect.SelectCase{
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(r.wake)},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(audit.C)},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(beat.C)},
		}
		keys := make([]string, 0, len(p.watched))
		for key, post := range p.watched {
			keys = append(keys, key)
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(post.changes)})
		}
		chosen, value, open := reflect.Select(cases)
		switch chosen {
		case 0:
			return context.Cause(ctx)
		case 1:
			// The set of keys changed, or isDirty tells more.
		case 2:
			return nil
		case 3:
			if p.tail != nil {
				if err := p.tail.beat(); err != nil {
					return p.ended(err)
				}
			}
		default:
			var resp clientv3.WatchResponse
			if open {
				resp = value.Interface().(clientv3.WatchResponse)
			}
			key := keys[chosen-fixed]
			if err := p.tail.took(resp, open); err != nil {
				return p.ended(fmt.Errorf("watch %s: %w", key, err))
			}
			if r.moved(key, p.watched[key].from, resp.Events) {
				return nil
			}
		}
	}
}

// ended is nil when the stream only lived its time; it is gone in any case.
func (p *posts) ended(err error) error {
	if p.tail.expired() {
		err = nil
	}
	p.close()
	return err
}

// sync has a watch on each kept key and on no other.
func (p *posts) sync(ctx context.Context, revision int64) error {
	r := p.registry
	from := r.places(revision)
	for key, post := range p.watched {
		if _, kept := from[key]; !kept {
			post.cancel()
			delete(p.watched, key)
		}
	}
	if len(from) == 0 {
		p.close()
		return nil
	}
	if p.tail == nil {
		t, err := openTail(ctx, r.client, r.cfg.Progress, postsLife)
		if err != nil {
			return err
		}
		p.tail, p.watched = t, map[string]post{}
	}
	for key, rev := range from {
		if _, there := p.watched[key]; there {
			continue
		}
		ctx, cancel := context.WithCancel(p.tail.ctx)
		p.watched[key] = post{changes: p.tail.watch(ctx, key, rev), from: rev, cancel: cancel}
	}
	return nil
}

// places says from which revision on each kept key is to be watched. A leased
// key without a lease is not there, and was last seen too long ago to watch
// from.
func (r *Registry) places(revision int64) map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int64, len(r.kept))
	for key, k := range r.kept {
		if k.Leased && r.lease == 0 {
			continue
		}
		if from := max(revision, k.last.ModRevision); from > 0 {
			out[key] = from
		}
	}
	return out
}

// moved tells whether events say that a key is not as it was last seen.
func (r *Registry) moved(key string, from int64, events []*clientv3.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[key]
	if k == nil {
		return false
	}
	return slices.ContainsFunc(events, func(ev *clientv3.Event) bool {
		return ev.Kv.ModRevision > max(from, k.last.ModRevision)
	})
}

func (r *Registry) isDirty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dirty
}
