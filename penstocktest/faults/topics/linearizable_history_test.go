package topics_test

// Histories of concurrent operations, with lost answers and deleted claims mixed
// in, held against what one client alone could have seen (linearizability).

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// history collects operations by partition.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   map[int][]porcupine.Operation
}

func newHistory() *history { return &history{began: time.Now(), ops: map[int][]porcupine.Operation{}} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

// never is when an operation ended whose outcome is not known: it may take
// effect at any time after its call.
const never = math.MaxInt64

func (h *history) add(client, partition int, call, end int64, in, out any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[partition] = append(h.ops[partition], porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
}

// check fails t unless the history of each partition fits the model.
func (h *history) check(t *testing.T, model porcupine.Model) {
	t.Helper()
	for partition, ops := range h.ops {
		unknown := 0
		for _, op := range ops {
			if op.Return == never {
				unknown++
			}
		}
		result, info := porcupine.CheckOperationsVerbose(model, ops, harness.Patience)
		t.Logf("partition %d: %d operations, %d of unknown outcome: %s", partition, len(ops), unknown, result)
		if result != porcupine.Ok {
			path := filepath.Join(t.ArtifactDir(), fmt.Sprintf("history-%d.html", partition))
			t.Errorf("partition %d: the history is %s; see %s (with -artifacts)", partition, result, path)
			if err := porcupine.VisualizePath(model, info, path); err != nil {
				t.Error(err)
			}
		}
	}
}

// A partition of a log is a list of records that only grows.

type (
	appendIn  struct{ id int }
	appendOut struct {
		offset int64 // or unsaid
	}
	endIn   struct{}
	endOut  struct{ end int64 }
	readIn  struct{ offset int64 }
	readOut struct{ id int }
)

// unsaid is the offset of an append whose outcome is not known.
const unsaid = -1

var logModel = porcupine.Model{
	Init: func() any { return []int(nil) },
	Step: func(state, in, out any) (bool, any) {
		records := state.([]int)
		end := int64(len(records))
		switch in := in.(type) {
		case appendIn:
			at := out.(appendOut).offset
			return at == end || at == unsaid, append(records[:end:end], in.id)
		case endIn:
			return out.(endOut).end == end, state
		case readIn:
			return in.offset < end && records[in.offset] == out.(readOut).id, state
		}
		panic("unreachable")
	},
	Equal: func(a, b any) bool { return slices.Equal(a.([]int), b.([]int)) },
	Hash: func(state any) uint64 {
		h := uint64(14695981039346656037)
		for _, id := range state.([]int) {
			h = (h ^ uint64(id)) * 1099511628211
		}
		return h
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%T%+v %+v", in, in, out) },
}

// Promise: an append is seen by every read that begins after it, at one place,
// forever; whatever answers were lost.
func TestHistoryOfALog(t *testing.T) {
	steps := 60
	if testing.Short() || harness.RaceEnabled {
		steps = 30
	}
	// The appends of a runtime's writers go together in one request, so that what is
	// lost is lost for several partitions.
	const partitions, writers, together, readers = 3, 8, 4, 2
	ns := penstocktest.Space(t)
	quiet := harness.Runtime(t, ns)
	makeTopic(t, quiet, theTopic, partitions)
	replies := penstocktest.DropReplies(11)
	cfg := harness.Etcd.Config()
	cfg.DialOptions = append(cfg.DialOptions, replies.Option())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h, ctx := newHistory(), harness.Context(t)
	var wg sync.WaitGroup
	var topic *penstock.Topic
	for w := range writers {
		if w%together == 0 {
			topic = openTopic(t, harness.Runtime(t, ns, penstock.EtcdConfig(cfg)), theTopic)
		}
		topic := topic
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for step := range steps {
				id, p := w*apart+step, rng.IntN(partitions)
				hasty, cancel := ctx, context.CancelFunc(func() {})
				if rng.IntN(15) == 0 {
					hasty, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(2000))*time.Microsecond)
				}
				call := h.now()
				offset, err := topic.PutTo(hasty, p, harness.Numbered(id))
				end := h.now()
				cancel()
				switch {
				case err == nil:
					h.add(w, p, call, end, appendIn{id}, appendOut{offset})
				case errors.Is(err, penstock.ErrUnknownOutcome):
					h.add(w, p, call, never, appendIn{id}, appendOut{unsaid})
				case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
					t.Errorf("put: %v", err)
					return
				}
			}
		})
	}
	for r := range readers {
		rt := harness.Runtime(t, ns)
		topic := openTopic(t, rt, theTopic)
		wg.Go(func() {
			rng, client := rand.New(rand.NewPCG(seed, uint64(100+r))), writers+r
			for range steps {
				call := h.now()
				d, err := rt.DescribeTopic(ctx, theTopic)
				end := h.now()
				if err != nil {
					t.Errorf("describe: %v", err)
					return
				}
				for _, p := range d.Partitions {
					h.add(client, p.Partition, call, end, endIn{}, endOut{p.End})
				}
				p := d.Partitions[rng.IntN(partitions)]
				if p.End == 0 {
					continue
				}
				at := p.End - 1 - rng.Int64N(min(p.End, 3))
				call = h.now()
				for rec, err := range topic.Read(ctx, p.Partition, penstock.FromOffset(at)) {
					if err != nil || rec.Offset != at {
						t.Errorf("read at %d: offset %d, %v", at, rec.Offset, err)
						return
					}
					h.add(client, p.Partition, call, h.now(), readIn{at}, readOut{recordNumber(rec)})
					break
				}
			}
		})
	}
	wg.Wait()
	h.check(t, logModel)
	if replies.Dropped() == 0 {
		t.Error("no answer was lost: the test tested nothing")
	}
}

