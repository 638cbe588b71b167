package registry

// The calls that add and remove keys.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
)

// MaxBatch is how many entries one transaction can hold.
const MaxBatch = 100

// Put writes an entry and keeps it. For a key that is kept already it is an
// update, of the value or the guard.
//
// It blocks until etcd confirms, for no longer than ctx and the Timeout, which
// begins again while it waits for other writes and etcd answers those; only for a
// first lease does it wait as long as ctx. On an error the entry is not
// kept, what was kept before under that key still is, and Run removes what the
// failed attempt may have left. The error is a *discovery.TakenError, which wraps
// messages.ErrTaken, when somebody else holds the key; it wraps discovery.ErrGuard when
// a guard does not hold, else it is one of discovery.Classify.
func (r *Registry) Put(ctx context.Context, e Entry) error { return r.PutAll(ctx, []Entry{e}) }

// PutAll is Put for up to MaxBatch entries with different keys, in one
// transaction: all or none.
func (r *Registry) PutAll(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	op := "register " + entries[0].Key
	if len(entries) > 1 {
		op += fmt.Sprintf(" and %d more", len(entries)-1)
	}
	if err := checkBatch(entries); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	op += " at " + discovery.Where(r.client)

	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Value = bytes.Clone(entries[i].Value)
		entries[i].Guard = slices.Clone(entries[i].Guard)
	}
	for {
		lease, err := r.awaitLease(ctx, entries)
		if err != nil {
			return discovery.Classify(op, err)
		}
		err = r.put(ctx, entries, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			// The session will say so too, and bring another one.
			r.leaseGone(lease)
			continue
		}
		return discovery.Classify(op, err)
	}
}

func checkBatch(entries []Entry) error {
	if len(entries) > MaxBatch {
		return fmt.Errorf("%w: %d entries, over the limit of %d in one transaction", messages.ErrInvalid, len(entries), MaxBatch)
	}
	keys := map[string]struct{}{}
	for _, e := range entries {
		if e.Key == "" {
			return fmt.Errorf("%w: a key is empty", messages.ErrInvalid)
		}
		if _, twice := keys[e.Key]; twice {
			return fmt.Errorf("%w: key %s is there twice", messages.ErrInvalid, e.Key)
		}
		keys[e.Key] = struct{}{}
	}
	return nil
}

// awaitLease returns the lease for entries, 0 when they need none.
func (r *Registry) awaitLease(ctx context.Context, entries []Entry) (clientv3.LeaseID, error) {
	if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Leased }) {
		return 0, nil
	}
	for {
		r.mu.Lock()
		lease, changed := r.lease, r.leased
		r.mu.Unlock()
		if lease != 0 {
			return lease, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for a lease: %w", ctx.Err())
		}
	}
}

// leaseGone forgets a lease that etcd does not know, unless there is another
// one by now.
func (r *Registry) leaseGone(id clientv3.LeaseID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease == id {
		r.lease = 0
	}
}

// put writes entries and keeps them.
func (r *Registry) put(ctx context.Context, entries []Entry, lease clientv3.LeaseID) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()

	wants, views := make([]want, len(entries)), make([]seen, len(entries))
	r.mu.Lock()
	for i, e := range entries {
		wants[i] = want{Entry: e, lease: lease}
		if k := r.kept[e.Key]; k != nil {
			views[i].kv = k.last
			wants[i].was = earlier(k.was, k.Value)
		}
		r.writing[e.Key] = 0
	}
	r.mu.Unlock()

	stand, err := r.converge(ctx, wants, views)

	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.nudge()
	for i, e := range entries {
		heard := r.writing[e.Key]
		delete(r.writing, e.Key)
		if err != nil {
			r.failed(e, err)
			continue
		}
		r.hold(&kept{Entry: e, was: wants[i].was, last: stand[i], known: stand[i].ModRevision})
		delete(r.stray, e.Key)
		if heard > stand[i].ModRevision {
			r.todo.add(e.Key) // it was changed before it was known to be ours
		}
	}
	return err
}

// earlier adds a value to those that an entry had.
func earlier(was [][]byte, value []byte) [][]byte {
	if slices.ContainsFunc(was, func(v []byte) bool { return bytes.Equal(v, value) }) {
		return was
	}
	return append(slices.Clip(was), value)
}

