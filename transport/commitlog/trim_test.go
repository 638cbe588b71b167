package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// big is a value whose batch does not fit into its entry.
func big(name string) string { return name + strings.Repeat("-", 2*format.InlineBytes) }

// filled is a partition with n batches of two records, every other one large.
func filled(t testing.TB, l *Log, n int) (*Partition, *Appender) {
	t.Helper()
	p := l.Partition(create(t, l, "orders", 1), 0)
	a := p.Appender(AppenderConfig{Producer: 7})
	for i := range n {
		v := fmt.Sprint(2 * i)
		if i%2 == 1 {
			v = big(v)
		}
		mustAppend(t, a, sealedWith(v, fmt.Sprint(2*i+1)))
	}
	return p, a
}

// alive are the first characters of the records that are not erased, with offsets.
func alive(t testing.TB, p *Partition) (left []int64) {
	t.Helper()
	ctx := testContext(t)
	at, _, err := p.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := p.Entries(ctx, at, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	for some := range slices.Chunk(entries, 20) {
		batches, err := p.Fetch(ctx, some)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range batches {
			if b.Base != at || b.Count != some[i].Count {
				t.Fatalf("a batch of %d at %d, want one of %d at %d", b.Count, b.Base, some[i].Count, at)
			}
			for raw := b.Raw; len(raw) > 0; at++ {
				var r messages.Payload
				n, err := messages.ConsumeRecord(raw, &r)
				if err != nil {
					t.Fatal(err)
				}
				if !messages.Erased(&r) {
					if value, _, _ := strings.Cut(string(r.Value), "-"); value != fmt.Sprint(at) {
						t.Fatalf("offset %d has %q", at, value)
					}
					left = append(left, at)
				}
				raw = raw[n:]
			}
		}
	}
	return left
}

func upFrom(from, to int64, but ...int64) (all []int64) {
	for o := from; o < to; o++ {
		if !slices.Contains(but, o) {
			all = append(all, o)
		}
	}
	return all
}

// Promise: a truncated partition begins at the batch that holds the offset, without the
// records before that, and appends continue where they were.
func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		before, start int64
		erased        int
	}{{0, 0, 0}, {2, 2, 0}, {5, 4, 1}, {7, 6, 1}, {20, 20, 0}} {
		t.Run(fmt.Sprint(tt.before), func(t *testing.T) {
			l, _ := startEtcd(t)
			p, a := filled(t, l, 10)
			ctx := testContext(t)
			for i := range 2 {
				got, err := p.Truncate(ctx, tt.before)
				want := messages.Truncated{From: 0, Start: tt.start, Erased: tt.erased}
				if i == 1 {
					want.From, want.Erased = tt.start, 0
				}
				if err != nil || got != want {
					t.Fatalf("call %d: %+v, %v; want %+v", i, got, err, want)
				}
			}
			if got, want := alive(t, p), upFrom(tt.before, 20); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("left %v, want %v", got, want)
			}
			for _, key := range under(t, l, "/body/") {
				if k, _ := l.space.Parse(key); k.Base < tt.start {
					t.Errorf("the body at %d is left", k.Base)
				}
			}
			if base := mustAppend(t, a, sealedWith("20")); base != 20 {
				t.Errorf("appended at %d, want 20", base)
			}
			if base := mustAppend(t, p.Appender(AppenderConfig{Producer: 8}), sealedWith("21")); base != 21 {
				t.Errorf("another appended at %d, want 21", base)
			}
			if _, err := p.Truncate(ctx, 100); !errors.Is(err, messages.ErrOffsetOutOfRange) {
				t.Errorf("past the end: %v", err)
			}
		})
	}
}

