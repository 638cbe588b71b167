package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// The calls that add and remove keys. How they are put back is in putback.go,
// what to do about each is in verdict.go.

// MaxBatch is how many entries one transaction can hold.
const MaxBatch = 100

// RegistryConfig says how a Registry keeps its keys. The zero value is good.
type RegistryConfig struct {
	// Timeout bounds the writes of one call, once there is a lease; 5 s by
	// default.
	Timeout time.Duration
	// Audit is how often all keys are read, in case their watch missed
	// something; 1 min by default.
	Audit time.Duration
	// Progress is how often the watch is asked for a sign of life; 5 s by
	// default.
	Progress time.Duration
	// Collections are prefixes, each watched as a whole while a kept key lies
	// under it, the longest that covers the key. Everything under them goes
	// through the watch, so they should hold registries and no logs. A key that
	// none covers has no watch: it is put back by the audits alone. At most
	// MaxCollections; none by default.
	Collections []string
	// Ours tells which leased keys only a registry writes. One of them that
	// stands under its lease and is not kept is removed: an etcd restored from a
	// backup has again what was removed since. None by default.
	Ours func(key string) bool
}

// MaxCollections is how many Collections a Registry can have.
const MaxCollections = 16

func (c RegistryConfig) withDefaults() RegistryConfig {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Audit == 0 {
		c.Audit = time.Minute
	}
	if c.Progress == 0 {
		c.Progress = 5 * time.Second
	}
	return c
}

// Validate answers all faults at once; each wraps messages.ErrInvalid.
func (c RegistryConfig) Validate() error {
	var faults []error
	if c.Timeout < 0 || c.Audit < 0 || c.Progress < 0 {
		faults = append(faults, fmt.Errorf("%w: a setting of the registry is negative: %+v", messages.ErrInvalid, c))
	}
	if slices.Contains(c.Collections, "") {
		faults = append(faults, fmt.Errorf("%w: a collection of the registry is empty, which would be all of etcd", messages.ErrInvalid))
	}
	if n := len(c.Collections); n > MaxCollections {
		faults = append(faults, fmt.Errorf("%w: %d collections, over the limit of %d", messages.ErrInvalid, n, MaxCollections))
	}
	return errors.Join(faults...)
}

// RegistryEvent is one of PutBack, Conflict, Refused, Troubled, Delayed.
type RegistryEvent interface{ registryEvent() }

// PutBack: a kept key was not as it should be, and is again.
type PutBack struct {
	Key string
	Why Why
}

// Conflict: somebody else holds a kept key. It is tried again when the key
// changes, and at each audit.
type Conflict struct {
	Key    string
	Holder KV
}

// Refused: a kept key is gone and its guard does not let it be created again.
// It is tried again at each audit.
type Refused struct {
	Key string
	Err error // wraps ErrGuard
}

// Troubled: etcd refuses what is to be done about one key. It is told once, until
// the key is as it should be, and tried again with each sign of life of the watch.
// The other keys are looked after meanwhile.
type Troubled struct {
	Key string
	Err error // as of Classify: messages.ErrDenied, ErrInvalid or ErrNoSpace
}

func (PutBack) registryEvent()  {}
func (Conflict) registryEvent() {}
func (Refused) registryEvent()  {}
func (Troubled) registryEvent() {}

// Why says what had happened to a key that was put back.
type Why uint8

// The reasons to put a key back.
const (
	Deleted  Why = iota + 1 // somebody deleted it, or etcd was wiped
	NewLease                // its lease ended and there is a new one
	Changed                 // it had an older value or lease of ours
)

// String names the reason as logs do.
func (w Why) String() string {
	switch w {
	case Deleted:
		return "deleted"
	case NewLease:
		return "new lease"
	case Changed:
		return "changed"
	default:
		return "unknown"
	}
}

// Registry keeps keys in etcd. Make it with NewRegistry; all its methods are
// safe for concurrent use.
//
// # Whose a key is
//
// A leased key is ours when it stands under the present lease or an earlier
// one that SetLease named; a lease belongs to one process. Under any other
// lease, or none, it is somebody else's: another process with the same id,
// alive or not yet forgotten. A key without lease, such as settings that many
// share, is ours when it has the very value that was put, or one put before.
// The registry never overwrites or deletes what is not ours.
type Registry struct {
	client *clientv3.Client
	cfg    RegistryConfig
	turn   chan struct{} // holds one token: whoever writes has it

	mu      sync.Mutex
	kept    map[string]*kept
	stray   map[string]stray
	writing map[string]int64 // what a Put is about: the newest revision heard of each key meanwhile
	regions regions
	todo    todo
	lease   clientv3.LeaseID // 0: none now
	leases  map[clientv3.LeaseID]struct{}
	// answered is closed and replaced when etcd answers a write.
	answered chan struct{}
	leased   chan struct{} // closed and replaced by SetLease

	wake chan struct{} // holds at most one token, for Run

	refusals, delays uint64 // see RegistryStats
}

