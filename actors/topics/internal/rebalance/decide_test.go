package rebalance

// Decisions one by one, each in a table.

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	begin := time.Unix(1000, 0)
	// Each case makes the world that a, partitions 3, looks at; a is the member's
	// own revision. after is how long after the plan came it does.
	type world struct {
		e  *paperEtcd
		me *Member
		a  int64
	}
	hold1 := func(w world, p int) {
		w.me.Holds[p] = Hold{Fence: w.e.claimFor(p, "a", w.a, 1), MemberRevision: w.a}
	}
	releasing1 := func(w world, p int) {
		hold1(w, p)
		h := w.me.Holds[p]
		h.Releasing = true
		w.me.Holds[p] = h
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
		"what fits stays": {world: func(w world) { w.e.join("b", false); w.e.plan(1, 3, "a:0,2", "b:1"); w.me.Busy = set(0, 2) },
			want: ""},
		"uneven by one stays": {world: func(w world) { w.e.join("b", false); w.e.plan(1, 3, "a:0", "b:1,2"); w.me.Busy = set(0) },
			want: ""},
		"one came": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2"); w.e.join("b", false); w.me.Busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 1: a[0 1] b[2]"},
		"one went": {world: func(w world) { w.e.plan(4, 3, "a:0,2", "b:1"); w.me.Busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 1: a[0 1 2]"},
		"one is leaving": {world: func(w world) {
			w.e.join("b", true)
			w.e.plan(4, 3, "a:0,2", "b:1")
			w.me.Busy = set(0, 1, 2)
		}, want: "assign 5 of 3 moving 1: a[0 1 2]"},
		"one with nothing went": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2", "b:"); w.me.Busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 0: a[0 1 2]"},
		"the topic grew": {world: func(w world) { w.e.plan(4, 2, "a:0,1"); w.me.Busy = set(0, 1, 2) },
			want: "assign 5 of 3 moving 0: a[0 1 2]"},
		"re-created under its name, nothing moves": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(4, 3, "a:0,2", "b:1")
			w.e.drop(paperMemberKey("b"))
			w.e.join("b", false)
			w.me.Busy = set(0, 2)
		}, want: ""},
		"more members than partitions": {world: func(w world) {
			for _, m := range []string{"b", "c", "d"} {
				w.e.join(m, false)
			}
		}, want: "assign 1 of 3 moving 0: a[0] b[1] c[2] d[]"},
		"not before its own key is seen": {world: func(w world) { w.me.Revision = 0 }, want: ""},
		"the plan is gone": {world: func(w world) { w.e.plan(4, 3, "a:0,1,2"); hold1(w, 0); w.e.drop(paperPlanKey) },
			want: "assign 1 of 3 moving 0: a[0 1 2]"},

		// Claiming.
		"claims what is free": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2") }, want: "claim [0 1 2]"},
		"not what it has, or is about": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); hold1(w, 0); w.me.Busy = set(2) },
			want: "claim [1]"},
		"its own that it does not know": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.e.claimFor(0, "a", w.a, 1)
			w.me.Busy = set(1, 2)
		}, want: "claim [0]"},
		"not what the view is behind of": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.Others[1] = 1 << 40 },
			want: "claim [0 2]"},
		"what the view has caught up with": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.Others[1] = w.e.revision },
			want: "claim [0 1 2]"},
		"not beyond the topic's end": {world: func(w world) {
			w.e.drop(paperMemberKey("a"))
			w.e.join("b", false)
			w.me.Revision = w.e.join("a", false)
			w.e.plan(1, 4, "a:2,3", "b:0,1")
		}, want: "claim [2]"},
		"not before it is a member": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.me.Revision = 0 }, want: ""},

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
			w.me.Busy = set(0, 1, 2)
		}, want: ""},
		"one that does not decode": {world: func(w world) { w.e.plan(1, 3, "a:0,1,2"); w.e.put(paperClaimKey(1), []byte{0xff}) },
			want: "claim [0 2]; revoke 1 overdue "},

		// Giving back, and losing.
		"gives back what is another's": {world: func(w world) {
			w.e.join("b", false)
			hold1(w, 0)
			hold1(w, 1)
			w.e.plan(2, 3, "a:0,2", "b:1")
		}, want: "release [1]; claim [2]"},
		"not while there is no plan": {world: func(w world) {
			hold1(w, 0)
			w.e.drop(paperMemberKey("a"))
			w.e.join("b", false)
			w.me.Revision = 0
		},
			want: ""},
		"gives back what its former self had": {world: func(w world) {
			hold1(w, 0)
			w.e.drop(paperMemberKey("a"))
			w.me.Revision = w.e.join("a", false)
			w.e.plan(1, 3, "a:0,1,2")
		}, want: "release [0]; claim [1 2]"},
		"was lost, and is wanted": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			hold1(w, 0)
			w.e.drop(paperClaimKey(0))
			w.me.Busy = set(1, 2)
		}, want: "lost [0]; claim [0]"},
		"was lost to another": {world: func(w world) {
			b := w.e.join("b", false)
			hold1(w, 1)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.drop(paperClaimKey(1))
			w.e.claimFor(1, "b", b, 2)
			w.me.Busy = set(0, 2)
		}, want: "lost [1]"},
		"is ahead of the view": {world: func(w world) {
			w.e.plan(1, 3, "a:0,1,2")
			w.me.Holds[0] = Hold{Fence: w.e.revision + 1, MemberRevision: w.a}
			w.me.Busy = set(1, 2)
		}, want: ""},
		"is being released, and there": {world: func(w world) {
			w.e.join("b", false)
			releasing1(w, 1)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.me.Busy = set(0, 2)
		}, want: ""},
		"is being released, and gone": {world: func(w world) {
			w.e.plan(2, 3, "a:0,1,2")
			releasing1(w, 1)
			w.e.drop(paperClaimKey(1))
			w.me.Busy = set(0, 2)
		}, want: ""},
		"nobody here knows of it": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.claimFor(1, "a", w.a, 1)
			w.me.Busy = set(0, 2)
		}, want: "orphan 1"},
		"nobody here knows of it, and it is seen to": {world: func(w world) {
			w.e.join("b", false)
			w.e.plan(2, 3, "a:0,2", "b:1")
			w.e.claimFor(1, "a", w.a, 1)
			w.me.Busy = set(0, 1, 2)
		}, want: ""},

		// Groups that name their partitions.
		"manual claims what it named": {world: func(w world) { w.me.Manual = []int{0, 2}; w.e.join("b", false) }, want: "claim [0 2]"},
		"manual waits for who lives": {world: func(w world) {
			w.me.Manual = []int{0, 2}
			w.e.claimFor(2, "b", w.e.join("b", false), 0)
		}, after: 10 * paperRevoke, want: "claim [0]"},
		"manual takes from who is gone": {world: func(w world) { w.me.Manual = []int{0, 2}; w.e.claimFor(2, "z", 9, 0) },
			want: "claim [0]; revoke 2 gone z"},
		"manual gives back what it did not name": {world: func(w world) { w.me.Manual = []int{0}; hold1(w, 0); hold1(w, 1) },
			want: "release [1]"},
		"manual is not told what to have": {world: func(w world) { w.me.Manual = []int{0}; w.e.plan(1, 3, "a:1,2"); hold1(w, 0) },
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
		"no settings, of a manual group": {world: func(w world) { w.me.Manual = []int{1}; w.e.drop(paperSettingsKey) },
			want: "put settings back; claim [1]"},
		"no settings, before one's key is seen": {world: func(w world) { w.me.Revision = 0; w.e.drop(paperSettingsKey) }},
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
			me := &Member{
				ID: "a", Partitions: 3, RevokeTimeout: paperRevoke,
				Holds: make(map[int]Hold), Busy: make(map[int]struct{}), Others: make(map[int]int64),
			}
			e := newPaperEtcd()
			me.Revision = e.join("a", false)
			tc.world(world{e, me, me.Revision})
			if me.Revision != 0 {
				me.Revision = e.member("a")
			}
			// Seen at once, or one after the other: it comes to the same.
			listed, told := NewView(), NewView()
			e.snapshot().show(listed, begin)
			for _, d := range e.history {
				d.show(told, begin)
			}
			for how, v := range map[string]*View{"listed": listed, "told": told} {
				if got := actionsOf(v.Decide(*me, begin.Add(tc.after))); got != tc.want && got != strings.ReplaceAll(tc.want, "assign 1 ", "assign 2 ") {
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

// The time that an assignment has been known does not begin again when the group
// is listed again, or somebody writes the same once more.
func TestViewRemembersWhenTheAssignmentCame(t *testing.T) {
	e := newPaperEtcd()
	begin := time.Unix(1000, 0)
	e.join("a", false)
	e.plan(3, 2, "a:0,1")
	v := NewView()
	e.snapshot().show(v, begin)
	e.snapshot().show(v, begin.Add(time.Minute))
	if !v.plan.seen.Equal(begin) {
		t.Errorf("listed again: seen at %s", v.plan.seen)
	}
	e.plan(3, 2, "a:0,1")
	e.history[len(e.history)-1].show(v, begin.Add(2*time.Minute))
	if !v.plan.seen.Equal(begin) {
		t.Errorf("written again: seen at %s", v.plan.seen)
	}
	e.plan(4, 2, "a:0,1")
	e.history[len(e.history)-1].show(v, begin.Add(3*time.Minute))
	if !v.plan.seen.Equal(begin.Add(3 * time.Minute)) {
		t.Errorf("a new one: seen at %s", v.plan.seen)
	}
}

// A member whose key somebody overwrote with other bytes has no place in the group,
// until it writes its key again.
func TestAMemberThatDoesNotDecodeIsNone(t *testing.T) {
	e := newPaperEtcd()
	begin := time.Unix(1000, 0)
	e.join("a", false)
	v := NewView()
	e.snapshot().show(v, begin)
	revision := v.MemberRevision("a")
	if revision == 0 {
		t.Fatal("the member is not seen")
	}
	e.put(paperMemberKey("a"), []byte{0xff})
	e.history[len(e.history)-1].show(v, begin)
	if got := v.MemberRevision("a"); got != 0 {
		t.Errorf("it is a member since revision %d", got)
	}
	e.join("a", false)
	e.history[len(e.history)-1].show(v, begin)
	if got := v.MemberRevision("a"); got != revision {
		t.Errorf("it is a member since revision %d, want %d", got, revision)
	}
}

// What etcd says of a claim that was removed takes no newer claim out of the view.
func TestUnclaimedIsAboutOneClaim(t *testing.T) {
	e := newPaperEtcd()
	removed := e.claimFor(0, "a", e.join("a", false), 1)
	e.drop(paperClaimKey(0))
	e.claimFor(0, "b", e.join("b", false), 1)
	e.plan(1, 1, "a:0", "b:")
	v := NewView()
	e.snapshot().show(v, time.Unix(1000, 0))
	me := Member{ID: "a"}
	v.Unclaimed(0, removed)
	if !v.Taken(me, 0) {
		t.Error("the newer claim is gone")
	}
	_, newer := e.claim(0)
	v.Unclaimed(0, newer)
	if v.Taken(me, 0) {
		t.Error("the claim is still there")
	}
}
