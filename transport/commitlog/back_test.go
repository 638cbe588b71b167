package commitlog

import (
	"errors"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// seen is a sight that takes everything, up to so many batches.
type seen struct {
	most   int
	begun  int
	end    format.LogEnd
	wanted []int64
	bases  []int64
}

func (s *seen) Begin(end format.LogEnd) {
	s.begun++
	s.end, s.wanted, s.bases = end, nil, nil
}

func (s *seen) Wants(e format.Entry) bool {
	s.wanted = append(s.wanted, e.Base)
	return s.most == 0 || len(s.wanted) <= s.most
}

func (s *seen) Sees(b *format.Batch) bool {
	s.bases = append(s.bases, b.Base)
	return s.most == 0 || len(s.bases) < s.most
}

// A partition is shown backwards as it is, batch by batch, down to its start or as far
// as is wanted.
func TestBack(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	var none seen
	if err := p.Back(ctx, &none); err != nil || none.begun != 1 || len(none.wanted) > 0 || none.end.Last >= 0 {
		t.Fatalf("an empty partition: %+v, %v", none, err)
	}
	a := p.Appender(AppenderConfig{Producer: 7})
	var bases []int64
	for i, n := range append(repeat(700, 1), append(repeat(3, window), repeat(20, 300)...)...) {
		values := make([]string, n)
		if i%7 == 0 {
			values[0] = string(make([]byte, 4000)) // with a key of its own
		}
		bases = append(bases, mustAppend(t, a, sealedWith(values...)))
	}
	slices.Reverse(bases)
	for _, most := range []int{0, 1, 5, 22, 25, 600} {
		s := seen{most: most}
		if err := p.Back(ctx, &s); err != nil {
			t.Fatal(err)
		}
		want := bases
		if most > 0 {
			want = bases[:most]
		}
		if !slices.Equal(s.bases, want) {
			t.Errorf("at most %d: %d batches from %v, want %d from %v", most, len(s.bases), s.bases[:1], len(want), want[:1])
		}
		if !s.end.Is(a.end) {
			t.Errorf("the end is %+v, the appender has %+v", s.end, a.end)
		}
	}
	start := bases[len(bases)-400]
	put(t, p.log, p.startKey(), keys.Offset(start))
	var s seen
	if err := p.Back(ctx, &s); err != nil || !slices.Equal(s.bases, bases[:len(bases)-399]) {
		t.Errorf("trimmed up to %d: %d batches, %v", start, len(s.bases), err)
	}
	remove(t, p.log, p.bodyKey(bases[1]))
	if err := p.Back(ctx, &s); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("without a body: %v", err)
	}
}

// A batch for one end only goes nowhere else, and the reading back shows why.
func TestABatchGoesBehindOneEndOnly(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a, b := p.Appender(AppenderConfig{Producer: 7}), p.Appender(AppenderConfig{Producer: 8})
	mustAppend(t, a, sealedWith("a"))
	end := a.end
	first := sealedWith("b")
	first.Only = &end
	mustAppend(t, b, first)
	s := sealedWith("c")
	s.Only = &end
	if _, err := a.Append(ctx, s, false); !errors.Is(err, format.ErrBehind) || s.Way.State != format.Fresh {
		t.Fatalf("behind another batch: %v, state %d", err, s.Way.State)
	}
	var look seen
	if err := a.Back(ctx, false, &look); err != nil || !slices.Equal(look.bases, []int64{1, 0}) {
		t.Fatalf("shown %v, %v", look.bases, err)
	}
	s.Only = &look.end
	if base := mustAppend(t, a, s); base != 2 {
		t.Errorf("put at %d", base)
	}
}

// An appender whose end is not that of the log, because etcd was set back, looks for
// it, and what was shown before is void.
func TestBackFromAnEndThatIsGone(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{Producer: 7})
	mustAppend(t, a, sealedWith("a"))
	mustAppend(t, a, sealedWith("b"))
	remove(t, p.log, p.indexKey(1))
	b := p.Appender(AppenderConfig{Producer: 8})
	mustAppend(t, b, sealedWith("other"))
	mustAppend(t, b, sealedWith("more"))
	var s seen
	if err := a.Back(ctx, false, &s); err != nil || s.begun != 2 || !s.end.Is(b.end) || !slices.Equal(s.bases, []int64{2, 1, 0}) {
		t.Errorf("shown %v from %+v in %d beginnings, %v", s.bases, s.end, s.begun, err)
	}
}
