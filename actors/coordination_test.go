package actors

// Promise: whatever comes and goes, and however late anybody hears of it, no
// partition has two owners, who lost one is told, and once it is quiet each
// partition is claimed by the one it was given to and nothing is written any
// more.

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog"
)

const (
	paperSpace       = keys.Space("/paper")
	paperTopic       = "0123456789abcdef"
	paperGroup       = "billing"
	paperRevoke      = 30 * time.Second
	paperOutOfTime   = 40 // rounds until a group has to be quiet
	paperQuietRounds = 8  // and for as long it has to stay so
)

func paperMemberKey(id string) string { return paperSpace.ConsumerMember(paperTopic, paperGroup, id) }
func paperClaimKey(p int) string      { return paperSpace.Claim(paperTopic, paperGroup, p) }

var (
	paperPlanKey     = paperSpace.Assignment(paperTopic, paperGroup)
	paperSettingsKey = paperSpace.ConsumerGroupMeta(paperTopic, paperGroup)
)

// paperEtcd is the keys of one group, with the guards of commitlog.
type paperEtcd struct {
	revision int64
	kvs      map[string]discovery.KV
	history  []discovery.Delta
}

func newPaperEtcd() *paperEtcd {
	e := &paperEtcd{revision: 99, kvs: make(map[string]discovery.KV)}
	e.put(paperSettingsKey, nil)
	return e
}

// put and drop write one revision each; in a transaction they are drawn together
// by txn.
func (e *paperEtcd) put(key string, value []byte) int64 { return e.txn([]string{key}, value, nil) }

func (e *paperEtcd) drop(gone ...string) { e.txn(nil, nil, gone) }

func (e *paperEtcd) txn(puts []string, value []byte, gone []string) int64 {
	gone = slices.DeleteFunc(slices.Clone(gone), func(k string) bool { return e.kvs[k].CreateRevision == 0 })
	if len(puts)+len(gone) == 0 {
		return e.revision
	}
	e.revision++
	d := discovery.Delta{Revision: e.revision}
	for _, k := range gone {
		d.Deletes = append(d.Deletes, e.kvs[k])
		delete(e.kvs, k)
	}
	for _, k := range puts {
		kv := discovery.KV{Key: k, Value: value, CreateRevision: cmp.Or(e.kvs[k].CreateRevision, e.revision), ModRevision: e.revision}
		e.kvs[k] = kv
		d.Puts = append(d.Puts, kv)
	}
	e.history = append(e.history, d)
	return e.revision
}

func (e *paperEtcd) snapshot() discovery.Snapshot {
	s := discovery.Snapshot{Revision: e.revision}
	for _, k := range slices.Sorted(maps.Keys(e.kvs)) {
		s.KVs = append(s.KVs, e.kvs[k])
	}
	return s
}

func (e *paperEtcd) member(id string) int64 { return e.kvs[paperMemberKey(id)].CreateRevision }

func (e *paperEtcd) claim(p int) (*pb.Claim, int64) {
	kv := e.kvs[paperClaimKey(p)]
	c, err := commitlog.ParseClaim(kv.Key, kv.Value)
	if err != nil {
		c = &pb.Claim{}
	}
	return c, kv.CreateRevision
}

func (e *paperEtcd) join(id string, leaving bool) int64 {
	return e.put(paperMemberKey(id), marshal(&pb.ConsumerMember{Id: id, Leaving: leaving}))
}

func (e *paperEtcd) claimFor(p int, id string, memberRevision, generation int64) int64 {
	return e.put(paperClaimKey(p), marshal(&pb.Claim{Member: id, MemberRevision: memberRevision, Generation: generation}))
}