// failed notes an entry that may have been written or not. What was kept stays
// kept, so Run sets it right; what was not must not stay.
func (r *Registry) failed(e Entry, err error) {
	switch k := r.kept[e.Key]; {
	case k != nil:
		if !e.Leased {
			k.was = earlier(k.was, e.Value)
		}
		r.todo.add(e.Key)
	case e.Leased && maybeWritten(err):
		r.stray[e.Key] = stray{since: time.Now()}
		r.todo.add(e.Key)
	}
}

// hold keeps an entry that stands in etcd.
func (r *Registry) hold(k *kept) {
	at := r.coverage.of(k.Key)
	if at != nil && r.kept[k.Key] == nil {
		at.keys++
	}
	at.look(k.known)
	r.kept[k.Key] = k
}

// Remove stops keeping keys and deletes those that are ours. It blocks until
// etcd confirms, for no longer than ctx and the Timeout. Whatever it answers,
// the keys are kept no more, and Run keeps trying to delete the leased ones.
// Keys that are not kept are left alone, unless a Put of theirs failed whose outcome
// is not known: they are deleted as far as they are there, and Run deletes them when
// they come later. At most MaxBatch keys.
func (r *Registry) Remove(ctx context.Context, keys ...string) error {
	if len(keys) > MaxBatch {
		return fmt.Errorf("unregister: %w: %d keys, over the limit of %d in one transaction", messages.ErrInvalid, len(keys), MaxBatch)
	}
	if len(keys) == 0 {
		return nil
	}
	err := r.remove(ctx, keys)
	return discovery.Classify("unregister "+keys[0]+" at "+discovery.Where(r.client), err)
}

func (r *Registry) remove(ctx context.Context, keys []string) error {
	// Before the turn: while somebody else has it, nothing may be put back that
	// its owner has given up.
	unsure := r.unsure(keys)
	dropped := r.drop(keys, strayed)
	err := r.erase(ctx, append(unsure, dropped...))

	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range dropped {
		if err == nil {
			delete(r.stray, k.Key)
			continue
		}
		r.todo.add(k.Key)
		r.nudge()
	}
	return err
}

// unsure are those keys of which nobody knows whether they were written. They stay
// strays when they are not found: what was sent may still be on its way.
func (r *Registry) unsure(keys []string) (out []*kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if _, there := r.stray[key]; there && r.kept[key] == nil {
			out = append(out, &kept{Entry: Entry{Key: key, Leased: true}})
		}
	}
	return out
}

// Astray reports whether a key is not kept and is deleted when it is found: a Put of
// it failed whose outcome is not known, or a delete did.
func (r *Registry) Astray(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.stray[key]
	return there && r.kept[key] == nil
}

// erase deletes what was kept until now.
func (r *Registry) erase(ctx context.Context, dropped []*kept) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()

	wants, views := make([]want, len(dropped)), make([]seen, len(dropped))
	for i, k := range dropped {
		wants[i] = want{Entry: k.Entry, gone: true, was: k.was}
		views[i].kv = k.last
	}
	_, err := r.converge(ctx, wants, views)
	return err
}

// Forget stops keeping keys and leaves them in etcd, as fits settings that
// others share. It does not block.
func (r *Registry) Forget(keys ...string) { r.drop(keys, forgotten) }

// fate is what becomes of leased keys that are kept no more.
type fate uint8

const (
	forgotten fate = iota
	strayed
)

func (r *Registry) drop(keys []string, f fate) []*kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*kept
	for _, key := range keys {
		k := r.kept[key]
		if k == nil {
			continue
		}
		out = append(out, k)
		delete(r.kept, key)
		if at := r.coverage.of(key); at != nil {
			at.leave()
		}
		if f == strayed && k.Leased {
			r.stray[key] = stray{since: time.Now()}
		}
	}
	r.nudge()
	return out
}

func (r *Registry) take(ctx context.Context) error {
	patience := time.NewTimer(r.cfg.Timeout)
	defer patience.Stop()
	for {
		r.mu.Lock()
		answered := r.answered
		r.mu.Unlock()
		select {
		case <-r.turn:
			return nil
		case <-answered:
			patience.Reset(r.cfg.Timeout)
		case <-patience.C:
			return fmt.Errorf("wait for another write: %w", context.DeadlineExceeded)
		case <-ctx.Done():
			return fmt.Errorf("wait for another write: %w", ctx.Err())
		}
	}
}

// progress tells those who wait that etcd has answered a write.
func (r *Registry) progress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.answered)
	r.answered = make(chan struct{})
}

func (r *Registry) give() { r.turn <- struct{}{} }
