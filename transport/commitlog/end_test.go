package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Any index, searched from any of its bases, has the end that it has.
func TestSearchFindsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1e6).Draw(t, "start")
		counts := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, window), rapid.Just(window), rapid.Just(1)), 0, 300).Draw(t, "counts")
		var index []format.Entry
		end := start
		for _, n := range counts {
			index = append(index, format.Entry{Base: end, Count: n})
			end += int64(n)
		}
		want := format.LogEnd{Offset: end, Last: -1}
		var s search
		if rapid.Bool().Draw(t, "hinted") {
			hint := rapid.Int64Range(0, 1e7).Draw(t, "hint")
			if len(index) > 0 && rapid.Bool().Draw(t, "true hint") {
				hint = rapid.SampledFrom(index).Draw(t, "hinted").Base
			} else if hint < end && hint > start {
				hint = end
			}
			s = searchAll(start, hint)
		} else {
			s = searchFrom(format.LogEnd{Offset: start, Last: -1})
		}
		if len(index) > 0 {
			want.Last = index[len(index)-1].Base
		}
		steps := 0
		for ; s.phase != found; steps++ {
			s.feed(answer(index, s.next()))
		}
		// Known from the start, when the search begins at the end.
		if s.Offset != want.Offset || s.Last != want.Last && s.Last != -1 {
			t.Fatalf("found %+v, want %+v", s.LogEnd, want)
		}
		if len(index) > 0 && s.Last != want.Last && s.restart != want.Offset {
			t.Fatalf("found %+v, want %+v", s.LogEnd, want)
		}
		if steps > 40 {
			t.Fatalf("%d steps", steps)
		}
	})
}

// answer is what etcd says to a probe.
func answer(index []format.Entry, q probe) (format.Entry, bool) {
	in := slices.DeleteFunc(slices.Clone(index), func(e format.Entry) bool { return e.Base < q.from || e.Base >= q.to })
	switch {
	case len(in) == 0:
		return format.Entry{}, false
	case q.last:
		return in[len(in)-1], true
	}
	return in[0], true
}