// plan writes an assignment: shares are "member:0,1".
func (e *paperEtcd) plan(generation int64, partitions int, shares ...string) int64 {
	a := &pb.Assignment{Generation: generation, Partitions: uint32(partitions), By: "a"}
	for _, s := range shares {
		m, ps, _ := strings.Cut(s, ":")
		share := &pb.Share{Member: m}
		for p := range strings.SplitSeq(ps, ",") {
			var n uint32
			if _, err := fmt.Sscan(p, &n); err == nil {
				share.Partitions = append(share.Partitions, n)
			}
		}
		a.Shares = append(a.Shares, share)
	}
	return e.put(paperPlanKey, marshal(a))
}

// stepsOf writes steps as a table can hold them.
func stepsOf(s steps) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.settings == putSettingsBack {
		say("put settings back")
	}
	if s.assign != nil {
		var shares []string
		for _, share := range s.assign.Shares {
			shares = append(shares, fmt.Sprint(share.Member, share.Partitions))
		}
		say("assign %d of %d moving %d: %s", s.assign.Generation, s.assign.Partitions, s.moved, strings.Join(shares, " "))
	}
	if len(s.lost) > 0 {
		say("lost %v", s.lost)
	}
	if len(s.release) > 0 {
		say("release %v", s.release)
	}
	if len(s.claim) > 0 {
		say("claim %v", s.claim)
	}
	for _, p := range slices.Sorted(maps.Keys(s.revoke)) {
		word := "gone"
		if s.revoke[p].overdue {
			word = "overdue"
		}
		say("revoke %d %s %s", p, word, s.revoke[p].holder.Member)
	}
	for _, o := range s.orphans {
		say("orphan %d", o.Partition)
	}
	if s.again > 0 {
		say("again in %s", s.again)
	}
	return strings.Join(out, "; ")
}

