package asks

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Promise: each group of a request settles it once, in its own name, while somebody waits;
// nothing is kept of what is over.
func TestTableAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		type model struct {
			a    *Ask
			left []string
			got  int
		}
		var all []*model
		groups := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch op := rapid.SampledFrom([]string{"begin", "settle", "settle", "forget"}).Draw(t, "op"); {
			case op == "begin":
				to := groups[:rapid.IntRange(1, 3).Draw(t, "groups")]
				m := &model{a: table.Begin(to), left: slices.Clone(to)}
				if slices.ContainsFunc(all, func(x *model) bool { return x.a.Number == m.a.Number }) || m.a.Number == 0 {
					t.Fatalf("the number %d again", m.a.Number)
				}
				all = append(all, m)
			case len(all) == 0:
			case op == "settle":
				m, group := rapid.SampledFrom(all).Draw(t, "ask"), rapid.SampledFrom(groups).Draw(t, "group")
				want := slices.Contains(m.left, group)
				if table.Settle(m.a.Number, group, Outcome{Err: errors.New(group)}) != want {
					t.Fatalf("group %s of %v is awaited: %t", group, m.left, !want)
				}
				if want {
					m.left = slices.DeleteFunc(m.left, func(g string) bool { return g == group })
					m.got++
					if o := <-m.a.Outcomes; o.Group != group || o.Err.Error() != group {
						t.Fatalf("the outcome of %s is %+v", group, o)
					}
				}
			default:
				m := rapid.SampledFrom(all).Draw(t, "ask")
				table.Forget(m.a)
				m.left = nil
			}
			waiting := 0
			for _, m := range all {
				if len(m.left) > 0 {
					waiting++
				}
			}
			if table.Waiting() != waiting {
				t.Fatalf("%d wait, want %d", table.Waiting(), waiting)
			}
		}
		if table.Settle(1<<40, "a", Outcome{}) {
			t.Fatal("a number that nobody has was awaited")
		}
	})
}