// The ownership of a partition is a register: who has it, under which fence, and
// where the group is.

type ownership struct {
	owner  int   // 0: nobody
	fence  int64 // of the owner; 0: a claim whose answer was lost, and that nobody has seen since
	last   int64 // the largest fence that was ever seen
	offset int64 // committed; -1: never
	by     int64 // under which fence
}

func (o ownership) is(fence int64) bool { return o.owner != 0 && o.fence == fence }

// seen is o once somebody saw the fence of the claim.
func (o ownership) seen(fence int64) (ownership, bool) {
	if o.fence != 0 {
		return o, o.fence == fence
	}
	ok := fence > o.last
	o.fence, o.last = fence, max(o.last, fence)
	return o, ok
}

func (o ownership) committed(offset, fence int64) ownership {
	o.offset, o.by = offset, fence
	return o
}

func (o ownership) free() ownership {
	o.owner, o.fence = 0, 0
	return o
}

type (
	claimIn struct{ who int }
	// claimOut is a claim of one's own, one of somebody else (holder), or
	// neither, when the answer was lost.
	claimOut struct{ fence, offset, holder int64 }

	// commitIn is a commit, or a release, which commits too.
	commitIn struct {
		fence, offset int64
		release       bool
	}
	revokeIn struct{ fence int64 }
	// deleteIn is somebody's hand in etcd.
	deleteIn struct{}
	verdict  string
)

const done, refused, lost verdict = "done", "refused", "lost"