func TestDecide(t *testing.T) {
	begin := time.Unix(1000, 0)
	// Each case makes the world that a, partitions 3, looks at; a is the member's
	// own revision. after is how long after the plan came it does.
	type world struct {
		e  *paperEtcd
		me *self
		a  int64
	}
	hold1 := func(w world, p int, stage holdStage) {
		w.me.holds[p] = hold{fence: w.e.claimFor(p, "a", w.a, 1), memberRevision: w.a, stage: stage}
	}
	for name, tc := range map[string]struct {
		world func(w world)
		after time.Duration
		want  string
	}{
		// Who assigns, and when.
		"the oldest assigns": {world: func(w world) { w.e.join("b", false) },
			want: "assign 1 of 3 moving 0: a[0 2] b[1]"},
		"one who is not the oldest does not": {world: func(w world) { w.e.drop(paperMemberKey("a")); w.e.join("b", false); w.e.join("a", false) },
			want: ""},
		"the oldest who is leaving does not count": {world: func(w world) {
			w.e.drop(paperMemberKey("a"))
			w.e.join("b", false)
			w.e.join("a", false)
			w.e.join("b", true)
		}, want: "assign 1 of 3 moving 0: a[0 1 2]"},
		"one who is leaving gives nothing out": {world: func(w world) { w.e.join("b", false); w.e.join("a", true) },
			want: ""},
		"what fits stays": {world: func(w world) { w.e.join("b", false); w.e.plan(1, 3, "a:0,2", "b:1"); w.me.busy = set(0, 2) },
			want: ""},
		"uneven by one stays": {world: func(w world) { w.e.join("b", false); w.e.plan(1, 3, "a:0", "b:1,2"); w.me.busy = set(0) },
			want: ""},
		"one came": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2"); w.e.join("b", false); w.me.busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 1: a[0 1] b[2]"},
		"one went": {world: func(w world) { w.e.plan(4, 3, "a:0,2", "b:1"); w.me.busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 1: a[0 1 2]"},
		"one is leaving": {world: func(w world) {
			w.e.join("b", true)
			w.e.plan(4, 3, "a:0,2", "b:1")
			w.me.busy = set(0, 1, 2)
		}, want: "assign 5 of 3 moving 1: a[0 1 2]"},
		"one with nothing went": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2", "b:"); w.me.busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 0: a[0 1 2]"},
		"the topic grew": {world: func(w world) { w.e.plan(4, 2, "a:0,1"); w.me.busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 0: a[0 1 2]"},
		"re-created under its name, nothing moves": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(4, 3, "a:0,2", "b:1")
			w.e.drop(paperMemberKey("b"))
			w.e.join("b", false)
			w.me.busy = set(0, 2)
		}, want: ""},
		"more members than partitions": {world: func(w world) {
			for _, m := range []string{"b", "c", "d"} {
				w.e.join(m, false)
			}
		}, want: "assign 1 of 3 moving 0: a[0] b[1] c[2] d[]"},
		"not before its own key is seen": {world: func(w world) { w.me.revision = 0 }, want: ""},
		"the plan is gone": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2"); hold1(w, 0, kept); w.e.drop(paperPlanKey) },
			want: "assign 1 of 3 moving 0: a[0 1 2]"},

		// Claiming.
		"claims what is free": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2") }, want: "claim [0 1 2]"},
		"not what it has, or is about": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); hold1(w, 0, kept); w.me.busy = set(2) },
			want: "claim [1]"},
		"its own that it does not know": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.e.claimFor(0, "a", w.a, 1)
			w.me.busy = set(1, 2)
		}, want: "claim [0]"},
		"not what the view is behind of": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.held[1] = 1 << 40 },
			want: "claim [0 2]"},
		"what the view has caught up with": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.held[1] = w.e.revision },
			want: "claim [0 1 2]"},
		"not beyond the topic's end": {world: func(w world) {
			w.e.drop(paperMemberKey("a"))
			w.e.join("b", false)
			w.me.revision = w.e.join("a", false)
			w.e.plan(1, 4, "a:2,3", "b:0,1")
		}, want: "claim [2]"},
		"not before it is a member": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.revision = 0 }, want: ""},

		// Taking away.
		"of one who is gone": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.e.claimFor(1, "z", 55, 1) },
			want: "claim [0 2]; revoke 1 gone z"},
		"of one who was re-created": {world: func(w world) {
			b := w.e.join("b", false)
			w.e.plan(1, 3, "a:0,2", "b:1")
			w.e.claimFor(0, "b", b-1, 1)
		}, want: "claim [2]; revoke 0 gone b"},
		"its own of another incarnation": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.e.claimFor(0, "a", w.a-1, 1) },
			want: "claim [1 2]; revoke 0 gone a"},
		"not yet of one who lives": {world: func(w world) {
			w.e.claimFor(0, "b", w.e.join("b", false), 1)
			w.e.plan(2, 3, "a:0,2", "b:1")
		}, after: paperRevoke / 3, want: "claim [2]; again in 20s"},
		"in the end of one who lives": {world: func(w world) {
			w.e.claimFor(0, "b", w.e.join("b", false), 1)
			w.e.plan(2, 3, "a:0,2", "b:1")
		}, after: paperRevoke, want: "claim [2]; revoke 0 overdue b"},
		"in the end of one who is leaving": {world: func(w world) {
			w.e.claimFor(0, "b", w.e.join("b", false), 1)
			w.e.join("b", true)
			w.e.plan(2, 3, "a:0,1,2")
		}, after: paperRevoke, want: "claim [1 2]; revoke 0 overdue b"},
		"of a generation that is to come": {world: func(w world) {
			w.e.claimFor(0, "b", w.e.join("b", false), 57)
			w.e.plan(1, 3, "a:0,2", "b:1")
		}, after: paperRevoke, want: "claim [2]; revoke 0 overdue b"},
		"not while something is done about it": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.e.claimFor(1, "z", 55, 1)
			w.me.busy = set(0, 1, 2)
		}, want: ""},
		"one that does not decode": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.e.put(paperClaimKey(1), []byte{0xff}) },
			want: "claim [0 2]; revoke 1 overdue "},

		// Giving back, and losing.
		"gives back what is another's": {world: func(w world) {
			w.e.join("b", false)
			hold1(w, 0, kept)
			hold1(w, 1, kept)
			w.e.plan(2, 3, "a:0,2", "b:1")
		}, want: "release [1]; claim [2]"},
		"not while there is no plan": {world: func(w world) {
			hold1(w, 0, kept)
			w.e.drop(paperMemberKey("a"))
			w.e.join("b", false)
			w.me.revision = 0
		},
			want: ""},
		"gives back what its former self had": {world: func(w world) {
			hold1(w, 0, kept)
			w.e.drop(paperMemberKey("a"))
			w.me.revision = w.e.join("a", false)
			w.e.plan(1, 3, "a:0,1,2")
		}, want: "release [0]; claim [1 2]"},
		"was lost, and is wanted": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			hold1(w, 0, kept)
			w.e.drop(paperClaimKey(0))
			w.me.busy = set(1, 2)
		}, want: "lost [0]; claim [0]"},
		"was lost to another": {world: func(w world) {
			b := w.e.join("b", false)
			hold1(w, 1, kept)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.drop(paperClaimKey(1))
			w.e.claimFor(1, "b", b, 2)
			w.me.busy = set(0, 2)
		}, want: "lost [1]"},
		"is ahead of the view": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.me.holds[0] = hold{fence: w.e.revision + 1, memberRevision: w.a}
			w.me.busy = set(1, 2)
		}, want: ""},
		"is being released, and there": {world: func(w world) {
			w.e.join("b", false)
			hold1(w, 1, beingReleased)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.me.busy = set(0, 2)
		}, want: ""},
		"is being released, and gone": {world: func(w world) {
			w.e.plan(2, 3, "a:0,1,2")
			hold1(w, 1, beingReleased)
			w.e.drop(paperClaimKey(1))
			w.me.busy = set(0, 2)
		}, want: ""},
		"nobody here knows of it": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.claimFor(1, "a", w.a, 1)
			w.me.busy = set(0, 2)
		}, want: "orphan 1"},
		"nobody here knows of it, and it is seen to": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.claimFor(1, "a", w.a, 1)
			w.me.busy = set(0, 1, 2)
		}, want: ""},

		// Groups that name their partitions.
		"manual claims what it named": {world: func(w world) { w.me.manual = []int{0, 2}; w.e.join("b", false) }, want: "claim [0 2]"},
		"manual waits for who lives": {world: func(w world) {
			w.me.manual = []int{0, 2}
			w.e.claimFor(2, "b", w.e.join("b", false), 0)
		}, after: 10 * paperRevoke, want: "claim [0]"},
		"manual takes from who is gone": {world: func(w world) { w.me.manual = []int{0, 2}; w.e.claimFor(2, "z", 9, 0) },
			want: "claim [0]; revoke 2 gone z"},
		"manual gives back what it did not name": {world: func(w world) { w.me.manual = []int{0}; hold1(w, 0, kept); hold1(w, 1, kept) },
			want: "release [1]"},
		"manual is not told what to have": {world: func(w world) { w.me.manual = []int{0}; w.e.plan(1, 3, "a:1,2"); hold1(w, 0, kept) },
			want: ""},

		// What others wrote.
		"a plan that does not decode": {world: func(w world) { w.e.put(paperPlanKey, []byte{0xff, 0xff}) },
			want: "assign 1 of 3 moving 0: a[0 1 2]"},
		"a plan that gives a partition twice": {world: func(w world) { w.e.plan(7, 3, "a:0,1", "b:1,2") },
			want: "assign 1 of 3 moving 0: a[0 1 2]"},
		"a plan of the last generation there can be": {world: func(w world) { w.e.plan(math.MaxInt64, 3, "z:0,1,2") },
			want: "assign 1 of 3 moving 3: a[0 1 2]"},
		"a member's key that does not decode": {world: func(w world) { w.e.put(paperMemberKey("b"), []byte{0xff}) },
			want: "assign 1 of 3 moving 0: a[0 1 2]"},
		// Settings.
		"no settings": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.e.drop(paperSettingsKey) },
			want: "put settings back; claim [0 1 2]"},
		"no settings, not the oldest": {world: func(w world) {
			w.e.drop(paperMemberKey("a"), paperSettingsKey)
			w.e.join("b", false)
			w.e.join("a", false)
			w.e.plan(1, 3, "a:0", "b:1,2")
		}, want: "claim [0]"},
		"no settings, of a manual group": {world: func(w world) { w.me.manual = []int{1}; w.e.drop(paperSettingsKey) },
			want: "put settings back; claim [1]"},
		"no settings, before one's key is seen": {world: func(w world) { w.me.revision = 0; w.e.drop(paperSettingsKey) }},
		"settings that are there again": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.e.drop(paperSettingsKey)
			w.e.put(paperSettingsKey, []byte{0xff})
		}, want: "claim [0 1 2]"},
		"keys that are not a group's": {world: func(w world) {
			w.e.put(paperSpace.ConsumerGroup(paperTopic, paperGroup)+"other/x", []byte{0xff})
			w.e.plan(1, 3, "a:0,1,2")
		}, want: "claim [0 1 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			me := &self{
				id: "a", partitions: 3, revoke: paperRevoke,
				holds: make(map[int]hold), busy: make(map[int]struct{}), held: make(map[int]int64),
			}
			e := newPaperEtcd()
			me.revision = e.join("a", false)
			tc.world(world{e, me, me.revision})
			if me.revision != 0 {
				me.revision = e.member("a")
			}
			// Seen at once, or one after the other: it comes to the same.
			listed, told := newConsumerGroup(), newConsumerGroup()
			listed.take(paperSpace, e.snapshot(), begin)
			for _, d := range e.history {
				told.take(paperSpace, d, begin)
			}
			for how, v := range map[string]*consumerGroup{"listed": listed, "told": told} {
				if got := stepsOf(v.decide(*me, begin.Add(tc.after))); got != tc.want && got != strings.ReplaceAll(tc.want, "assign 1 ", "assign 2 ") {
					t.Errorf("%s: got  %q\nwant %q", how, got, tc.want)
				}
			}
		})
	}
}