// kept is an entry and what is known about it.
type kept struct {
	Entry
	was      [][]byte // earlier values, for an entry without lease
	last     KV       // as last found or made right
	known    int64    // what happened up to this revision is no news
	conflict int64    // ModRevision of the holder last complained of
	refused  bool     // complained of the guard
	troubled bool     // etcd refuses what is to be done about it
}

// stray is a leased key that may stand in etcd though it is not kept: a write
// whose outcome stayed unknown, or a delete that failed.
type stray struct{ since time.Time }

// A stray that is not there is looked for again for this long: what was sent
// may still be on its way.
const strayFor = 30 * time.Second

// NewRegistry makes a registry that keeps nothing yet and has no lease. Faults
// of cfg are answered by Run.
func NewRegistry(client *clientv3.Client, cfg RegistryConfig) *Registry {
	r := &Registry{
		client: client, cfg: cfg.withDefaults(),
		turn: make(chan struct{}, 1), answered: make(chan struct{}), wake: make(chan struct{}, 1),
		kept: map[string]*kept{}, stray: map[string]stray{}, writing: map[string]int64{},
		regions: newRegions(cfg.Collections),
		leases:  map[clientv3.LeaseID]struct{}{}, leased: make(chan struct{}),
	}
	r.turn <- struct{}{}
	return r
}

// SetLease says which lease leased keys stand under from now on; 0 says that
// there is none now. Run then rewrites every leased key under it. It does not
// block.
func (r *Registry) SetLease(id clientv3.LeaseID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == r.lease {
		return
	}
	r.lease = id
	if id != 0 {
		r.leases[id] = struct{}{}
		r.todo.all = true
	}
	close(r.leased)
	r.leased = make(chan struct{})
	r.nudge()
}

// nudge wakes Run.
func (r *Registry) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Put writes an entry and keeps it. For a key that is kept already it is an
// update, of the value or the guard.
//
// It blocks until etcd confirms, for no longer than ctx and the Timeout, which
// begins anew while it waits for other writes and etcd answers those; only for a
// first lease does it wait as long as ctx. On an error the entry is not
// kept, what was kept before under that key still is, and Run removes what the
// failed attempt may have left. The error is a *TakenError, which wraps
// messages.ErrTaken, when somebody else holds the key; it wraps ErrGuard when
// a guard does not hold, else it is one of Classify.
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
	op += " at " + Where(r.client)

	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Value = bytes.Clone(entries[i].Value)
		entries[i].Guard = slices.Clone(entries[i].Guard)
	}
	for {
		lease, err := r.awaitLease(ctx, entries)
		if err != nil {
			return Classify(op, err)
		}
		err = r.put(ctx, entries, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			// The session will say so too, and bring another one.
			r.leaseGone(lease)
			continue
		}
		return Classify(op, err)
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

// awaitLease answers the lease for entries, 0 when they need none.
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
	at := r.regions.of(k.Key)
	if at != nil && r.kept[k.Key] == nil {
		at.keys++
	}
	at.look(k.known)
	r.kept[k.Key] = k
}

// maybeWritten tells whether a write that failed so may have happened.
func maybeWritten(err error) bool {
	var before *unsureError
	return errors.As(err, &before) || !definite(err)
}

// definite tells that etcd answered that it did not do what was asked.
func definite(err error) bool {
	if errors.Is(err, messages.ErrTaken) || errors.Is(err, ErrGuard) {
		return true
	}
	err = Classify("", err)
	return errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrInvalid) || errors.Is(err, messages.ErrNoSpace)
}

// unsureError is an error after an attempt whose outcome is not known.
type unsureError struct{ error }

func (e *unsureError) Unwrap() error { return e.error }

