package commitlog

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// begins is where a group begins in partitions, -1 for what is not decided and -2
// for the earliest record.
func begins(b format.Beginning, partitions int) (at []int64) {
	for p := range partitions {
		start, decided := b.In(p)
		offset, isOffset := start.Offset()
		switch {
		case !decided:
			offset = -1
		case !isOffset:
			offset = -2
		}
		at = append(at, offset)
	}
	return at
}

func TestBeginningIsDecidedOnce(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", 3)
	fill(t, l, info, 0, 5)
	fill(t, l, info, 1, 3)
	trim(t, l, info, 0, 20)
	known := format.BeginningAt([]int64{7})
	for i, c := range []struct {
		name  string
		join  Joining
		want  error
		begin []int64 // in five partitions; the last two come later
	}{
		{"earliest", Joining{}, nil, []int64{-2, -2, -2, -2, -2}},
		{"latest", Joining{Start: messages.Latest()}, nil, []int64{50, 30, 0, -2, -2}},
		{"an offset, trimmed in one", Joining{Start: messages.AtOffset(0)}, nil, []int64{20, 0, 0, -2, -2}},
		{"an offset that one has not", Joining{Start: messages.AtOffset(25)}, messages.ErrOffsetOutOfRange, nil},
		{"a negative offset", Joining{Start: messages.AtOffset(-1)}, messages.ErrOffsetOutOfRange, nil},
		{"the largest offset", Joining{Start: messages.AtOffset(math.MaxInt64)}, messages.ErrOffsetOutOfRange, nil},
		{"an offset that the others have not", Joining{Manual: true, Named: []int{0, 1}, Start: messages.AtOffset(25)}, nil, []int64{25, 25, -1, -2, -2}},
		{"an offset that one named has not", Joining{Manual: true, Named: []int{0, 2}, Start: messages.AtOffset(25)}, messages.ErrOffsetOutOfRange, nil},
		{"a time", Joining{Start: messages.AtTime(time.Unix(0, 2))}, nil, []int64{20, 20, 0, -2, -2}},
		{"a time long gone", Joining{Start: messages.AtTime(time.Time{})}, nil, []int64{-2, -2, -2, -2, -2}},
		{"put back", Joining{Start: messages.Latest(), Began: &known}, nil, []int64{7, -2, -2, -2, -2}},
	} {
		group := fmt.Sprint("g", i)
		began, made, err := l.EnsureGroup(ctx, info, group, c.join)
		if !errors.Is(err, c.want) || made != (c.want == nil) || err == nil && fmt.Sprint(begins(began, 5)) != fmt.Sprint(c.begin) {
			t.Errorf("%s: %d, made %v, %v; want %d, %v", c.name, begins(began, 5), made, err, c.begin, c.want)
		}
		if c.want != nil {
			if left := under(t, l, "/"+group+"/"); len(left) > 0 {
				t.Errorf("%s: left %q", c.name, left)
			}
			continue
		}
		// Whoever comes later finds that, whatever he wants himself.
		c.join.Start, c.join.Began = messages.Earliest(), nil
		again, made, err := l.EnsureGroup(ctx, info, group, c.join)
		if err != nil || made || fmt.Sprint(begins(again, 5)) != fmt.Sprint(c.begin) {
			t.Errorf("%s, again: %d, made %v, %v", c.name, begins(again, 5), made, err)
		}
	}

	// A group of a version that did not record it.
	put(t, l, l.space.ConsumerGroupMeta(info.ID, "old"), format.Encode(&pb.ConsumerGroup{}))
	began, made, err := l.EnsureGroup(ctx, info, "old", Joining{Start: messages.Latest()})
	if err != nil || !made || begins(began, 1)[0] != -2 {
		t.Errorf("an old group: %d, %v, %v", begins(began, 1), made, err)
	}
	// Settings that somebody deleted change nothing about it.
	remove(t, l, l.space.ConsumerGroupMeta(info.ID, "g1"))
	if began, made, err = l.EnsureGroup(ctx, info, "g1", Joining{}); err != nil || !made || begins(began, 1)[0] != 50 {
		t.Errorf("without settings: %d, %v, %v", begins(began, 1), made, err)
	}
	// A reset of all partitions is a beginning, one of some is none.
	for group, partitions := range map[string][]int{"whole": nil, "part": {0}} {
		if _, err := l.ResetOffsets(ctx, info, group, messages.Latest(), partitions, false, false); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"whole": -2, "part": 30}[group]
		if began, _, err = l.EnsureGroup(ctx, info, group, Joining{Start: messages.Latest()}); err != nil || begins(began, 2)[1] != want {
			t.Errorf("after a reset of %v: %d, %v", partitions, begins(began, 2), err)
		}
	}
	put(t, l, l.space.Beginning(info.ID, "spoilt"), "\xff")
	if _, _, err := l.EnsureGroup(ctx, info, "spoilt", Joining{}); !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "spoilt/begin") {
		t.Errorf("a spoilt beginning: %v", err)
	}

	// A topic that grows at the moment of the decision, and an answer that is lost.
	f.next(fault{before: func() {
		f.next()
		if _, err := l.UpdateTopic(ctx, "orders", messages.TopicUpdate{Partitions: 4}); err != nil {
			t.Error(err)
		}
	}})
	if began, _, err = l.EnsureGroup(ctx, info, "growing", Joining{Start: messages.Latest()}); err != nil || begins(began, 5)[3] != 0 || begins(began, 5)[4] != -2 {
		t.Errorf("in a topic that grew: %d, %v", begins(began, 5), err)
	}
	f.next(fault{kind: lose})
	if _, _, err := l.EnsureGroup(ctx, info, "lost", Joining{Start: messages.Latest()}); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("a lost answer: %v", err)
	}
	fill(t, l, info, 2, 1)
	if began, made, err = l.EnsureGroup(ctx, info, "lost", Joining{Start: messages.Latest()}); err != nil || made || begins(began, 3)[2] != 0 {
		t.Errorf("after a lost answer: %d, %v, %v", begins(began, 3), made, err)
	}
}

// The largest topic has its beginning in one key and two requests.
func TestBeginningOfTheLargestTopic(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	info := create(t, l, "orders", messages.MaxPartitions)
	fill(t, l, info, messages.MaxPartitions-1, 2)
	writes := f.count()
	began, _, err := l.EnsureGroup(ctx, info, "group", Joining{Start: messages.Latest()})
	if err != nil || f.count()-writes != 1 {
		t.Fatal(f.count()-writes, err)
	}
	if at := begins(began, messages.MaxPartitions); at[0] != 0 || at[messages.MaxPartitions-1] != 20 {
		t.Errorf("%d, %d", at[0], at[messages.MaxPartitions-1])
	}
	// Nothing is committed, and what lags is what came since.
	fill(t, l, info, 0, 1)
	g, err := l.DescribeGroup(ctx, info, "group")
	if err != nil || g.Lag != 10 || g.Partitions[messages.MaxPartitions-1].Lag != 0 {
		t.Errorf("lag %d, %v", g.Lag, err)
	}
}