func set(ps ...int) map[int]struct{} {
	out := make(map[int]struct{})
	for _, p := range ps {
		out[p] = struct{}{}
	}
	return out
}

// The time that an assignment has been known does not begin anew when the group
// is listed again, or somebody writes the same once more.
func TestConsumerGroupRemembersWhenTheAssignmentCame(t *testing.T) {
	e := newPaperEtcd()
	begin := time.Unix(1000, 0)
	e.join("a", false)
	e.plan(3, 2, "a:0,1")
	v := newConsumerGroup()
	v.take(paperSpace, e.snapshot(), begin)
	v.take(paperSpace, e.snapshot(), begin.Add(time.Minute))
	if !v.plan.seen.Equal(begin) {
		t.Errorf("listed again: seen at %s", v.plan.seen)
	}
	e.plan(3, 2, "a:0,1")
	v.take(paperSpace, e.history[len(e.history)-1], begin.Add(2*time.Minute))
	if !v.plan.seen.Equal(begin) {
		t.Errorf("written again: seen at %s", v.plan.seen)
	}
	e.plan(4, 2, "a:0,1")
	v.take(paperSpace, e.history[len(e.history)-1], begin.Add(3*time.Minute))
	if !v.plan.seen.Equal(begin.Add(3 * time.Minute)) {
		t.Errorf("a new one: seen at %s", v.plan.seen)
	}
}