// Promise: the entries of trimmed batches go later, and appends and readers do not need
// them then.
func TestDeleteTrimmed(t *testing.T) {
	l, _ := startEtcd(t)
	p, a := filled(t, l, 10)
	ctx := testContext(t)
	if _, err := p.Truncate(ctx, 20); err != nil {
		t.Fatal(err)
	}
	if n, more, err := p.DeleteTrimmed(ctx, Office{}, Entries, 21); n != 0 || more || err != nil {
		t.Fatalf("beyond the start: %d, %v, %v", n, more, err)
	}
	if n, more, err := p.DeleteTrimmed(ctx, Office{}, Entries, 20); n != 10 || more || err != nil {
		t.Fatalf("%d, %v, %v", n, more, err)
	}
	if left := under(t, l, "/index/"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if start, end, err := p.Bounds(ctx); start != 20 || end != 20 || err != nil {
		t.Errorf("from %d to %d, %v", start, end, err)
	}
	d, err := l.Describe(ctx, "orders")
	if err != nil || d.Partitions[0].Bytes != 0 || d.Partitions[0].Start != 20 {
		t.Errorf("%+v, %v", d.Partitions, err)
	}
	if base := mustAppend(t, a, sealedWith("20")); base != 20 {
		t.Errorf("appended at %d", base)
	}
	if got := alive(t, p); !slices.Equal(got, upFrom(20, 21)) {
		t.Errorf("left %v", got)
	}
}

// Promise: a batch whose response was lost, and which was trimmed since, is found by its
// entry as long as that is there; without it the outcome is unknown, and it is not put
// again.
func TestTrimmedBeforeItsOutcomeIsKnown(t *testing.T) {
	for _, evidence := range []bool{true, false} {
		l, f := startEtcd(t)
		p, a := filled(t, l, 3)
		ctx := testContext(t)
		trim := func() {
			if _, err := p.Truncate(ctx, 8); err != nil {
				t.Error(err)
			}
			if !evidence {
				if _, _, err := p.DeleteTrimmed(ctx, Office{}, Entries, 8); err != nil {
					t.Error(err)
				}
			}
		}
		f.next(fault{kind: lose}, fault{kind: pass, before: trim})
		base, err := a.Append(ctx, sealedWith("6", "7"), false)
		if evidence && (base != 6 || err != nil) {
			t.Errorf("with its entry: %d, %v", base, err)
		}
		if !evidence && !errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("without: %d, %v", base, err)
		}
		if start, end, err := p.Bounds(ctx); start != 8 || end != 8 || err != nil {
			t.Errorf("from %d to %d, %v", start, end, err)
		}
	}
}

