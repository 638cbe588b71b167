package rebalance

// A member on paper: it does what a subscription does, one message at a time.

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// paperMember does what a subscription does with the actions, one message at a time.
type paperMember struct {
	g    *paperCompany
	id   string
	view *View
	seen map[string]paperKV // what the view was told
	at   int                // how much of the history that was

	phase      paperPhase
	partitions int // of the topic, as this process knows
	written    bool
	revision   int64 // of its key, as etcd answered
	lives      bool  // its session does
	stuck      bool  // its handlers do not return

	holds   map[int]*paperHold
	busy    map[int]struct{}
	held    map[int]int64
	dead    map[string]int64 // whom it takes for dead
	burying map[string]struct{}
	keeping bool
	giving  bool
	mending bool
	flights []*paperFlight
}

type paperPhase string

const (
	paperInside   paperPhase = "inside"
	paperDraining paperPhase = "draining"
	paperGone     paperPhase = "gone"
)

type paperHold struct {
	Hold
	asked bool // to be released when the handler is through
}

// paperFlight is a request: etcd does it some time, and some time later the
// answer comes.
type paperFlight struct {
	do     func()
	answer func()
	done   bool
}

func (m *paperMember) fly(do, answer func()) {
	m.flights = append(m.flights, &paperFlight{do: do, answer: answer})
}

// step brings one request further.
func (m *paperMember) step(i int) {
	f := m.flights[i]
	if !f.done {
		f.do()
		f.done = true
		return
	}
	m.flights = slices.Delete(m.flights, i, i+1)
	f.answer()
}

// paperCompany is a group of them.
type paperCompany struct {
	t          *rapid.T
	e          *paperEtcd
	now        time.Time
	partitions int
	members    []*paperMember // those that are gone too
	fences     map[int]int64  // the last of each partition
	asked      int            // how many requests there were
}

func (g *paperCompany) living() (out []*paperMember) {
	for _, m := range g.members {
		if m.phase != paperGone {
			out = append(out, m)
		}
	}
	return out
}

func (g *paperCompany) join(id string) {
	m := &paperMember{
		g: g, id: id, phase: paperInside, partitions: g.partitions, lives: true,
		holds: make(map[int]*paperHold), busy: make(map[int]struct{}), held: make(map[int]int64),
		dead: make(map[string]int64), burying: make(map[string]struct{}),
	}
	m.list()
	m.fly(func() { m.revision = g.e.join(id, false) }, func() { m.written = true; m.decide() })
	g.members = append(g.members, m)
}

// list begins the view, as a watch does.
func (m *paperMember) list() {
	m.view, m.seen, m.at = NewView(), maps.Clone(m.g.e.kvs), len(m.g.e.history)
	m.g.e.snapshot().show(m.view, m.g.now)
}

// hear takes the next n changes, one by one.
func (m *paperMember) hear(n int) {
	for ; n > 0 && m.at < len(m.g.e.history); n-- {
		d := m.g.e.history[m.at]
		m.at++
		for _, kv := range d.Deletes {
			delete(m.seen, kv.Key)
		}
		for _, kv := range d.Puts {
			m.seen[kv.Key] = kv
		}
		d.show(m.view, m.g.now)
		m.decide()
	}
}

