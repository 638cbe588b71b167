package pipegroup

// Keeping the settings of the groups that this process has members in: looked at
// every few seconds, put right when they are not as they should be, their
// leases renewed.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Unlike: the settings of a group with members here are others by now. The group
// was removed while this process could not renew it, and made again. They are
// left alone; it is said once.
type Unlike struct {
	Group Keys
	Meta  *pb.GroupMeta
}

// Event is one of PutBack, Unlike, Delayed.
type Event interface{ event() }

// PutBack: the settings of a group with members here were not in etcd, and are
// again.
type PutBack struct{ Key string }

// Delayed: etcd did not do what was asked, and Run tries again.
type Delayed struct {
	// Err is why; its text names what was asked of whom.
	Err error
	// Wait is how long Run waits before the next attempt.
	Wait time.Duration
}

func (PutBack) event() {}
func (Unlike) event()  {}
func (Delayed) event() {}

const (
	// lookEvery is how often held groups are looked at, at the most rarely.
	lookEvery = 5 * time.Second
	// groupBatch is how many groups one request reads, with three operations each.
	groupBatch = 32
)

// heldGroups are the groups that this process has members in.
type heldGroups struct {
	mu   sync.Mutex
	all  map[string]*heldGroup // by the key of the settings
	turn chan struct{}         // holds one token: whoever changes a held group in etcd has it
	wake chan struct{}         // holds at most one token, for Run
}

type heldGroup struct {
	Keys
	value   []byte              // the settings agreed on
	members map[string]struct{} // ids
	lease   clientv3.LeaseID    // that was renewed last
	due     time.Time           // when to renew it again
	said    int64               // ModRevision of settings that were called unlike
}