// Promise: what a keeper decided upon something that is not so any more is not done: its
// office, the start, or the last batch are other ones.
func TestTrimComparesValues(t *testing.T) {
	l, _ := startEtcd(t)
	p, _ := filled(t, l, 4)
	ctx := testContext(t)
	lease, err := l.client.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	office, held, err := l.TakeOffice(ctx, lease.ID, "me")
	if err != nil || !held {
		t.Fatal(held, err)
	}
	if again, held, err := l.TakeOffice(ctx, lease.ID, "me"); again != office || !held || err != nil {
		t.Errorf("taken again: %v, %v, %v", again, held, err)
	}
	if _, held, err := l.TakeOffice(ctx, lease.ID, "another"); held || err != nil {
		t.Errorf("another took it: %v, %v", held, err)
	}
	entries, err := p.Entries(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Trim(ctx, office, 2, entries[1], 2); ok || err != nil {
		t.Errorf("from another start: %v, %v", ok, err)
	}
	other := entries[1]
	other.Value = strings.Replace(other.Value, "\x08\x02", "\x08\x03", 1)
	if ok, err := p.Trim(ctx, office, 0, other, 2); ok || err != nil || other.Value == entries[1].Value {
		t.Errorf("behind another batch: %v, %v", ok, err)
	}
	put(t, l, l.space.Keeper(), "another")
	if ok, err := p.Trim(ctx, office, 0, entries[1], 2); ok {
		t.Errorf("with another in the office: %v, %v", ok, err)
	}
	remove(t, l, l.space.Keeper())
	if ok, err := p.Trim(ctx, office, 0, entries[1], 2); ok || !errors.Is(err, ErrNotKeeper) {
		t.Errorf("without an office: %v, %v", ok, err)
	}
	if ok, err := p.Trim(ctx, Office{}, 0, entries[1], 2); !ok || err != nil {
		t.Errorf("as a user: %v, %v", ok, err)
	}
	if got := value(t, l, p.startKey()); got != keys.Offset(4) {
		t.Errorf("it begins at %s", got)
	}
}

// Promise: an erased record keeps its offset and is given to nobody; appends behind its
// batch go on, and what others erase at the same time is erased as well.
func TestErase(t *testing.T) {
	l, _ := startEtcd(t)
	p, a := filled(t, l, 4)
	ctx := testContext(t)
	for _, tt := range []struct {
		offsets []int64
		erased  int
		fault   error
	}{
		{[]int64{1, 2, 7}, 3, nil},
		{[]int64{2, 3}, 1, nil},
		{[]int64{0, 8}, 0, messages.ErrOffsetOutOfRange},
		{[]int64{-1}, 0, messages.ErrOffsetOutOfRange},
	} {
		n, err := p.EraseOffsets(ctx, tt.offsets)
		if n != tt.erased || !errors.Is(err, tt.fault) {
			t.Errorf("%v: %d, %v", tt.offsets, n, err)
		}
	}
	if got := alive(t, p); !slices.Equal(got, []int64{0, 4, 5, 6}) {
		t.Errorf("left %v", got)
	}
	if base := mustAppend(t, a, sealedWith("8")); base != 8 { // its last batch is not as it knows it
		t.Errorf("appended at %d", base)
	}
	if n, err := p.EraseWhere(ctx, func(_ int64, r *messages.Payload) bool { return string(r.Value) == "5" || string(r.Value) == "8" }); n != 2 || err != nil {
		t.Errorf("where: %d, %v", n, err)
	}
	if base := mustAppend(t, a, sealedWith("9")); base != 9 {
		t.Errorf("appended at %d", base)
	}
	if got := alive(t, p); !slices.Equal(got, []int64{0, 4, 6, 9}) {
		t.Errorf("left %v", got)
	}
}

// Promise: two that erase in one batch erase both, whichever writes first.
func TestEraseTogether(t *testing.T) {
	l, f := startEtcd(t)
	p, _ := filled(t, l, 2)
	ctx := testContext(t)
	other, _ := logAt(t, l.space)
	f.next(fault{kind: pass, before: func() {
		if _, err := other.Partition(p.topic, 0).EraseOffsets(ctx, []int64{3}); err != nil {
			t.Error(err)
		}
	}})
	if n, err := p.EraseOffsets(ctx, []int64{2}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := alive(t, p); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("left %v", got)
	}
}

// Promise: a partition that is full refuses what is put, until it is trimmed or the
// limit is raised.
func TestFullPartitionRefuses(t *testing.T) {
	for _, cfg := range []messages.TopicConfig{
		{Discard: messages.DiscardNew, MaxRecords: 6},
		{Discard: messages.DiscardNew, MaxBytes: messages.MinTopicBytes},
	} {
		l, _ := startEtcd(t)
		info, err := l.CreateTopic(testContext(t), "orders", cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := l.Partition(info, 0)
		a := p.Appender(AppenderConfig{Producer: 7, Info: func() *messages.TopicInfo { return &info }})
		batch := func() *format.Sealed {
			sequence++
			return format.Seal(noise(2, 200<<10), 2, 1, 1, 1, messages.CompressNone, 7, sequence)
		}
		appended := 0
		for ; appended < 10; appended++ {
			if _, err = a.Append(testContext(t), batch(), false); err != nil {
				break
			}
		}
		if want := 2 + appended/3; !errors.Is(err, messages.ErrTopicFull) || appended != want && appended != 3 {
			t.Fatalf("%+v: after %d batches: %v", cfg, appended, err)
		}
		if _, err := p.Truncate(testContext(t), 2); err != nil {
			t.Fatal(err)
		}
		awaitAppend(t, a, batch)
		if _, err := a.Append(testContext(t), batch(), false); !errors.Is(err, messages.ErrTopicFull) {
			t.Errorf("full again: %v", err)
		}
		info.Config.MaxRecords, info.Config.MaxBytes = info.Config.MaxRecords*2, info.Config.MaxBytes*2
		if _, err := a.Append(testContext(t), batch(), false); err != nil {
			t.Errorf("with twice the limit: %v", err)
		}
	}
}

// awaitAppend appends when the appender has seen that there is room.
func awaitAppend(t *testing.T, a *Appender, batch func() *format.Sealed) {
	t.Helper()
	for {
		_, err := a.Append(testContext(t), batch(), false)
		if err == nil {
			return
		}
		if !errors.Is(err, messages.ErrTopicFull) {
			t.Fatal(err)
		}
		pause(testContext(t), floorEvery/4)
	}
}

// Promise: an etcd that was set back to where a partition began earlier, or sizes that
// began again, neither hold up the appends of a topic that refuses what is too much, nor
// let more in.
func TestFullPartitionAfterItsStartMoved(t *testing.T) {
	l, _ := startEtcd(t)
	info, err := l.CreateTopic(testContext(t), "orders", messages.TopicConfig{Discard: messages.DiscardNew, MaxBytes: messages.MinTopicBytes})
	if err != nil {
		t.Fatal(err)
	}
	p := l.Partition(info, 0)
	limited := AppenderConfig{Producer: 7, Info: func() *messages.TopicInfo { return &info }}
	a, b := p.Appender(limited), p.Appender(limited)
	batch := func() *format.Sealed {
		sequence++
		return format.Seal(noise(2, 200<<10), 2, 1, 1, 1, messages.CompressNone, 7, sequence)
	}
	ctx := testContext(t)
	mustAppend(t, a, batch())
	mustAppend(t, a, batch())
	if _, err := p.Truncate(ctx, 4); err != nil {
		t.Fatal(err)
	}
	awaitAppend(t, a, batch)
	put(t, l, p.startKey(), keys.Offset(2))
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := a.Append(short, batch(), false); err != nil && !errors.Is(err, messages.ErrTopicFull) {
		t.Fatalf("after it began at 2 again: %v", err)
	}
	_, end, err := p.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Truncate(ctx, end); err != nil {
		t.Fatal(err)
	}
	awaitAppend(t, a, batch) // it has looked where the partition begins
	if _, err := p.Truncate(ctx, end+2); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.DeleteTrimmed(ctx, Office{}, Entries, end+2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustAppend(t, b, batch())
	}
	for range 10 {
		if _, err = a.Append(ctx, batch(), false); err != nil {
			break
		}
	}
	heads, herr := l.Heads(ctx, info)
	if herr != nil {
		t.Fatal(herr)
	}
	if has := heads[0].End.Bytes; !errors.Is(err, messages.ErrTopicFull) || has > info.Config.MaxBytes {
		t.Errorf("%d bytes of %d, %v", has, info.Config.MaxBytes, err)
	}
}

// Promise: what counts as done by all groups ends at the first record that one of them has
// not finished, whatever is finished behind it.
func TestDoneEndsAtTheFirstOpenRecord(t *testing.T) {
	ctx := testContext(t)
	l, _ := startEtcd(t)
	info := create(t, l, "orders", 1)
	fill(t, l, info, 0, 2)
	me := join(t, l, info, "group", "me")
	at := claimOne(t, l, me, 0).at(5, 0)
	at.Progress = format.Progress{Done: []format.Range{{From: 6, To: 18}}}
	if errs, err := l.Commit(ctx, me, []format.Position{at}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if done, err := l.Done(ctx, info); err != nil || !slices.Equal(done, []int64{5}) {
		t.Errorf("%v, %v; record 5 is open", done, err)
	}
}

// Promise: who knows where partitions ended learns with one request where they end, the same
// as who knows nothing, also when what is known is of another log.
func TestHeadsSinceTakesOneRequest(t *testing.T) {
	ctx := testContext(t)
	l, f := startEtcd(t)
	info := create(t, l, "orders", 3)
	for p := range 3 {
		fill(t, l, info, p, 4)
	}
	look := func(what string, known []Head, requests int64) []Head {
		t.Helper()
		want, err := l.Heads(ctx, info)
		if err != nil {
			t.Fatal(err)
		}
		before := f.requests.Load()
		got, err := l.HeadsSince(ctx, info, known)
		if n := f.requests.Load() - before; err != nil || n > requests || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %d requests, want %d\n%+v, want\n%+v: %v", what, n, requests, got, want, err)
		}
		return want
	}
	empty := create(t, l, "empty", 2)
	none, err := l.Heads(ctx, empty)
	if err != nil {
		t.Fatal(err)
	}
	before := f.requests.Load()
	if again, err := l.HeadsSince(ctx, empty, none); err != nil || f.requests.Load()-before != 1 || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", none) {
		t.Errorf("empty ones: %+v, %v, by %d requests", again, err, f.requests.Load()-before)
	}
	heads := look("nothing has changed", look("nothing is known", nil, 10), 1)
	mustAppend(t, l.Partition(info, 1).Appender(AppenderConfig{Producer: 8}), format.Seal(records("more"), 1, 9, 9, 9, messages.CompressNone, 8, 1))
	heads = look("one has grown", heads, 1)
	if _, err := l.Partition(info, 2).Truncate(ctx, heads[2].First.End()); err != nil {
		t.Fatal(err)
	}
	heads = look("one was trimmed", heads, 2)
	heads[0].End.Last += 1 << 40
	heads[1].End.Last--
	look("what is known is of another log", heads, 10)
	if _, err := l.Partition(info, 0).Truncate(ctx, heads[0].End.Offset); err != nil {
		t.Fatal(err)
	}
	look("one was emptied", heads, 10)
}