// relist takes everything that it missed as one change.
func (m *paperMember) relist() {
	d := paperChange{Revision: m.g.e.revision}
	for _, k := range slices.Sorted(maps.Keys(m.seen)) {
		if m.g.e.kvs[k].CreateRevision != m.seen[k].CreateRevision {
			d.Deletes = append(d.Deletes, m.seen[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.g.e.kvs)) {
		if m.g.e.kvs[k].ModRevision != m.seen[k].ModRevision {
			d.Puts = append(d.Puts, m.g.e.kvs[k])
		}
	}
	m.seen, m.at = maps.Clone(m.g.e.kvs), len(m.g.e.history)
	d.show(m.view, m.g.now)
	m.decide()
}

func (m *paperMember) self() Member {
	me := Member{
		ID: m.id, Partitions: m.partitions, RevokeTimeout: paperRevoke,
		Holds: make(map[int]Hold), Busy: m.busy, Others: m.held, Dead: m.dead, Burying: m.burying,
	}
	if m.written {
		me.Revision = m.view.members[m.id]
	}
	for p, h := range m.holds {
		me.Holds[p] = h.Hold
	}
	return me
}

func (m *paperMember) decide() {
	if m.phase != paperInside {
		return
	}
	me := m.self()
	s := m.view.Decide(me, m.g.now)
	m.check(me, s)
	for _, p := range s.Lost {
		delete(m.holds, p)
	}
	for _, p := range s.Release {
		m.holds[p].asked = true
	}
	if s.RestoreSettings && !m.mending {
		m.putSettingsBack()
	}
	if s.Assign != nil && !m.giving {
		m.assign(s.Assign, me.Revision)
	}
	if len(s.Claim) > 0 {
		m.claim(s.Claim, me.Revision)
	}
	for _, p := range slices.Sorted(maps.Keys(s.Revoke)) {
		m.revoke(p, s.Revoke[p], me.Revision)
	}
	if len(s.Orphans) > 0 {
		m.forsake(s.Orphans)
	}
	for _, id := range s.Bury {
		m.bury(id, me.Revision)
	}
	m.believes()
}

// check is what holds of any actions.
func (m *paperMember) check(me Member, s Actions) {
	t := m.g.t
	if s.Assign != nil {
		if _, err := format.ParseAssignment(paperPlanKey, marshal(s.Assign)); err != nil {
			t.Fatalf("%s writes an assignment that is none: %v", m.id, err)
		}
	}
	about := make(map[int]string)
	for word, ps := range map[string][]int{"claim": s.Claim, "revoke": slices.Collect(maps.Keys(s.Revoke)), "release": s.Release} {
		for _, p := range ps {
			if about[p] != "" {
				t.Fatalf("%s is to %s and to %s partition %d", m.id, word, about[p], p)
			}
			about[p] = word
			if _, busy := me.Busy[p]; busy && word != "release" {
				t.Fatalf("%s is to %s partition %d, about which something is being done", m.id, word, p)
			}
			if h, has := me.Holds[p]; word == "release" && (!has || h.Releasing) {
				t.Fatalf("%s is to release partition %d, which it has not: %+v", m.id, p, h)
			}
			if word != "release" && m.view.plan.owners[p] != m.id {
				t.Fatalf("%s is to %s partition %d, which is %s's", m.id, word, p, m.view.plan.owners[p])
			}
		}
	}
	for _, o := range s.Orphans {
		if _, has := me.Holds[o.Partition]; has || about[o.Partition] != "" {
			t.Fatalf("%s is to forsake partition %d, which it has or wants", m.id, o.Partition)
		}
	}
	if s.Again < 0 || s.Again > paperRevoke {
		t.Fatalf("%s is to look again in %s", m.id, s.Again)
	}
}

// believes: whoever has seen everything knows what is its own.
func (m *paperMember) believes() {
	if m.view.revision != m.g.e.revision {
		return
	}
	for p, h := range m.holds {
		if _, fence := m.g.e.claim(p); fence != h.Fence && !h.Releasing {
			m.g.t.Fatalf("%s has seen everything and believes to have partition %d with fence %d; it is %d", m.id, p, h.Fence, fence)
		}
	}
}

func (m *paperMember) putSettingsBack() {
	m.mending = true
	m.g.asked++
	m.fly(func() {
		if m.g.e.kvs[paperSettingsKey].CreateRevision == 0 {
			m.g.e.put(paperSettingsKey, nil)
		}
	}, func() { m.mending = false; m.decide() })
}

func (m *paperMember) assign(a *pb.Assignment, revision int64) {
	m.giving = true
	m.g.asked++
	previous, e := m.view.plan.modRevision, m.g.e
	m.fly(func() {
		if e.member(m.id) == revision && e.kvs[paperPlanKey].ModRevision == previous {
			e.put(paperPlanKey, marshal(a))
		}
	}, func() { m.giving = false; m.decide() })
}

func (m *paperMember) claim(ps []int, revision int64) {
	m.g.asked++
	for _, p := range ps {
		m.busy[p] = struct{}{}
	}
	e, plan, generation := m.g.e, m.view.plan.modRevision, m.view.plan.generation
	fences, held := make(map[int]int64), make(map[int]int64)
	m.fly(func() {
		if e.member(m.id) != revision || e.kvs[paperPlanKey].ModRevision != plan || !m.lives {
			return // raced
		}
		for _, p := range ps {
			c, fence := e.claim(p)
			switch {
			case fence == 0:
				fences[p] = e.claimFor(p, m.id, revision, generation)
				if fences[p] <= m.g.fences[p] {
					m.g.t.Fatalf("partition %d has fence %d after %d", p, fences[p], m.g.fences[p])
				}
				m.g.fences[p] = fences[p]
			case c.Member == m.id && c.MemberRevision == revision:
				fences[p] = fence
			default:
				held[p] = fence
			}
		}
	}, func() {
		for _, p := range ps {
			delete(m.busy, p)
		}
		maps.Copy(m.held, held)
		for p, fence := range fences {
			delete(m.held, p)
			if h := m.holds[p]; h == nil || h.Fence != fence {
				m.holds[p] = &paperHold{Hold: Hold{Fence: fence, MemberRevision: revision}, asked: m.phase != paperInside}
			}
		}
		m.decide()
	})
}

func (m *paperMember) revoke(p int, r Revocation, revision int64) {
	m.g.asked++
	m.busy[p] = struct{}{}
	e, done := m.g.e, false
	m.fly(func() {
		_, fence := e.claim(p)
		if e.member(m.id) == revision && fence == r.Holder.Revision && (r.Overdue || e.member(r.Holder.Member) != r.Holder.MemberRevision) {
			e.drop(paperClaimKey(p))
			done = true
		}
	}, func() {
		delete(m.busy, p)
		if done {
			m.view.Unclaimed(p, r.Holder.Revision)
		}
		m.decide()
	})
}

// accuse takes another member for dead, rightly or not.
func (m *paperMember) accuse(id string) {
	if revision := m.view.members[id]; revision != 0 && id != m.id {
		m.dead[id] = revision
		m.decide()
	}
}

// bury removes the key of a member that is taken for dead. One that lives puts it back.
func (m *paperMember) bury(id string, revision int64) {
	m.g.asked++
	m.burying[id] = struct{}{}
	e, dead := m.g.e, m.dead[id]
	m.fly(func() {
		if e.member(m.id) != revision || e.member(id) != dead {
			return
		}
		e.drop(paperMemberKey(id))
	}, func() {
		delete(m.burying, id)
		delete(m.dead, id)
		m.decide()
	})
}

// keep has the registry put back the key of a member that was buried alive.
func (m *paperMember) keep() {
	if !m.lives || !m.written || m.keeping || m.phase == paperGone || m.g.e.member(m.id) != 0 {
		return
	}
	m.keeping = true
	m.g.asked++
	m.fly(func() {
		if m.lives && m.phase != paperGone && m.g.e.member(m.id) == 0 {
			m.revision = m.g.e.join(m.id, m.phase == paperDraining)
		}
	}, func() { m.keeping = false; m.decide() })
}

func (m *paperMember) forsake(orphans []format.Position) {
	m.g.asked++
	for _, o := range orphans {
		m.busy[o.Partition] = struct{}{}
	}
	m.fly(func() {
		for _, o := range orphans {
			m.g.e.release(o.Partition, o.Fence)
		}
	}, func() {
		for _, o := range orphans {
			delete(m.busy, o.Partition)
			m.view.Unclaimed(o.Partition, o.Fence)
		}
		m.decide()
	})
}

func (e *paperEtcd) release(p int, fence int64) {
	if _, there := e.claim(p); there == fence && fence != 0 {
		e.drop(paperClaimKey(p))
	}
}

// finish: the handlers of what was asked back return.
func (m *paperMember) finish() {
	var ps []int
	for _, p := range slices.Sorted(maps.Keys(m.holds)) {
		if h := m.holds[p]; h.asked && !h.Releasing {
			h.Releasing = true
			ps = append(ps, p)
		}
	}
	if len(ps) > 0 {
		fences := make(map[int]int64)
		for _, p := range ps {
			fences[p] = m.holds[p].Fence
		}
		m.g.asked++
		m.fly(func() {
			for _, p := range ps {
				m.g.e.release(p, fences[p])
			}
		}, func() {
			for _, p := range ps {
				if h := m.holds[p]; h != nil && h.Fence == fences[p] {
					delete(m.holds, p)
				}
			}
			m.decide()
		})
	}
	if m.phase == paperDraining && len(m.holds) == 0 && len(m.flights) == 0 {
		m.leave()
	}
}

// leave takes the member's key away, and then what it may have claimed.
func (m *paperMember) leave() {
	m.phase = paperGone
	m.g.e.drop(paperMemberKey(m.id))
	for p := range m.g.partitions {
		if c, fence := m.g.e.claim(p); c.Member == m.id {
			m.g.e.release(p, fence)
		}
	}
}

// drain begins the orderly end.
func (m *paperMember) drain() {
	if m.phase != paperInside || !m.written {
		return
	}
	m.phase = paperDraining
	for _, h := range m.holds {
		h.asked = true
	}
	m.fly(func() {
		if m.lives {
			m.g.e.join(m.id, true)
			m.revision = m.g.e.member(m.id) // a new one, if it was buried
		}
	}, func() {})
}

// expire ends the session: its keys vanish together.
func (m *paperMember) expire() {
	m.lives = false
	var gone []string
	if m.revision != 0 && m.g.e.member(m.id) == m.revision {
		gone = append(gone, paperMemberKey(m.id))
	}
	for p := range m.g.partitions {
		if c, _ := m.g.e.claim(p); c.Member == m.id && c.MemberRevision == m.revision {
			gone = append(gone, paperClaimKey(p))
		}
	}
	m.g.e.drop(gone...)
}

// die ends the process; what it asked of etcd may still be done.
func (m *paperMember) die() {
	m.expire()
	m.phase, m.flights = paperGone, nil
}

// renew gets the process another session.
func (m *paperMember) renew() {
	if m.lives && m.written && m.phase == paperInside {
		m.expire()
		m.fly(func() { m.lives = true; m.revision = m.g.e.join(m.id, m.phase == paperDraining) }, func() { m.decide() })
	}
}

// restart is another incarnation of the actor: it keeps its claims.
func (m *paperMember) restart(done bool) {
	if m.phase != paperInside || !m.written || !m.lives {
		return
	}
	for _, f := range m.flights {
		if !f.done && done {
			f.do() // nobody hears the answer
		}
	}
	m.flights, m.giving, m.mending, m.keeping = nil, false, false, false
	m.busy, m.held = make(map[int]struct{}), make(map[int]int64)
	m.dead, m.burying = make(map[string]int64), make(map[string]struct{})
	for _, h := range m.holds {
		h.Releasing = false
	}
	m.list()
	m.decide()
}