// paperMember does what subscription does with the steps, one message at a time.
type paperMember struct {
	g    *paperCompany
	id   string
	view *consumerGroup
	seen map[string]discovery.KV // what the view was told
	at   int                     // how much of the history that was

	phase      paperPhase
	partitions int // of the topic, as this process knows
	written    bool
	revision   int64 // of its key, as etcd answered
	lives      bool  // its session does
	stuck      bool  // its handlers do not return

	holds   map[int]*paperHold
	busy    map[int]struct{}
	held    map[int]int64
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
	hold
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
	}
	m.list()
	m.fly(func() { m.revision = g.e.join(id, false) }, func() { m.written = true; m.decide() })
	g.members = append(g.members, m)
}

// list begins the view, as a watch does.
func (m *paperMember) list() {
	m.view, m.seen, m.at = newConsumerGroup(), maps.Clone(m.g.e.kvs), len(m.g.e.history)
	m.view.take(paperSpace, m.g.e.snapshot(), m.g.now)
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
		m.view.take(paperSpace, d, m.g.now)
		m.decide()
	}
}

// relist takes everything that it missed as one change.
func (m *paperMember) relist() {
	d := discovery.Delta{Revision: m.g.e.revision}
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
	m.view.take(paperSpace, d, m.g.now)
	m.decide()
}