// plant writes index entries of the given counts, without batches.
func plant(t testing.TB, p *Partition, base int64, counts ...int) (end int64) {
	t.Helper()
	for some := range slices.Chunk(counts, 100) {
		var ops []clientv3.Op
		for _, n := range some {
			s := &format.Sealed{Count: n, MinTime: base, MaxTime: base + int64(n), Producer: 1, Sequence: uint64(base)}
			ops = append(ops, clientv3.OpPut(p.indexKey(base), string(s.EntryValue(10, base))))
			base += int64(n)
		}
		if _, err := p.log.client.Txn(testContext(t)).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func repeat(n, count int) []int { return slices.Repeat([]int{count}, n) }

func TestBounds(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	for i, test := range []struct {
		name   string
		start  int64
		counts []int
		hint   string
	}{
		{"empty", 0, nil, ""},
		{"trimmed and empty", 500, nil, ""},
		{"one record", 0, []int{1}, ""},
		{"small batches", 7, repeat(1000, 1), ""},
		{"full batches", 0, repeat(1000, window), ""},
		{"full and small", 0, append(repeat(500, window), repeat(1000, 3)...), ""},
		{"hinted", 0, repeat(1000, window), keys.Offset(900 * window)},
		{"hinted at the last", 0, repeat(3, 100), keys.Offset(200)},
		{"hint before the start", 5000, repeat(30, 100), keys.Offset(200)},
		{"hint past the end", 0, repeat(3, 100), keys.Offset(1e9)},
		{"hint that is none", 0, repeat(3, 100), "soon"},
		{"absurd hint", 0, repeat(3, 100), keys.Offset(math.MaxInt64)},
	} {
		info := create(t, l, fmt.Sprintf("topic%d", i), 1)
		p := l.Partition(info, 0)
		put(t, l, p.startKey(), keys.Offset(test.start))
		want := plant(t, p, test.start, test.counts...)
		if test.hint != "" {
			put(t, l, l.space.Hint(info.ID, 0), test.hint)
		}
		start, end, err := p.Bounds(ctx)
		if err != nil || start != test.start || end != want {
			t.Errorf("%s: from %d to %d, %v; want %d to %d", test.name, start, end, err, test.start, want)
		}
		if ends, es, err := l.Newest(ctx, info, []int{0}); err != nil || ends[0] != want || es[0].Count > 0 != (len(test.counts) > 0) || es[0].Count > 0 && es[0].End() != want {
			t.Errorf("%s: the newest is %+v at the end %d, %v", test.name, es, ends, err)
		}
		if offset, base, err := p.Resolve(ctx, messages.Latest()); offset != want || base != want || err != nil {
			t.Errorf("%s: the latest is %d in %d, %v", test.name, offset, base, err)
		}
		if offset, base, err := p.Resolve(ctx, messages.Earliest()); offset != test.start || base != test.start || err != nil {
			t.Errorf("%s: the earliest is %d in %d, %v", test.name, offset, base, err)
		}
		if _, _, err := p.Resolve(ctx, messages.AtOffset(want+1)); !errors.Is(err, messages.ErrOffsetOutOfRange) {
			t.Errorf("%s: past the end: %v", test.name, err)
		}
	}
}

func TestEndsOfManyPartitionsAtOneRevision(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	const n = 150
	info := create(t, l, "topic", n)
	all, want := make([]int, n), make([]int64, n)
	for i := range n {
		all[i] = n - 1 - i
		counts := repeat(i%5, 1+i*100)
		if i == 17 {
			counts = repeat(400, window)
		}
		want[all[i]] = plant(t, l.Partition(info, all[i]), 0, counts...)
	}
	starts, ends, rev, err := l.EndsAt(ctx, info, all, 0)
	if err != nil || rev == 0 {
		t.Fatal(rev, err)
	}
	for i, p := range all {
		if starts[i] != 0 || ends[i] != want[p] {
			t.Errorf("partition %d: from %d to %d, want %d", p, starts[i], ends[i], want[p])
		}
	}
	// What came later is not seen.
	plant(t, l.Partition(info, 3), want[3], 5)
	if _, ends, again, err := l.EndsAt(ctx, info, []int{3}, rev); err != nil || again != rev || ends[0] != want[3] {
		t.Errorf("end %d at %d, %v; want %d at %d", ends[0], again, err, want[3], rev)
	}
	if _, ends, _, err := l.EndsAt(ctx, info, []int{3}, 0); err != nil || ends[0] != want[3]+5 {
		t.Errorf("end %d now, %v; want %d", ends[0], err, want[3]+5)
	}
	if _, _, _, err := l.EndsAt(ctx, info, nil, 0); err != nil {
		t.Error(err)
	}
	if _, _, _, err := l.EndsAt(ctx, info, []int{0, n}, 0); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("a partition that is not there: %v", err)
	}
	// A revision that is gone is told; the present one is found again.
	latest := put(t, l, string(l.space)+"/noise", "")
	if _, err := l.client.Compact(ctx, latest); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := l.EndsAt(ctx, info, []int{3}, rev); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a revision that was compacted: %v", err)
	}
	if _, _, _, err := l.EndsAt(ctx, info, all, 0); err != nil {
		t.Error(err)
	}
}

func TestPartitionThatIsGone(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	p := l.Partition(create(t, l, "topic", 1), 1)
	for what, call := range map[string]func() error{
		"Bounds":  func() error { _, _, err := p.Bounds(ctx); return err },
		"Entries": func() error { _, err := p.Entries(ctx, 0, 1); return err },
		"Locate":  func() error { _, err := p.Locate(ctx, 0); return err },
		"Resolve": func() error { _, _, err := p.Resolve(ctx, messages.Earliest()); return err },
		"Fetch":   func() error { _, err := p.Fetch(ctx, []format.Entry{{Count: 1}}); return err },
		"Append": func() error {
			_, err := p.Appender(AppenderConfig{}).Append(ctx, sealedWith("x"), false)
			return err
		},
	} {
		if err := call(); !errors.Is(err, messages.ErrTopicDeleted) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// One partition at its end takes few requests, however long it is.
func TestEndIsFoundFast(t *testing.T) {
	l, _ := startEtcd(t)
	p := l.Partition(create(t, l, "topic", 1), 0)
	want := plant(t, p, 0, repeat(20000, 20)...)
	s := searchFrom(format.LogEnd{Last: -1})
	steps := 0
	for ; s.phase != found; steps++ {
		resp, err := l.client.Do(context.Background(), p.op(s.next(), 0))
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := p.one(resp.Get().Kvs)
		if err != nil {
			t.Fatal(err)
		}
		s.feed(e, ok)
	}
	if s.Offset != want || steps > 15 {
		t.Errorf("found %d, want %d, in %d steps", s.Offset, want, steps)
	}
}