func newHeldGroups() *heldGroups {
	h := &heldGroups{all: make(map[string]*heldGroup), turn: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h
}

// Hold has Run keep a group's settings for the member id of this process. Call
// it between the member's key and the second Attend. It does not block.
func (g *Groups) Hold(k Keys, id string, value []byte) {
	g.held.mu.Lock()
	defer g.held.mu.Unlock()
	h := g.held.all[k.Meta]
	if h == nil {
		h = &heldGroup{Keys: k, value: value, members: make(map[string]struct{})}
		g.held.all[k.Meta] = h
	}
	h.members[id] = struct{}{}
	g.Look()
}

// Release ends what Hold began. When it returns nil, Run changes nothing of the
// group any more if id was its last member here. Only ctx ends it early.
func (g *Groups) Release(ctx context.Context, k Keys, id string) error {
	g.held.mu.Lock()
	if h := g.held.all[k.Meta]; h != nil {
		delete(h.members, id)
		if len(h.members) == 0 {
			delete(g.held.all, k.Meta)
		}
	}
	g.held.mu.Unlock()
	select {
	case <-g.held.turn:
		g.held.turn <- struct{}{}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReleaseAll releases every group, when Run has ended, and returns which.
func (g *Groups) ReleaseAll() []Keys {
	g.held.mu.Lock()
	defer g.held.mu.Unlock()
	var out []Keys
	for _, h := range g.held.all {
		out = append(out, h.Keys)
	}
	clear(g.held.all)
	return out
}

// Look has Run look at the groups now: a member's key was put back, so others may
// have found nobody meanwhile. It does not block.
func (g *Groups) Look() {
	select {
	case g.held.wake <- struct{}{}:
	default:
	}
}

// Run keeps the settings of held groups and renews their leases. It blocks until
// ctx ends and returns ctx's cause. While etcd is away, full or denies the
// rights, it keeps trying. It emits PutBack, Unlike and Delayed. One Run at a
// time.
func (g *Groups) Run(ctx context.Context, emit func(Event)) error {
	batch, failures := groupBatch, 0
	for {
		err := g.round(ctx, g.all(), batch, emit)
		wait := min(g.least/3, lookEvery)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, rpctypes.ErrTooManyOps) && batch > 1:
			batch /= 2
			continue
		case err != nil:
			wait = min(retry.Pause(failures), wait)
			failures++
			emit(Delayed{Err: discovery.Classify("keep groups at "+g.where, err), Wait: wait})
		default:
			failures = 0
		}
		if len(g.all()) == 0 {
			wait = time.Hour // Hold wakes it
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-g.held.wake:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

func (g *Groups) all() []*heldGroup {
	g.held.mu.Lock()
	defer g.held.mu.Unlock()
	return slices.Collect(maps.Values(g.held.all))
}

// round looks at held groups once. One that fails holds up no other.
func (g *Groups) round(ctx context.Context, all []*heldGroup, batch int, emit func(Event)) error {
	var errs []error
	for some := range slices.Chunk(all, batch) {
		ks := make([]Keys, len(some))
		for i, h := range some {
			ks[i] = h.Keys
		}
		seen, err := g.store.read(ctx, ks)
		switch {
		case err == nil:
			for i, h := range some {
				errs = append(errs, g.tend(ctx, h, seen[i], emit))
			}
		case !errors.Is(discovery.Classify("", err), messages.ErrDenied):
			return errors.Join(append(errs, err)...) // it is about none of them
		case len(some) > 1:
			err = g.round(ctx, some, 1, emit) // about one of them
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tend puts one group right, or renews its lease when that is due.
func (g *Groups) tend(ctx context.Context, h *heldGroup, seen groupSeen, emit func(Event)) error {
	select {
	case <-g.held.turn:
		defer func() { g.held.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.held.mu.Lock()
	kept := g.held.all[h.Meta] == h
	g.held.mu.Unlock()
	if !kept {
		return nil
	}
	if seen.meta.ModRevision != 0 {
		meta, same := like(seen.meta.Value, h.value)
		if meta == nil {
			return nil // it is nobody's: it goes with its lease
		}
		if !same {
			if h.said != seen.meta.ModRevision {
				h.said = seen.meta.ModRevision
				emit(Unlike{Group: h.Keys, Meta: meta})
			}
			return nil
		}
		h.value = seen.meta.Value // its KeepFor may be another
	}
	if seen.whileAttended(h.value) == groupStays {
		return g.prolong(ctx, h, seen)
	}
	done, err := g.attend(ctx, h.Keys, seen, h.value)
	if err != nil {
		return err
	}
	if done && seen.meta.ModRevision == 0 {
		emit(PutBack{Key: h.Meta})
	}
	g.Look() // it stands so, or somebody was faster
	return nil
}

// prolong renews the lease of a group that stands as it should.
func (g *Groups) prolong(ctx context.Context, h *heldGroup, seen groupSeen) error {
	keep := seen.keep()
	if keep < 0 || h.lease == seen.meta.Lease && g.now().Before(h.due) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, discovery.DefaultTimeout)
	defer cancel()
	sent := g.now()
	resp, err := g.renew.KeepAliveOnce(ctx, seen.meta.Lease)
	switch {
	case err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound):
		return err
	case err != nil || resp.TTL < seconds(keep+g.slack(keep)):
		// It ended, was granted for less, or by a process whose slack is less.
		_, err := g.hang(ctx, h.Keys, seen, groupWrite{meta: seen.meta.Value}, keep+g.slack(keep))
		return err
	}
	h.lease, h.due = seen.meta.Lease, sent.Add(g.slack(keep)/3)
	return nil
}

// like reads settings that stand in etcd, and reports whether they are those of
// the same group. They are nil when they do not decode.
func like(stand, mine []byte) (meta *pb.GroupMeta, same bool) {
	theirs, ours := &pb.GroupMeta{}, &pb.GroupMeta{}
	if proto.Unmarshal(stand, theirs) != nil || proto.Unmarshal(mine, ours) != nil {
		return nil, false
	}
	return theirs, theirs.Mode == ours.Mode && theirs.Policy == ours.Policy
}