// Remove stops keeping keys and deletes those that are ours. It blocks until
// etcd confirms, for no longer than ctx and the Timeout. Whatever it answers,
// the keys are kept no more, and Run goes on trying to delete the leased ones.
// Keys that are not kept are left alone. At most MaxBatch keys.
func (r *Registry) Remove(ctx context.Context, keys ...string) error {
	if len(keys) > MaxBatch {
		return fmt.Errorf("unregister: %w: %d keys, over the limit of %d in one transaction", messages.ErrInvalid, len(keys), MaxBatch)
	}
	if len(keys) == 0 {
		return nil
	}
	err := r.remove(ctx, keys)
	return Classify("unregister "+keys[0]+" at "+Where(r.client), err)
}

func (r *Registry) remove(ctx context.Context, keys []string) error {
	// Before the turn: while somebody else has it, nothing may be put back that
	// its owner has given up.
	dropped := r.drop(keys, strayed)
	err := r.erase(ctx, dropped)

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
		if at := r.regions.of(key); at != nil {
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

func (r *Registry) ownLeases() map[clientv3.LeaseID]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[clientv3.LeaseID]struct{}, len(r.leases))
	for id := range r.leases {
		out[id] = struct{}{}
	}
	return out
}

// converge makes all wants so in one transaction, starting from what is
// believed to stand there, and answers what stands there then. It goes on until
// that is settled, ctx ends, or there is no hope. The caller has the turn.
func (r *Registry) converge(ctx context.Context, wants []want, views []seen) ([]KV, error) {
	leases := r.ownLeases()
	unsure := false
	failed := func(err error) ([]KV, error) {
		if unsure {
			err = &unsureError{err}
		}
		return nil, err
	}
	for failures := 0; ; {
		verdicts := make([]verdict, len(wants))
		var t txn
		proven := true
		for i, w := range wants {
			verdicts[i] = decide(w, views[i], leases)
			proven = proven && views[i].proof == read
			t.add(w, views[i], verdicts[i])
		}
		if i := slices.Index(verdicts, taken); i >= 0 && proven {
			return nil, &TakenError{Key: wants[i].Key, Holder: views[i].kv}
		} else if i >= 0 {
			// A guess is no reason to refuse: this transaction only reads.
			t = txn{cmps: []clientv3.Cmp{never(wants[i].Key)}}
		}
		if proven && len(t.ops) == 0 {
			return stand(wants, views, verdicts, 0), nil
		}
		resp, err := r.commit(ctx, t, wants)
		if err == nil {
			r.progress()
		}
		switch {
		case err == nil && resp.Succeeded:
			return stand(wants, views, verdicts, resp.Header.Revision), nil
		case err == nil:
			found := readBack(resp, wants)
			if proven && unchanged(views, found) {
				return nil, fmt.Errorf("%w: for %s", ErrGuard, guarded(wants))
			}
			views = found
		case refused(err) && failures < 3:
			failures++
		case errors.Is(Classify("", err), messages.ErrUnavailable) && ctx.Err() == nil:
			// Whether it was written shows when it is sent again.
			unsure = true
			if sleep(ctx, pause(failures)) != nil {
				return failed(err)
			}
			failures++
		default:
			return failed(err)
		}
	}
}

// never is a condition that no key fulfils.
func never(key string) clientv3.Cmp { return clientv3.Compare(clientv3.ModRevision(key), "<", 0) }

// commit sends a transaction that reads all keys back when its conditions do
// not hold.
func (r *Registry) commit(ctx context.Context, t txn, wants []want) (*clientv3.TxnResponse, error) {
	gets := make([]clientv3.Op, len(wants))
	for i, w := range wants {
		gets[i] = clientv3.OpGet(w.Key)
	}
	return r.client.Txn(ctx).If(t.cmps...).Then(t.ops...).Else(gets...).Commit()
}

// readBack takes the keys from the answer of a transaction that read them.
func readBack(resp *clientv3.TxnResponse, wants []want) []seen {
	found := make([]seen, len(wants))
	for i := range wants {
		found[i].proof = read
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) == 1 {
			found[i].kv = kvOf(kvs[0])
		}
	}
	return found
}

func unchanged(a, b []seen) bool {
	return slices.EqualFunc(a, b, func(x, y seen) bool { return x.kv.ModRevision == y.kv.ModRevision })
}

func guarded(wants []want) string {
	var keys []string
	for _, w := range wants {
		if len(w.Guard) > 0 {
			keys = append(keys, w.Key)
		}
	}
	return fmt.Sprint(keys)
}

func stand(wants []want, views []seen, verdicts []verdict, revision int64) []KV {
	out := make([]KV, len(wants))
	for i, w := range wants {
		out[i] = w.written(views[i], verdicts[i], revision)
	}
	return out
}