func (m *paperMember) self() self {
	me := self{
		id: m.id, partitions: m.partitions, revoke: paperRevoke,
		holds: make(map[int]hold), busy: m.busy, held: m.held,
	}
	if m.written {
		me.revision = m.view.members[m.id]
	}
	for p, h := range m.holds {
		me.holds[p] = h.hold
	}
	return me
}

func (m *paperMember) decide() {
	if m.phase != paperInside {
		return
	}
	me := m.self()
	s := m.view.decide(me, m.g.now)
	m.check(me, s)
	for _, p := range s.lost {
		delete(m.holds, p)
	}
	for _, p := range s.release {
		m.holds[p].asked = true
	}
	if s.settings == putSettingsBack && !m.mending {
		m.putSettingsBack()
	}
	if s.assign != nil && !m.giving {
		m.assign(s.assign, me.revision)
	}
	if len(s.claim) > 0 {
		m.claim(s.claim, me.revision)
	}
	for _, p := range slices.Sorted(maps.Keys(s.revoke)) {
		m.revoke(p, s.revoke[p], me.revision)
	}
	if len(s.orphans) > 0 {
		m.forsake(s.orphans)
	}
	m.believes()
}

// check is what holds of any steps.
func (m *paperMember) check(me self, s steps) {
	t := m.g.t
	if s.assign != nil {
		if _, err := commitlog.ParseAssignment(paperPlanKey, marshal(s.assign)); err != nil {
			t.Fatalf("%s writes an assignment that is none: %v", m.id, err)
		}
	}
	about := make(map[int]string)
	for word, ps := range map[string][]int{"claim": s.claim, "revoke": slices.Collect(maps.Keys(s.revoke)), "release": s.release} {
		for _, p := range ps {
			if about[p] != "" {
				t.Fatalf("%s is to %s and to %s partition %d", m.id, word, about[p], p)
			}
			about[p] = word
			if _, busy := me.busy[p]; busy && word != "release" {
				t.Fatalf("%s is to %s partition %d, about which something is being done", m.id, word, p)
			}
			if h, has := me.holds[p]; word == "release" && (!has || h.stage == beingReleased) {
				t.Fatalf("%s is to release partition %d, which it has not: %+v", m.id, p, h)
			}
			if word != "release" && m.view.plan.owners[p] != m.id {
				t.Fatalf("%s is to %s partition %d, which is %s's", m.id, word, p, m.view.plan.owners[p])
			}
		}
	}
	for _, o := range s.orphans {
		if _, has := me.holds[o.Partition]; has || about[o.Partition] != "" {
			t.Fatalf("%s is to forsake partition %d, which it has or wants", m.id, o.Partition)
		}
	}
	if s.again < 0 || s.again > paperRevoke {
		t.Fatalf("%s is to look again in %s", m.id, s.again)
	}
}

// believes: whoever has seen everything knows what is its own.
func (m *paperMember) believes() {
	if m.view.revision != m.g.e.revision {
		return
	}
	for p, h := range m.holds {
		if _, fence := m.g.e.claim(p); fence != h.fence && h.stage != beingReleased {
			m.g.t.Fatalf("%s has seen everything and believes to have partition %d with fence %d; it is %d", m.id, p, h.fence, fence)
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
			if h := m.holds[p]; h == nil || h.fence != fence {
				m.holds[p] = &paperHold{hold: hold{fence: fence, memberRevision: revision}, asked: m.phase != paperInside}
			}
		}
		m.decide()
	})
}

