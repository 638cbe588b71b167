package registry

// The registry and its configuration. The calls that add and remove keys are in
// calls.go, how they are put back is in keep.go, what to do about each is in
// verdict.go.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
)

// Config says how a Registry keeps its keys. The zero value is good.
type Config struct {
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

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = discovery.DefaultTimeout
	}
	if c.Audit == 0 {
		c.Audit = time.Minute
	}
	if c.Progress == 0 {
		c.Progress = 5 * time.Second
	}
	return c
}

// Validate returns all faults at once; each wraps messages.ErrInvalid.
func (c Config) Validate() error {
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

// Registry keeps keys in etcd. Make it with New; all its methods are
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
	cfg    Config
	turn   chan struct{} // holds one token: whoever writes has it

	mu       sync.Mutex
	kept     map[string]*kept
	stray    map[string]stray
	writing  map[string]int64 // what a Put is about: the newest revision heard of each key meanwhile
	coverage coverage
	todo     todo
	lease    clientv3.LeaseID // 0: none now
	leases   map[clientv3.LeaseID]struct{}
	// answered is closed and replaced when etcd answers a write.
	answered chan struct{}
	leased   chan struct{} // closed and replaced by SetLease

	wake chan struct{} // holds at most one token, for Run

	refusals, delays uint64 // see Stats
}

// kept is an entry and what is known about it.
type kept struct {
	Entry
	was      [][]byte     // earlier values, for an entry without lease
	last     discovery.KV // as last found or made right
	known    int64        // what happened up to this revision is no news
	conflict int64        // ModRevision of the holder last complained of
	refused  bool         // complained of the guard
	troubled bool         // etcd refuses what is to be done about it
}

// stray is a leased key that may stand in etcd though it is not kept: a write
// whose outcome stayed unknown, or a delete that failed.
type stray struct{ since time.Time }

// A stray that is not there is looked for again for this long: what was sent
// may still be on its way.
const strayFor = 30 * time.Second

// New makes a registry that keeps nothing yet and has no lease. Faults
// of cfg are returned by Run.
func New(client *clientv3.Client, cfg Config) *Registry {
	r := &Registry{
		client: client, cfg: cfg.withDefaults(),
		turn: make(chan struct{}, 1), answered: make(chan struct{}), wake: make(chan struct{}, 1),
		kept: map[string]*kept{}, stray: map[string]stray{}, writing: map[string]int64{},
		coverage: newCoverage(cfg.Collections),
		leases:   map[clientv3.LeaseID]struct{}{}, leased: make(chan struct{}),
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

// Stats returns a snapshot.
func (r *Registry) Stats() messages.RegistryStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := messages.RegistryStats{Keys: len(r.kept), Refusals: r.refusals, Delays: r.delays}
	for _, k := range r.kept {
		if k.troubled {
			s.Troubled++
		}
	}
	return s
}