var ownershipModel = porcupine.Model{
	Init: func() any { return ownership{offset: -1} },
	Step: func(state, in, out any) (bool, any) {
		o := state.(ownership)
		switch in := in.(type) {
		case claimIn:
			out := out.(claimOut)
			switch {
			case out == claimOut{}:
				if o.owner == 0 {
					o.owner, o.fence = in.who, 0
				}
				return true, o
			case out.holder != 0:
				if o.owner == 0 || o.owner == in.who {
					return false, o
				}
				o, ok := o.seen(out.holder)
				return ok, o
			}
			if o.owner != 0 && o.owner != in.who {
				return false, o
			}
			o.owner = in.who
			o, ok := o.seen(out.fence)
			return ok && out.offset == o.offset, o
		case commitIn:
			mine := o.is(in.fence)
			before := in.release && o.offset == in.offset && o.by == in.fence // by a release whose answer was lost
			switch out.(verdict) {
			case done:
				if !mine {
					return before, o
				}
			case refused:
				return !mine, o
			case lost:
				if !mine {
					return true, o
				}
			}
			if o = o.committed(in.offset, in.fence); in.release {
				o = o.free()
			}
			return true, o
		case revokeIn:
			if !o.is(in.fence) {
				return out.(verdict) != done, o
			}
			return out.(verdict) != refused, o.free()
		case deleteIn:
			return (o.owner != 0) == (out.(verdict) == done), o.free()
		}
		panic("unreachable")
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%T%+v %+v", in, in, out) },
}

// Promise: of a partition there is one owner at a time, and a commit under a
// fence that is not the owner's is refused, whatever answers were lost and
// whoever deletes claims.
func TestHistoryOfAGroup(t *testing.T) {
	steps := 120
	if testing.Short() || harness.RaceEnabled {
		steps = 60
	}
	const partitions, members = 3, 4
	ns := keys.Space(penstocktest.Space(t))
	replies := penstocktest.DropReplies(9)
	cfg := harness.Etcd.Config()
	cfg.DialOptions = append(cfg.DialOptions, replies.Option())
	client, err := discovery.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	hand := harness.Client(t)
	ctx := harness.Context(t)
	info := makeTopic(t, harness.Runtime(t, string(ns)), theTopic, partitions).Info()
	log := commitlog.New(commitlog.Config{Client: client, Space: ns, Classify: discovery.Classify})
	calm := commitlog.New(commitlog.Config{Client: hand, Space: ns, Classify: discovery.Classify})
	if _, _, err := calm.EnsureGroup(ctx, info, theGroup, commitlog.Joining{Manual: true}); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := newHistory()
	var wg sync.WaitGroup
	for i := range members {
		who := i + 1
		lease, err := hand.Grant(ctx, 120)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { hand.Revoke(context.Background(), lease.ID) })
		name := fmt.Sprint("member-", who)
		put, err := hand.Put(ctx, ns.ConsumerMember(info.ID, theGroup, name), "", clientv3.WithLease(lease.ID))
		if err != nil {
			t.Fatal(err)
		}
		m := &historian{
			t: t, h: h, log: log, who: who, rng: rand.New(rand.NewPCG(seed, uint64(who))),
			me: commitlog.Me{Topic: info, Group: theGroup, Member: name, MemberRevision: put.Header.Revision, Lease: lease.ID},
			at: make([]format.Position, partitions), others: make([]*format.Holder, partitions),
		}
		wg.Go(func() {
			for range steps {
				m.step(ctx, m.rng.IntN(partitions))
			}
		})
	}
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for range steps / 4 {
			p := rng.IntN(partitions)
			call := h.now()
			resp, err := hand.Delete(ctx, ns.Claim(info.ID, theGroup, p))
			if err != nil {
				t.Error(err)
				return
			}
			out := refused
			if resp.Deleted == 1 {
				out = done
			}
			h.add(0, p, call, h.now(), deleteIn{}, out)
		}
	})
	wg.Wait()
	h.check(t, ownershipModel)
	if replies.Dropped() == 0 {
		t.Error("no answer was lost: the test tested nothing")
	}
}

// historian is a member of a group that does whatever comes to its mind.
type historian struct {
	t      *testing.T
	h      *history
	log    *commitlog.Log
	who    int
	rng    *rand.Rand
	me     commitlog.Me
	at     []format.Position // what it believes to own; Fence 0: nothing
	others []*format.Holder  // whom it last saw instead
}

func (m *historian) step(ctx context.Context, p int) {
	switch dice := m.rng.IntN(10); {
	case m.at[p].Fence == 0 && m.others[p] != nil && dice < 2:
		m.revoke(ctx, p)
	case m.at[p].Fence == 0 || dice == 0:
		m.claim(ctx, p)
	default:
		m.commit(ctx, p, dice < 4)
	}
}

func (m *historian) claim(ctx context.Context, p int) {
	call := m.h.now()
	results, err := m.log.Claim(ctx, m.me, 0, []int{p})
	end := m.h.now()
	if len(results) == 0 {
		if err == nil || !errors.Is(err, penstock.ErrUnavailable) {
			m.t.Errorf("claim: %v", err)
		}
		m.h.add(m.who, p, call, never, claimIn{m.who}, claimOut{})
		return
	}
	r := results[0]
	if r.Held != nil {
		m.at[p], m.others[p] = format.Position{}, r.Held
		m.h.add(m.who, p, call, end, claimIn{m.who}, claimOut{holder: r.Held.Revision})
		return
	}
	m.at[p], m.others[p] = format.Position{Partition: p, Fence: r.Fence, Offset: max(r.Offset, 0), Known: r.Known}, nil
	m.h.add(m.who, p, call, end, claimIn{m.who}, claimOut{fence: r.Fence, offset: r.Offset})
}

