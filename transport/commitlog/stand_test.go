package commitlog

import (
	"errors"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

func TestStand(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 70)
	for p := range 3 {
		fill(t, l, info, p, 4)
	}
	mark := func(p int, base int64) Mark {
		entries, err := l.Partition(info, p).Entries(ctx, base, 1)
		if err != nil {
			t.Fatal(err)
		}
		return Mark{p, entries[0]}
	}
	marks := []Mark{mark(0, 0), mark(0, 30), mark(1, 0), mark(1, 10), mark(2, 20), mark(2, 30)}
	other, shorter, beyond := mark(1, 20), mark(1, 20), mark(1, 30)
	other.Sequence++
	shorter.Count--
	beyond.Base += 10
	marks = append(marks, other, shorter, beyond)
	// Trimmed with and without its entry, gone, and damaged.
	put(t, l, l.space.LogStart(info.ID, 0), "00000000000000000020")
	trim(t, l, info, 1, 10)
	remove(t, l, l.space.IndexEntry(info.ID, 2, 20))
	put(t, l, l.space.IndexEntry(info.ID, 2, 30), "\xff")

	got, err := l.Stand(ctx, info, marks)
	if want := []bool{true, true, true, true, false, true, false, false, false}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}

	var many []Mark
	for p := range 70 {
		many = append(many, Mark{Partition: p})
	}
	before := f.requests.Load()
	if got, err = l.Stand(ctx, info, many); err != nil || len(got) != 70 || slices.Contains(got[3:], true) {
		t.Errorf("%v, %v", got, err)
	}
	if n := f.requests.Load() - before; n != 2 {
		t.Errorf("%d requests", n)
	}
	if _, err := l.Stand(ctx, info, []Mark{{Partition: 70}}); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if got, err := l.Stand(ctx, info, nil); err != nil || len(got) != 0 {
		t.Errorf("no marks: %v, %v", got, err)
	}
}
