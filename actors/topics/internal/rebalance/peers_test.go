package rebalance

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBury(t *testing.T) {
	e := newPaperEtcd()
	me := Member{ID: "a", Partitions: 1, Holds: make(map[int]Hold), Busy: set(0), Others: make(map[int]int64), Process: "A"}
	me.Revision = e.joinFrom("a", "A")
	b, c := e.joinFrom("b", "B"), e.joinFrom("c", "C")
	e.plan(1, 1, "a:0", "b:", "c:")
	v := NewView()
	e.snapshot().show(v, time.Unix(1000, 0))
	for name, tc := range map[string]struct {
		dead    map[string]int64
		burying map[string]struct{}
		want    string
	}{
		"as it was":             {dead: map[string]int64{"c": c, "b": b}, want: "bury [b c]"},
		"under way":             {dead: map[string]int64{"b": b, "c": c}, burying: map[string]struct{}{"b": {}}, want: "bury [c]"},
		"it has come back":      {dead: map[string]int64{"b": b - 1}},
		"it is gone":            {dead: map[string]int64{"z": 7}},
		"oneself is not buried": {dead: map[string]int64{"a": me.Revision}},
	} {
		me.Dead, me.Burying = tc.dead, tc.burying
		if got := actionsOf(v.Decide(me, time.Unix(1000, 0))); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	me.Revision, me.Dead = 0, map[string]int64{"b": b}
	if got := actionsOf(v.Decide(me, time.Unix(1000, 0))); got != "" {
		t.Errorf("who is no member: %q", got)
	}
}

// Whoever is dead is remembered for as long as his key stands, and no longer: others may
// bury him.
func TestEnded(t *testing.T) {
	e, v, dead := newPaperEtcd(), NewView(), make(map[string]int64)
	e.joinFrom("a", "A")
	for n := range 100 {
		id := fmt.Sprint("m", n)
		e.joinFrom(id, "P"+id)
		e.joinFrom("twin-"+id, "P"+id)
		e.snapshot().show(v, time.Unix(1000, 0))
		v.Ended(dead, "P"+id)
		want := map[string]int64{id: e.member(id), "twin-" + id: e.member("twin-" + id)}
		if n > 0 {
			want["m0"] = e.member("m0") // whom nobody has buried
		}
		if !maps.Equal(dead, want) {
			t.Fatalf("%v are dead, want %v", dead, want)
		}
		for gone := range want {
			if gone != "m0" {
				e.drop(paperMemberKey(gone))
			}
		}
	}
}

// Each process that can be watched is, by another one, as long as there are two; and
// there are no more than two watches for each member.
func TestWatched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newPaperEtcd()
		processes := make(map[string]string)
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			id := fmt.Sprint("m", i)
			process := rapid.SampledFrom([]string{"", "A", "B", "C", "D", id}).Draw(t, "process")
			if process == "" {
				e.join(id, false)
				continue
			}
			e.joinFrom(id, process)
			processes[id] = process
		}
		if gone := rapid.IntRange(0, 8).Draw(t, "gone"); gone < 8 {
			e.drop(paperMemberKey(fmt.Sprint("m", gone)))
			delete(processes, fmt.Sprint("m", gone))
		}
		v := NewView()
		e.snapshot().show(v, time.Unix(1000, 0))
		ages := v.byAge()
		watches, by := 0, make(map[string]int)
		for _, id := range ages {
			watched := v.Watched(Member{ID: id, Revision: v.MemberRevision(id), Process: processes[id]})
			watches += len(watched)
			for token, p := range watched {
				if token == processes[id] {
					t.Fatalf("%s watches its own process %s", id, token)
				}
				if p.Token != token || len(p.Addresses) != 1 || p.Addresses[0] != token+":1" {
					t.Fatalf("%s watches %+v as %s", id, p, token)
				}
				dead := make(map[string]int64)
				if v.Ended(dead, token); !slices.Contains(slices.Collect(maps.Keys(dead)), firstOf(processes, token)) {
					t.Fatalf("nobody of %v is dead with %s", processes, token)
				}
				by[token]++
			}
		}
		if watches > 2*len(ages) {
			t.Fatalf("%d watches of %d members", watches, len(ages))
		}
		for _, process := range processes {
			others := slices.ContainsFunc(ages, func(id string) bool { return processes[id] != process })
			if watchedBy := by[process]; others && watchedBy == 0 {
				t.Fatalf("nobody watches %s: %v", process, processes)
			}
		}
		if got := v.Watched(Member{ID: "m0"}); len(got) != 0 {
			t.Fatalf("who is no member watches %v", got)
		}
	})
}

func firstOf(processes map[string]string, token string) string {
	for _, id := range slices.Sorted(maps.Keys(processes)) {
		if processes[id] == token {
			return id
		}
	}
	return ""
}