func (m *historian) commit(ctx context.Context, p int, release bool) {
	at := m.at[p]
	at.Offset += 1 + m.rng.Int64N(5)
	do := m.log.Commit
	if release {
		do = m.log.Release
	}
	call := m.h.now()
	ps := []format.Position{at}
	errs, err := do(ctx, m.me, ps)
	end := m.h.now()
	at.Known = ps[0].Known
	in, out := commitIn{at.Fence, at.Offset, release}, done
	switch {
	case err != nil:
		out, end = lost, never
		if !errors.Is(err, penstock.ErrUnavailable) {
			m.t.Errorf("commit: %v", err)
		}
	case errors.Is(errs[0], penstock.ErrFenced):
		out = refused
	case errs[0] != nil:
		m.t.Errorf("commit: %v", errs[0])
	}
	m.h.add(m.who, p, call, end, in, out)
	switch {
	case out == done && release, out == refused && m.rng.IntN(2) == 0: // a zombie tries again
		m.at[p] = format.Position{}
	case out == done, out == lost:
		m.at[p] = at
	}
}

func (m *historian) revoke(ctx context.Context, p int) {
	holder := *m.others[p]
	m.others[p] = nil
	call := m.h.now()
	ok, err := m.log.Revoke(ctx, m.me, p, holder, true)
	end, out := m.h.now(), refused
	switch {
	case err != nil:
		end, out = never, lost
		if !errors.Is(err, penstock.ErrUnavailable) {
			m.t.Errorf("revoke: %v", err)
		}
	case ok:
		out = done
	}
	m.h.add(m.who, p, call, end, revokeIn{holder.Revision}, out)
}

// The models refuse what must not be.
func TestHistoryModels(t *testing.T) {
	type op struct{ in, out any }
	at := func(ops ...op) (history []porcupine.Operation) {
		for i, o := range ops {
			history = append(history, porcupine.Operation{Input: o.in, Output: o.out, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		return history
	}
	for _, c := range []struct {
		name    string
		model   porcupine.Model
		history []porcupine.Operation
		fits    bool
	}{
		{"a log", logModel, at(op{appendIn{7}, appendOut{0}}, op{endIn{}, endOut{1}}, op{appendIn{8}, appendOut{1}}, op{readIn{0}, readOut{7}}), true},
		{"a hole", logModel, at(op{appendIn{7}, appendOut{0}}, op{appendIn{8}, appendOut{2}}), false},
		{"one place for two", logModel, at(op{appendIn{7}, appendOut{0}}, op{appendIn{8}, appendOut{0}}), false},
		{"an append that is not seen", logModel, at(op{appendIn{7}, appendOut{0}}, op{endIn{}, endOut{0}}), false},
		{"another record", logModel, at(op{appendIn{7}, appendOut{0}}, op{readIn{0}, readOut{8}}), false},
		{"a record twice", logModel, at(op{appendIn{7}, appendOut{0}}, op{endIn{}, endOut{2}}), false},

		{"an owner", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{commitIn{5, 3, false}, done}, op{commitIn{5, 4, true}, done}, op{claimIn{2}, claimOut{8, 4, 0}}), true},
		{"two owners", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{claimIn{2}, claimOut{6, -1, 0}}), false},
		{"a fence that goes back", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{deleteIn{}, done}, op{claimIn{2}, claimOut{4, -1, 0}}), false},
		{"a zombie's commit", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{deleteIn{}, done}, op{claimIn{2}, claimOut{8, -1, 0}}, op{commitIn{5, 3, false}, done}), false},
		{"a zombie refused", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{deleteIn{}, done}, op{claimIn{2}, claimOut{8, -1, 0}}, op{commitIn{5, 3, false}, refused}), true},
		{"an owner refused", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{commitIn{5, 3, false}, refused}), false},
		{"a commit that is lost", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{commitIn{5, 3, true}, done}, op{claimIn{2}, claimOut{8, -1, 0}}), false},
		{"a release that is none", ownershipModel, at(op{claimIn{1}, claimOut{5, -1, 0}}, op{commitIn{5, 3, true}, done}, op{claimIn{2}, claimOut{0, 0, 5}}), false},
	} {
		if got := porcupine.CheckOperations(c.model, c.history); got != c.fits {
			t.Errorf("%s: fits is %v", c.name, got)
		}
	}
}
