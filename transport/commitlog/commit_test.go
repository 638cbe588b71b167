package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// What a write may do over what it found.
func TestJudge(t *testing.T) {
	const fence, known = 50, 70
	value := func(fence, offset int64) *pb.Committed { return &pb.Committed{Fence: fence, Offset: offset} }
	for name, c := range map[string]struct {
		w      writing
		offset int64
		sought bool
		found  standing
		want   ruling
	}{
		"an attempt before":                   {commits, 5, false, standing{fence, 80, value(fence, 5), 90}, written},
		"an attempt before, and a lost claim": {commits, 5, false, standing{60, 80, value(fence, 5), 90}, written},
		"the same offset from before":         {commits, 5, false, standing{60, known, value(fence, 5), 90}, refused},
		"another of its own":                  {commits, 5, false, standing{fence, 80, value(fence, 3), 90}, rewrite},
		"another of its own, claim lost":      {commits, 5, false, standing{60, 80, value(fence, 3), 90}, refused},
		"no claim":                            {commits, 5, false, standing{0, 80, value(fence, 3), 90}, refused},
		"another's":                           {commits, 5, false, standing{fence, 80, value(40, 5), 90}, refused},
		"a reset":                             {commits, 5, false, standing{fence, 80, value(0, 5), 90}, refused},
		"bytes of somebody else":              {commits, 5, false, standing{fence, 80, nil, 90}, rewrite},
		"deleted":                             {commits, 5, false, standing{fence, 0, nil, 90}, rewrite},
		"set back to before the first":        {commits, 5, false, standing{fence, 0, nil, 60}, refused},
		"set back":                            {commits, 5, false, standing{fence, 60, value(fence, 3), 90}, refused},
		"set back, and sought since":          {commits, 5, true, standing{fence, 60, value(fence, 3), 90}, rewrite},
		"set back far, and sought since":      {commits, 5, true, standing{fence, 0, nil, 60}, rewrite},
		"sought, and the claim lost":          {commits, 5, true, standing{60, 60, value(fence, 3), 90}, refused},
		"released before":                     {releases, 5, false, standing{0, 80, value(fence, 5), 90}, written},
		"released before, taken since":        {releases, 5, false, standing{60, 80, value(fence, 5), 90}, written},
		"committed before, not released":      {releases, 5, false, standing{fence, 80, value(fence, 5), 90}, rewrite},
		"taken away":                          {releases, 5, false, standing{0, known, value(fence, 3), 90}, refused},
		"taken away at that offset":           {releases, 5, false, standing{0, known, value(fence, 5), 90}, refused},
		"nothing to write":                    {releases, -1, false, standing{0, 80, value(40, 5), 90}, written},
	} {
		p := format.Position{Fence: fence, Known: known, Offset: c.offset, Sought: c.sought}
		if got := judge(c.w, p, c.found); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Writes of a group's place whose outcomes are lost, that are given up, made
// again, and reach etcd late and more than once: what returned last stands
// there, unless something newer was begun. No older one comes back.
func TestLateWritesChangeNothingNewer(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 1)
	fill(t, l, info, 0, 3)
	groups := 0
	rapid.Check(t, func(t *rapid.T) {
		if groups++; groups > 40 {
			return // each takes a while
		}
		group, first := fmt.Sprintf("g%d", groups), f.late()
		me := Me{Topic: info, Group: group, Member: "me", MemberRevision: 1} // nobody compares its key
		possible := []int64{-1}                                              // what may stand there
		check := func(after string) {
			v, err := l.client.Get(ctx, l.space.Committed(info.ID, group, 0))
			if err != nil {
				t.Fatal(err)
			}
			at, _, _, err := committedIn(v.Kvs)
			if err != nil || !slices.Contains(possible, at) {
				t.Fatalf("after %s: committed is %d, %v; want one of %v", after, at, err, possible)
			}
		}
		var c format.Position
		claim := func() { // as another owner does: never over the claim before
			key := l.space.Claim(info.ID, group, 0)
			if _, err := l.client.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			put, err := l.client.Put(ctx, key, format.Encode(&pb.Claim{Member: me.Member, MemberRevision: me.MemberRevision}))
			if err != nil {
				t.Fatal(err)
			}
			v, err := l.client.Get(ctx, l.space.Committed(info.ID, group, 0))
			if err != nil {
				t.Fatal(err)
			}
			c = format.Position{Fence: put.Header.Revision, Known: standingIn(v.Kvs, 0, 0).modRevision}
			at, _, _, _ := committedIn(v.Kvs)
			if !slices.Contains(possible, at) {
				t.Fatalf("a claim: committed is %d; want one of %v", at, possible)
			}
			possible = []int64{at} // what is late is of another claim
		}
		claim()
		plan := func() {
			f.next(fault{kind: rapid.SampledFrom([]faultKind{pass, pass, drop, lose, stall}).Draw(t, "fault")})
		}
		attempts := func(offset int64, try func() (over bool, err error)) {
			possible = append(possible, offset)
			for range rapid.IntRange(1, 3).Draw(t, "attempts") {
				plan()
				over, err := try()
				f.next()
				if err != nil && !errors.Is(err, messages.ErrUnavailable) && !errors.Is(err, messages.ErrFenced) {
					t.Fatal(err)
				}
				if over {
					if err == nil {
						possible = []int64{offset}
					}
					return
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				ps := []format.Position{c}
				ps[0].Offset = rapid.Int64Range(0, 30).Draw(t, "offset")
				lost := false
				attempts(ps[0].Offset, func() (bool, error) {
					errs, err := l.Commit(ctx, me, ps)
					if err != nil {
						return false, err
					}
					if lost = errs[0] != nil; !lost {
						c.Known = ps[0].Known
					}
					return true, errs[0]
				})
				if lost {
					claim()
				}
				check("a commit")
			},
			"release": func(t *rapid.T) {
				ps := []format.Position{c}
				ps[0].Offset = rapid.Int64Range(0, 30).Draw(t, "offset")
				over := false
				attempts(ps[0].Offset, func() (bool, error) {
					errs, err := l.Release(ctx, me, ps)
					if err != nil {
						return false, err
					}
					over = true
					return true, errs[0]
				})
				check("a release")
				if over {
					claim()
				}
			},
			"reset": func(t *rapid.T) {
				offset := rapid.Int64Range(0, 30).Draw(t, "offset")
				over := false
				attempts(offset, func() (bool, error) {
					_, err := l.ResetOffsets(ctx, info, group, messages.AtOffset(offset), nil, false, true)
					over = err == nil
					return over, err
				})
				check("a reset")
				if over {
					claim()
				}
			},
			"arrive": func(t *rapid.T) {
				if n := f.late() - first; n > 0 {
					f.arrive(t, first+rapid.IntRange(0, n-1).Draw(t, "late"))
				}
				check("a late one")
			},
			"take over": func(*rapid.T) { claim() },
		})
	})
}
