package registry

// Keeping: look at all keys and set right what is not, then watch them, and
// look again at those of which there is news. What the watches are is in
// watches.go.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// Run keeps the keys. It blocks until ctx ends and returns ctx's cause; the
// keys stay, and end with their lease. While etcd is away, or denies the
// rights, it keeps trying. It ends early only with an error that wraps
// messages.ErrInvalid, for its configuration. One Run at a time.
//
// It reads all keys when it begins, when its watch broke, for a new lease and
// at each audit, and then asks what else its lease holds; else it reads only
// those that changed.
func (r *Registry) Run(ctx context.Context, emit func(Event)) error {
	if err := r.cfg.Validate(); err != nil {
		return err
	}
	p := &watches{registry: r}
	defer p.close()
	for failures := 0; ; {
		if err := r.revive(ctx); err != nil && ctx.Err() == nil { // at the next audit, then
			emit(Delayed{Err: discovery.Classify("look for what stands under the lease of "+discovery.Where(r.client), err)})
		}
		err := r.look(ctx, r.everything(), emit)
		if err == nil {
			var state stream.Health
			if state, err = p.stand(ctx, emit); err == nil || state == stream.Healthy {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		p.close()
		wait := retry.Pause(failures)
		failures++
		r.mu.Lock()
		r.delays++
		r.mu.Unlock()
		emit(Delayed{Err: discovery.Classify("keep registrations at "+discovery.Where(r.client), err), Wait: wait})
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// revive finds the keys that were removed and are there again: an etcd that was
// restored from a backup has them, and while this process lives their lease does
// not end.
func (r *Registry) revive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	// Whoever writes has the turn: what stands there now is kept, or astray.
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	r.mu.Lock()
	lease := r.lease
	r.mu.Unlock()
	if lease == 0 || r.cfg.Ours == nil {
		return nil
	}
	resp, err := r.client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	if err != nil {
		if errors.Is(discovery.Classify("", err), messages.ErrDenied) {
			return nil // by a key that is none of this registry's
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range resp.Keys {
		if k := string(key); r.kept[k] == nil && r.cfg.Ours(k) {
			r.stray[k] = stray{since: time.Now()}
		}
	}
	return nil
}

// everything is all that may have to be set right: Run begins from the start.
func (r *Registry) everything() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.todo = todo{}
	for _, g := range r.coverage {
		g.from = 0
	}
	keys := make([]string, 0, len(r.kept)+len(r.stray))
	for key := range r.kept {
		keys = append(keys, key)
	}
	for key := range r.stray {
		if r.kept[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// due takes what there is to do: everything, or some keys.
func (r *Registry) due() (all bool, keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.todo.all || len(r.todo.keys) == 0 {
		return r.todo.all, nil
	}
	keys = slices.Collect(maps.Keys(r.todo.keys))
	r.todo.keys = nil
	return false, keys
}

// look reads keys and sets right what it can. It has the turn for one batch at
// a time, so that calls need not wait for all of them.
func (r *Registry) look(ctx context.Context, keys []string, emit func(Event)) error {
	for size := MaxBatch; len(keys) > 0; {
		batch := keys[:min(size, len(keys))]
		events, err := r.lookAt(ctx, batch)
		for _, ev := range events {
			emit(ev)
		}
		switch {
		case discovery.OverLimit(err) && len(batch) > 1: // for this etcd
			size = len(batch) / 2
		case err != nil:
			return err
		default:
			keys = keys[len(batch):]
		}
	}
	return nil
}

func (r *Registry) lookAt(ctx context.Context, keys []string) (events []Event, err error) {
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	defer r.give()
	// Not before: what a key shall be may have changed while waiting.
	if wants := r.wants(keys); len(wants) > 0 {
		err = r.setRightApart(ctx, wants, &events)
	}
	return events, err
}

// setRightApart is setRight, but for one key that etcd refuses: what it is asked
// for together is halved until that key is alone.
func (r *Registry) setRightApart(ctx context.Context, wants []want, events *[]Event) error {
	err := r.setRight(ctx, wants, events)
	switch {
	case err == nil || !discovery.Rejected(err):
		return err
	case len(wants) == 1:
		r.trouble(wants[0].Key, err, events)
		return nil
	}
	half := len(wants) / 2
	if err := r.setRightApart(ctx, wants[:half], events); err != nil {
		return err
	}
	return r.setRightApart(ctx, wants[half:], events)
}

// trouble notes that etcd refuses what is to be done about a key.
func (r *Registry) trouble(key string, err error, events *[]Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals++
	k := r.kept[key]
	if k == nil {
		if s := r.stray[key]; time.Since(s.since) > strayFor {
			delete(r.stray, key)
		}
		return
	}
	if !k.troubled {
		k.troubled = true
		*events = append(*events, Troubled{Key: key, Err: discovery.Classify("keep "+key+" at "+discovery.Where(r.client), err)})
	}
}

// lookAgain has the keys looked at again that etcd refused, and those that may still
// come.
func (r *Registry) lookAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, k := range r.kept {
		if k.troubled {
			r.todo.add(key)
		}
	}
	for key := range r.stray {
		r.todo.add(key)
	}
}

// wants says what keys shall be: as they are kept, or gone for strays.
func (r *Registry) wants(keys []string) []want {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []want
	for _, key := range keys {
		k := r.kept[key]
		_, astray := r.stray[key]
		switch {
		case k != nil && k.Leased && r.lease == 0:
			// The session is about to bring one, and wake us.
		case k != nil:
			out = append(out, want{Entry: k.Entry, lease: r.lease, was: k.was})
		case astray:
			out = append(out, want{Entry: Entry{Key: key, Leased: true}, gone: true})
		}
	}
	return out
}

// setRight reads some keys and writes what is not as it should be: what has no
// guard in one transaction, the others one by one, so that none of them stands
// in another's way.
func (r *Registry) setRight(ctx context.Context, wants []want, events *[]Event) error {
	// Each request is bounded by itself; together they may take longer.
	ctx, cancel := context.WithTimeout(ctx, 3*r.cfg.Timeout)
	defer cancel()
	views, revision, err := r.observe(ctx, wants)
	if err != nil {
		return err
	}
	r.saw(wants, revision)
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
			return err
		}
	}
	return nil
}

// saw notes that keys were read as of a revision. In an etcd that was wiped it
// is lower than the last.
func (r *Registry) saw(wants []want, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range wants {
		if k := r.kept[w.Key]; k != nil {
			k.known = revision
			r.coverage.of(w.Key).look(revision)
		}
	}
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
	if discovery.LoginExpired(err) {
		resp, err = r.client.Txn(ctx).Then(gets...).Commit()
	}
	if err != nil {
		return nil, 0, err
	}
	return readBack(resp, wants), resp.Header.Revision, nil
}

// write carries out what some wants ask for.
func (r *Registry) write(ctx context.Context, batch []int, all []want, views []seen, events *[]Event) error {
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
	var conflict *discovery.TakenError
	switch {
	case err == nil:
	case errors.Is(err, discovery.ErrGuard):
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
		defer r.mu.Unlock()
		for _, w := range wants {
			r.todo.add(w.Key)
		}
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
func (r *Registry) settle(w want, kv discovery.KV) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.gone {
		if s, there := r.stray[w.Key]; there && time.Since(s.since) > strayFor {
			delete(r.stray, w.Key)
		}
		return
	}
	if k := r.kept[w.Key]; k != nil {
		// It is as kept: one copy will do.
		kv.Key, kv.Value = k.Key, k.Value
		k.last, k.known = kv, max(k.known, kv.ModRevision)
		k.conflict, k.refused, k.troubled = 0, false, false
	}
}

// complain reports whether a holder of a kept key is a new one.
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