func (m *paperMember) revoke(p int, r revocation, revision int64) {
	m.g.asked++
	m.busy[p] = struct{}{}
	e, done := m.g.e, false
	m.fly(func() {
		_, fence := e.claim(p)
		if e.member(m.id) == revision && fence == r.holder.Revision && (r.overdue || e.member(r.holder.Member) != r.holder.MemberRevision) {
			e.drop(paperClaimKey(p))
			done = true
		}
	}, func() {
		delete(m.busy, p)
		if done && m.view.claims[p].Revision == r.holder.Revision {
			delete(m.view.claims, p)
		}
		m.decide()
	})
}

func (m *paperMember) forsake(orphans []commitlog.Position) {
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
			if m.view.claims[o.Partition].Revision == o.Fence {
				delete(m.view.claims, o.Partition)
			}
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
		if h := m.holds[p]; h.asked && h.stage == kept {
			h.stage = beingReleased
			ps = append(ps, p)
		}
	}
	if len(ps) > 0 {
		fences := make(map[int]int64)
		for _, p := range ps {
			fences[p] = m.holds[p].fence
		}
		m.g.asked++
		m.fly(func() {
			for _, p := range ps {
				m.g.e.release(p, fences[p])
			}
		}, func() {
			for _, p := range ps {
				if h := m.holds[p]; h != nil && h.fence == fences[p] {
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
	m.flights, m.giving, m.mending = nil, false, false
	m.busy, m.held = make(map[int]struct{}), make(map[int]int64)
	for _, h := range m.holds {
		h.stage = kept
	}
	m.list()
	m.decide()
}

func TestGroupSimulation(t *testing.T) {
	rapid.Check(t, simulateGroup)
}

func simulateGroup(t *rapid.T) {
	g := &paperCompany{
		t: t, e: newPaperEtcd(), now: time.Unix(1000, 0), fences: make(map[int]int64),
		partitions: rapid.IntRange(1, 5).Draw(t, "partitions"),
	}
	g.join("m0")
	ids := []string{"m0", "m1", "m2", "m3"}
	actions := slices.Concat(
		slices.Repeat([]string{"request"}, 12), slices.Repeat([]string{"hear"}, 8), slices.Repeat([]string{"finish"}, 4),
		[]string{"join", "join", "die", "renew", "drain", "restart", "relist", "clock", "clock", "grow", "learn", "stuck", "spoil claim", "spoil plan", "drop settings"},
	)
	for range rapid.IntRange(10, 150).Draw(t, "steps") {
		action := rapid.SampledFrom(actions).Draw(t, "action")
		living := g.living()
		if action == "join" {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			if !slices.ContainsFunc(living, func(m *paperMember) bool { return m.id == id }) {
				g.join(id)
			}
			continue
		}
		if len(living) == 0 {
			continue
		}
		m := living[rapid.IntRange(0, len(living)-1).Draw(t, "member")]
		switch action {
		case "request":
			if n := len(m.flights); n > 0 {
				m.step(rapid.IntRange(0, n-1).Draw(t, "which"))
			}
		case "hear":
			m.hear(rapid.IntRange(1, 4).Draw(t, "how much"))
		case "relist":
			m.relist()
		case "finish":
			if !m.stuck {
				m.finish()
			}
		case "die":
			m.die()
		case "renew":
			m.renew()
		case "drain":
			m.drain()
		case "restart":
			m.restart(rapid.Bool().Draw(t, "done"))
		case "clock":
			g.now = g.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			m.decide()
		case "grow":
			g.partitions = min(g.partitions+1, 6)
		case "learn":
			m.partitions = g.partitions
			m.decide()
		case "stuck":
			m.stuck = !m.stuck
		case "spoil claim":
			// Somebody overwrites a claim: its fence stays.
			p := rapid.IntRange(0, g.partitions-1).Draw(t, "partition")
			if _, fence := g.e.claim(p); fence != 0 {
				g.e.put(paperClaimKey(p), []byte{0xff})
			}
		case "spoil plan":
			g.e.put(paperPlanKey, []byte{0xff})
		case "drop settings":
			g.e.drop(paperSettingsKey)
		}
	}
	g.settle()
}

// settle: nothing more happens, and everybody hears of everything.
func (g *paperCompany) settle() {
	quiet, rounds, generation := 0, 0, int64(0)
	for ; quiet < paperQuietRounds; rounds++ {
		if rounds > paperOutOfTime {
			g.t.Fatalf("still at it after %d rounds: %s", rounds, g.describe())
		}
		revision, asked := g.e.revision, g.asked
		for _, m := range g.living() {
			m.partitions = g.partitions
			for n := 2 * len(m.flights); n > 0 && len(m.flights) > 0; n-- { // its answers may ask for more
				m.step(0)
			}
			m.hear(len(g.e.history))
			m.decide()
			if !m.stuck {
				m.finish()
			}
		}
		g.now = g.now.Add(paperRevoke / 4)
		if g.e.revision == revision && g.asked == asked {
			quiet++
		} else {
			quiet = 0
		}
	}
	var a pb.Assignment
	kv := g.e.kvs[paperPlanKey]
	if err := proto.Unmarshal(kv.Value, &a); err == nil {
		generation = a.Generation
	}
	owners := make(map[int]*paperMember)
	staying := 0
	for _, m := range g.living() {
		if m.phase != paperInside {
			continue
		}
		staying++
		for p, h := range m.holds {
			if owners[p] != nil {
				g.t.Fatalf("partition %d has two owners: %s", p, g.describe())
			}
			owners[p] = m
			if c, fence := g.e.claim(p); fence != h.fence || c.Member != "" && (c.Member != m.id || c.MemberRevision != g.e.member(m.id)) {
				g.t.Fatalf("%s has partition %d, which is %v's: %s", m.id, p, c, g.describe())
			}
		}
	}
	if staying == 0 {
		return
	}
	if g.e.kvs[paperSettingsKey].CreateRevision == 0 {
		g.t.Fatalf("the group has no settings: %s", g.describe())
	}
	if generation < 1 || len(a.Shares) != staying || int(a.Partitions) != g.partitions {
		g.t.Fatalf("%d members, %d partitions, the plan is %v: %s", staying, g.partitions, &a, g.describe())
	}
	for _, share := range a.Shares {
		for _, p := range share.Partitions {
			if m := owners[int(p)]; m == nil || m.id != share.Member {
				g.t.Fatalf("partition %d was given to %s: %s", p, share.Member, g.describe())
			}
		}
	}
	if len(owners) != g.partitions {
		g.t.Fatalf("%d of %d partitions have an owner: %s", len(owners), g.partitions, g.describe())
	}
}

func (g *paperCompany) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d\n", g.e.revision)
	for _, kv := range g.e.snapshot().KVs {
		var m proto.Message
		switch k, _ := paperSpace.Parse(kv.Key); k.Kind {
		case keys.KindConsumerMember:
			m = &pb.ConsumerMember{}
		case keys.KindClaim:
			m = &pb.Claim{}
		default:
			m = &pb.Assignment{}
		}
		err := proto.Unmarshal(kv.Value, m)
		fmt.Fprintf(&b, "%s created %d: %v %v\n", kv.Key, kv.CreateRevision, m, err)
	}
	for _, m := range g.living() {
		fmt.Fprintf(&b, "%s %s stuck=%v view %d busy %v held %v holds", m.id, m.phase, m.stuck, m.view.revision, m.busy, m.held)
		for p, h := range m.holds {
			fmt.Fprintf(&b, " %d:%+v", p, *h)
		}
		b.WriteString(" wants " + stepsOf(m.view.decide(m.self(), g.now)) + "\n")
	}
	return b.String()
}
