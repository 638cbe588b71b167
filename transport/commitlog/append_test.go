package commitlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

var sequence uint64

// sealedWith is a batch with an identity of its own.
func sealedWith(values ...string) *format.Sealed {
	sequence++
	return format.Seal(records(values...), len(values), 1, 1, 1, messages.CompressNone, 7, sequence)
}

func mustAppend(t testing.TB, a *Appender, s *format.Sealed) int64 {
	t.Helper()
	base, err := a.Append(testContext(t), s, false)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// contents reads a whole partition: the values of its records.
func contents(t testing.TB, p *Partition) (values []string) {
	t.Helper()
	ctx := testContext(t)
	at, end, err := p.Bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := p.Entries(ctx, at, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if i > 0 && e.LogBytes != entries[i-1].LogBytes+int64(e.Bytes) {
			t.Fatalf("a batch of %d bytes makes %d of %d", e.Bytes, e.LogBytes, entries[i-1].LogBytes)
		}
	}
	for some := range slices.Chunk(entries, 20) {
		batches, err := p.Fetch(ctx, some)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range batches {
			if b.Base != at {
				t.Fatalf("a batch at %d follows the end %d", b.Base, at)
			}
			if some[i].Raw != len(b.Raw) {
				t.Fatalf("the index tells %d bytes, there are %d", some[i].Raw, len(b.Raw))
			}
			for raw := b.Raw; len(raw) > 0; at++ {
				var r messages.Payload
				n, err := messages.ConsumeRecord(raw, &r)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, string(r.Value))
				raw = raw[n:]
			}
		}
	}
	if at != end {
		t.Fatalf("read to %d, the end is %d", at, end)
	}
	return values
}

func wantContents(t testing.TB, p *Partition, want ...string) {
	t.Helper()
	if got := contents(t, p); !slices.Equal(got, want) {
		t.Fatalf("the partition has %q, want %q", got, want)
	}
}

func topicPartition(t testing.TB) (*Partition, *faults) {
	t.Helper()
	l, f := startEtcd(t)
	return l.Partition(create(t, l, "topic", 1), 0), f
}

func TestAppendsFollowOneAnother(t *testing.T) {
	p, f := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	if base := mustAppend(t, a, sealedWith("a", "b")); base != 0 {
		t.Fatal(base)
	}
	before := f.count()
	if base := mustAppend(t, a, sealedWith("c")); base != 2 {
		t.Fatal(base)
	}
	if n := f.count() - before; n != 1 {
		t.Errorf("an append took %d transactions", n)
	}
	// Another appender, that knows nothing, and the first again, that knows
	// less than it thinks.
	other := p.Appender(AppenderConfig{})
	mustAppend(t, other, sealedWith("d", "e"))
	mustAppend(t, a, sealedWith("f"))
	again := sealedWith("g")
	if first, second := mustAppend(t, a, again), mustAppend(t, other, again); first != second {
		t.Errorf("the same batch at %d and %d", first, second)
	}
	wantContents(t, p, "a", "b", "c", "d", "e", "f", "g")
	if value(t, p.log, p.log.space.Hint(p.topic.ID, 0)) == "" {
		t.Error("no hint was left")
	}
}

// Replies that are lost after the fact, before it, and in turn.
func TestLostRepliesLoseAndDoubleNothing(t *testing.T) {
	for name, plan := range map[string][]fault{
		"lost":           {{kind: lose}},
		"lost twice":     {{kind: lose}, {kind: lose}},
		"dropped":        {{kind: drop}},
		"drop then lose": {{kind: drop}, {kind: lose}},
		"lose then drop": {{kind: lose}, {kind: drop}, {kind: drop}},
		"in other words": {{kind: lose, err: status.Error(codes.DeadlineExceeded, "lost")}, {kind: lose, err: status.Error(codes.Canceled, "lost")}, {kind: lose, err: status.Error(codes.Unknown, "lost")}},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := topicPartition(t)
			var delays []error
			a := p.Appender(AppenderConfig{Delayed: func(err error) { delays = append(delays, err) }})
			a.timing.shortest = time.Millisecond
			mustAppend(t, a, sealedWith("a"))
			f.next(plan...)
			if base := mustAppend(t, a, sealedWith("b")); base != 1 {
				t.Errorf("at %d", base)
			}
			f.used(t)
			mustAppend(t, a, sealedWith("c"))
			wantContents(t, p, "a", "b", "c")
			if len(delays) != len(plan) {
				t.Errorf("%d faults, told of %v", len(plan), delays)
			}
		})
	}
}

// While the reply is away another batch takes the next slot, or, when the
// attempt was never applied, the very slot.
func TestLostRepliesAndOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		kind faultKind
		want []string
		base int64
	}{
		{"applied", lose, []string{"mine", "other"}, 0},
		{"not applied", drop, []string{"other", "mine"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, f := topicPartition(t)
			l2, _ := logAt(t, p.log.space)
			other := l2.Partition(p.topic, 0).Appender(AppenderConfig{})
			s := sealedWith("mine")
			f.next(fault{kind: test.kind}, fault{before: func() { mustAppend(t, other, sealedWith("other")) }})
			a := p.Appender(AppenderConfig{})
			if base := mustAppend(t, a, s); base != test.base {
				t.Errorf("at %d", base)
			}
			f.used(t)
			wantContents(t, p, test.want...)
		})
	}
}

// An appender that ended in doubt leaves a batch that another one resolves at the
// base it was sent to.
func TestDoubtIsResolvedByTheNextAppender(t *testing.T) {
	for _, kind := range []faultKind{lose, drop} {
		p, f := topicPartition(t)
		mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("a"))
		ctx, cancel := context.WithCancel(testContext(t))
		s := sealedWith("b")
		f.next(fault{kind: kind})
		_, err := p.Appender(AppenderConfig{Delayed: func(error) { cancel() }}).Append(ctx, s, false)
		if !errors.Is(err, messages.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
			t.Fatalf("in doubt: %v", err)
		}
		mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("c"))
		next := p.Appender(AppenderConfig{})
		mustAppend(t, next, s)
		mustAppend(t, next, sealedWith("d"))
		if kind == lose {
			wantContents(t, p, "a", "b", "c", "d")
		} else {
			wantContents(t, p, "a", "c", "b", "d")
		}
	}
}

// A context that ends before anything was sent leaves no doubt.
func TestAppendWithoutDoubt(t *testing.T) {
	p, f := topicPartition(t)
	mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("a"))
	ctx, cancel := context.WithCancelCause(testContext(t))
	reason := errors.New("enough")
	cancel(reason)
	before := f.count()
	_, err := p.Appender(AppenderConfig{}).Append(ctx, sealedWith("b"), false)
	if !errors.Is(err, reason) || errors.Is(err, messages.ErrUnknownOutcome) || f.count() != before {
		t.Errorf("%v after %d transactions", err, f.count()-before)
	}
	if _, err := p.Appender(AppenderConfig{}).Append(testContext(t), format.Seal(nil, 0, 0, 0, 0, "", 1, 1), false); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("an empty batch: %v", err)
	}
}

// When the evidence is trimmed, nobody can tell any more.
func TestTrimmedEvidenceIsUnknownOutcome(t *testing.T) {
	p, f := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	f.next(fault{kind: lose}, fault{before: func() {
		put(t, p.log, p.startKey(), keys.Offset(2))
		remove(t, p.log, p.indexKey(0))
		remove(t, p.log, p.indexKey(1))
		remove(t, p.log, p.bodyKey(0))
		remove(t, p.log, p.bodyKey(1))
	}})
	s := sealedWith("b")
	for range 2 {
		if _, err := a.Append(testContext(t), s, false); !errors.Is(err, messages.ErrUnknownOutcome) {
			t.Fatal(err)
		}
	}
	f.used(t)
	if base := mustAppend(t, a, sealedWith("c")); base != 2 {
		t.Errorf("at %d", base)
	}
	wantContents(t, p, "c")
}

// Evidence outlives the batch: trimmed, but still in the index.
func TestTrimmedBatchIsFoundInTheIndex(t *testing.T) {
	p, f := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	f.next(fault{kind: lose}, fault{before: func() {
		put(t, p.log, p.startKey(), keys.Offset(1))
		remove(t, p.log, p.bodyKey(0))
	}})
	if base := mustAppend(t, a, sealedWith("a")); base != 0 {
		t.Errorf("at %d", base)
	}
	f.used(t)
}

// An appender that slept while others wrote and retention trimmed goes to the
// end, not below the start.
func TestTrimmedStart(t *testing.T) {
	for _, rest := range []int{0, 3} {
		p, _ := topicPartition(t)
		sleeper, busy := p.Appender(AppenderConfig{}), p.Appender(AppenderConfig{})
		mustAppend(t, sleeper, sealedWith("a"))
		for range 5 {
			mustAppend(t, busy, sealedWith("x"))
		}
		put(t, p.log, p.startKey(), keys.Offset(6))
		for base := range int64(6) {
			remove(t, p.log, p.indexKey(base))
			remove(t, p.log, p.bodyKey(base))
		}
		want := slices.Repeat([]string{"y"}, rest)
		for range rest {
			mustAppend(t, busy, sealedWith("y"))
		}
		if base := mustAppend(t, sleeper, sealedWith("b")); base != int64(6+rest) {
			t.Errorf("at %d", base)
		}
		wantContents(t, p, append(want, "b")...)
		// One that knows an end, and no batch before it.
		sleeper.learn(format.LogEnd{Offset: 3, Last: -1})
		mustAppend(t, sleeper, sealedWith("b"))
		want = append(want, "b")
		// busy saw its last batch go, too.
		mustAppend(t, busy, sealedWith("c"))
		wantContents(t, p, append(want, "b", "c")...)
	}
}

// An etcd that was restored from a backup may have, where an appender knows the
// last batch to be, one of another length: neither a gap nor an overlap.
func TestAppendAfterRestoreBehindAnotherBatch(t *testing.T) {
	large := strings.Repeat("large", format.InlineBytes)
	for _, other := range []struct {
		name string
		vals []string
		mine []string
	}{
		{"shorter", []string{"x"}, []string{"b", "c"}},
		{"longer", []string{"x", "y", "z"}, []string{"b", "c"}},
		{"with a body of its own", []string{"x", large}, []string{"b", "c"}},
		{"in its entry", []string{"x", "y"}, []string{"b", large}},
		{"both apart", []string{"x", large}, []string{"b", large}},
		{"of the same length", []string{"x", "y"}, []string{"b", "c"}},
	} {
		t.Run(other.name, func(t *testing.T) {
			p, _ := topicPartition(t)
			a, b := p.Appender(AppenderConfig{}), p.Appender(AppenderConfig{})
			mustAppend(t, a, sealedWith("a"))
			mustAppend(t, a, sealedWith(other.mine...)) // at 1, and 3 is the end
			remove(t, p.log, p.indexKey(1))
			remove(t, p.log, p.bodyKey(1))
			mustAppend(t, b, sealedWith(other.vals...)) // at 1, after the restore
			mustAppend(t, a, sealedWith("d"))
			wantContents(t, p, append(append([]string{"a"}, other.vals...), "d")...)
		})
	}
}

// The same after a log of which everything was trimmed, so that no batch shows it.
func TestAppendAfterRestoreBehindNoBatch(t *testing.T) {
	p, _ := topicPartition(t)
	put(t, p.log, p.startKey(), keys.Offset(6))
	a, b := p.Appender(AppenderConfig{}), p.Appender(AppenderConfig{})
	_, end, err := p.bounds(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	a.learn(end)
	put(t, p.log, p.startKey(), keys.Offset(0)) // the restore
	mustAppend(t, b, sealedWith("x", "y", "z"))
	if base := mustAppend(t, a, sealedWith("d")); base != 3 {
		t.Errorf("put at %d, behind an end of 3", base)
	}
	wantContents(t, p, "x", "y", "z", "d")
}

// An etcd that was restored from a backup has a shorter log: no gap.
func TestRolledBackLogHasNoGap(t *testing.T) {
	p, _ := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	for _, v := range []string{"a", "b", "c"} {
		mustAppend(t, a, sealedWith(v))
	}
	for base := range int64(2) {
		remove(t, p.log, p.indexKey(base+1))
		remove(t, p.log, p.bodyKey(base+1))
	}
	if base := mustAppend(t, a, sealedWith("d")); base != 1 {
		t.Errorf("at %d", base)
	}
	wantContents(t, p, "a", "d")
}

func TestFarBehind(t *testing.T) {
	p, f := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	end := plant(t, p, 1, repeat(3000, 5000)...)
	before := f.count()
	if base := mustAppend(t, a, sealedWith("b")); base != end {
		t.Errorf("at %d, want %d", base, end)
	}
	if n := f.count() - before; n != 2 {
		t.Errorf("it was sent %d times", n)
	}
}

// From the moment on that the topic's key is gone nothing is written, although
// all else is still there.
func TestTopicThatIsBeingDeleted(t *testing.T) {
	p, f := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	key := p.log.space.Topic("topic")
	topic := value(t, p.log, key)
	remove(t, p.log, key)
	for _, what := range []string{"deleted", "put again"} {
		if what == "put again" {
			put(t, p.log, key, topic)
		}
		if _, err := a.Append(ctx, sealedWith("b"), false); !errors.Is(err, messages.ErrTopicDeleted) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("%s: %v", what, err)
		}
		f.next(fault{kind: drop})
		if _, err := a.Append(ctx, sealedWith("c"), false); !errors.Is(err, messages.ErrTopicDeleted) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("%s, and a reply lost: %v", what, err)
		}
	}
	wantContents(t, p, "a")
}

func TestDeletedTopicUnderAppend(t *testing.T) {
	p, f := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	deleteTopic := func() {
		if _, err := p.log.DeleteTopic(ctx, "topic"); err != nil {
			t.Fatal(err)
		}
	}
	// Deleted while the answer is away.
	f.next(fault{kind: lose}, fault{before: func() { f.next(); deleteTopic() }})
	if _, err := a.Append(ctx, sealedWith("b"), false); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("deleted: %v", err)
	}
	info := create(t, p.log, "topic", 1)
	if _, err := a.Append(ctx, sealedWith("c"), false); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("deleted and made again: %v", err)
	}
	if found := under(t, p.log, p.topic.ID); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	wantContents(t, p.log.Partition(info, 0))
}

func TestDamagedIndexStopsAppends(t *testing.T) {
	p, _ := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	put(t, p.log, p.indexKey(1), "\xff")
	_, err := a.Append(testContext(t), sealedWith("b"), false)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Base != 1 || errors.Is(err, messages.ErrUnknownOutcome) {
		t.Error(err)
	}
}

// An etcd that hangs is noticed, and what it did in the meantime is seen.
func TestHungEtcd(t *testing.T) {
	p, f := topicPartition(t)
	var delays []error
	a := p.Appender(AppenderConfig{Delayed: func(err error) { delays = append(delays, err) }})
	mustAppend(t, a, sealedWith("a"))
	a.timing.attempt, a.timing.shortest = 50*time.Millisecond, time.Millisecond
	f.next(fault{before: func() {
		<-a.patience.ctx.Done()
		a.timing.attempt = 5 * time.Second
	}})
	mustAppend(t, a, sealedWith("b"))
	if len(delays) != 1 || !errors.Is(delays[0], messages.ErrUnavailable) || !errors.Is(delays[0], context.DeadlineExceeded) {
		t.Errorf("told of %v", delays)
	}
	wantContents(t, p, "a", "b")
}

// What etcd refuses is an error at once, and in the log only if it is there
// after all.
func TestRefusals(t *testing.T) {
	unknown := []error{messages.ErrUnknownOutcome}
	for name, test := range map[string]struct {
		plan    []fault
		is, not []error
		want    string
	}{
		"full after the fact":      {[]fault{{kind: lose, err: rpctypes.ErrGRPCNoSpace}}, nil, nil, "abc"},
		"full":                     {[]fault{{kind: drop, err: rpctypes.ErrGRPCNoSpace}}, []error{messages.ErrNoSpace}, unknown, "ac"},
		"full, after a doubt":      {[]fault{{kind: drop}, {kind: drop, err: rpctypes.ErrGRPCNoSpace}}, []error{messages.ErrNoSpace, messages.ErrUnknownOutcome}, nil, "ac"},
		"full, after it was done":  {[]fault{{kind: lose}, {kind: drop, err: rpctypes.ErrGRPCNoSpace}}, nil, nil, "abc"},
		"denied":                   {[]fault{{kind: drop, err: rpctypes.ErrGRPCPermissionDenied}}, []error{messages.ErrDenied}, unknown, "ac"},
		"denied, after a doubt":    {[]fault{{kind: drop}, {kind: drop, err: rpctypes.ErrGRPCPermissionDenied}}, []error{messages.ErrDenied, messages.ErrUnknownOutcome}, nil, "ac"},
		"too large":                {[]fault{{kind: drop, err: rpctypes.ErrGRPCRequestTooLarge}}, []error{messages.ErrTooLarge}, unknown, "ac"},
		"too large, after a doubt": {[]fault{{kind: drop}, {kind: drop, err: rpctypes.ErrGRPCRequestTooLarge}}, []error{messages.ErrTooLarge, messages.ErrUnknownOutcome}, nil, "ac"},
		"too many operations":      {[]fault{{kind: drop, err: rpctypes.ErrGRPCTooManyOps}}, []error{messages.ErrTooLarge}, unknown, "ac"},
		"an answer too large":      {[]fault{{kind: lose, err: status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)")}}, nil, nil, "abc"},
		"without a name":           {slices.Repeat([]fault{{kind: drop, err: status.Error(codes.Unknown, "odd")}}, oddTries+1), []error{messages.ErrUnknownOutcome}, nil, "ac"},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := topicPartition(t)
			a := p.Appender(AppenderConfig{})
			mustAppend(t, a, sealedWith("a"))
			f.next(test.plan...)
			s := sealedWith("b")
			_, err := a.Append(testContext(t), s, false)
			f.used(t)
			if (err == nil) != (len(test.is) == 0) {
				t.Fatal(err)
			}
			for _, is := range test.is {
				if !errors.Is(err, is) {
					t.Errorf("%v is not %v", err, is)
				}
			}
			for _, not := range test.not {
				if errors.Is(err, not) {
					t.Errorf("%v is %v", err, not)
				}
			}
			mustAppend(t, a, sealedWith("c"))
			if got := strings.Join(contents(t, p), ""); got != test.want {
				t.Errorf("the partition has %q, want %q", got, test.want)
			}
			// Given again, it is there once.
			mustAppend(t, a, s)
			if got := strings.Join(contents(t, p), ""); strings.Count(got, "b") != 1 {
				t.Errorf("given again: %q", got)
			}
		})
	}
}

func TestTooLargeForEtcd(t *testing.T) {
	p, _ := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	raw := noise(1, format.MaxRaw-10)
	_, err := a.Append(testContext(t), format.Seal(raw, 1, 0, 0, 0, messages.CompressNone, 1, 1), false)
	if !errors.Is(err, messages.ErrTooLarge) || errors.Is(err, messages.ErrUnknownOutcome) {
		t.Error(err)
	}
	mustAppend(t, a, sealedWith("a"))
	wantContents(t, p, "a")
	// The largest record there may be fits.
	largest := noise(1, messages.MaxRecordBytes-100)
	mustAppend(t, a, format.Seal(largest, 1, 0, 0, 0, messages.CompressNone, 1, 2))
}

func TestClosedClient(t *testing.T) {
	p, _ := topicPartition(t)
	mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("a"))
	l2, _ := logAt(t, p.log.space)
	a := l2.Partition(p.topic, 0).Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("b"))
	l2.client.Close()
	if _, err := a.Append(testContext(t), sealedWith("c"), false); err == nil {
		t.Error("appended without a client")
	}
	wantContents(t, p, "a", "b")
}

// etcd says that it is full after it wrote, or without having written.
func TestFullEtcd(t *testing.T) {
	srv, err := embedded.Start(t.Context(), "", embedded.UnsafeNoFsync(), embedded.Quota(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	client, err := discovery.NewClient(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l := New(Config{Client: client, Space: "/full", Classify: discovery.Classify})
	p := l.Partition(create(t, l, "topic", 1), 0)
	a := p.Appender(AppenderConfig{})
	var want []string
	value := string(bytes.Repeat([]byte("x"), 300<<10))
	for i := 0; ; i++ {
		_, err := a.Append(testContext(t), sealedWith(fmt.Sprint(i, value)), false)
		if errors.Is(err, messages.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if want = append(want, fmt.Sprint(i, value)); i > 100 {
			t.Fatal("never full")
		}
	}
	if len(want) == 0 {
		t.Fatal("full from the beginning")
	}
	if got := contents(t, p); !slices.Equal(got, want) {
		t.Errorf("%d batches are there, %d were acknowledged", len(got), len(want))
	}
	// With room again, the refused batch is put once.
	if _, err := a.Append(testContext(t), sealedWith("last"), false); !errors.Is(err, messages.ErrNoSpace) || errors.Is(err, messages.ErrUnknownOutcome) {
		t.Errorf("still full: %v", err)
	}
	if got := contents(t, p); len(got) != len(want) {
		t.Errorf("%d batches are there, %d were acknowledged", len(got), len(want))
	}
}

// A lease that is gone, or never was, stops nothing.
func TestAppendsWithoutLease(t *testing.T) {
	p, _ := topicPartition(t)
	for name, lease := range map[string]clientv3.LeaseID{"none": 0, "gone": 12345} {
		a := p.Appender(AppenderConfig{Producer: 1, Lease: func() clientv3.LeaseID { return lease }})
		mustAppend(t, a, sealedWith(name))
		mustAppend(t, p.Appender(AppenderConfig{}), sealedWith(name))
		for range 3 {
			if _, err := a.Append(testContext(t), sealedWith(name), true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(contents(t, p)); n != 10 {
		t.Errorf("%d records", n)
	}
}

// expiring is a batch of one record that expires some time.
func expiring(value string) *format.Sealed {
	s := sealedWith(value)
	s.Expires = time.Now().Add(time.Hour).UnixNano()
	return s
}

// Promise: the mark of records that expire goes only while the partition ends where it was read to,
// and who puts such a record after that puts the mark too, and the record once, also when attempts
// from before arrive late.
func TestMarkOfExpiringComesBack(t *testing.T) {
	p, f := topicPartition(t)
	ctx := testContext(t)
	marks := func() int { return len(under(t, p.log, "/expiring/")) }
	a := p.Appender(AppenderConfig{Producer: 7})
	unmark := func(want bool) {
		t.Helper()
		at, _, err := p.Bounds(ctx)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := p.Entries(ctx, at, 1e3)
		if err != nil {
			t.Fatal(err)
		}
		if !want {
			entries = entries[:len(entries)-1]
		}
		if gone, err := p.UnmarkExpiring(ctx, Office{}, entries[len(entries)-1].LogEnd()); err != nil || gone != want {
			t.Fatalf("unmarked: %v, %v, want %v", gone, err, want)
		}
		if (marks() == 0) != want {
			t.Fatalf("there are %d marks", marks())
		}
	}
	mustAppend(t, a, expiring("a"))
	mustAppend(t, a, expiring("b"))
	unmark(false)
	unmark(true)
	mustAppend(t, a, expiring("c"))
	if marks() != 1 {
		t.Fatal("the mark did not come back")
	}
	unmark(true)
	// The first attempt is on its way while the second learns that the mark is gone, and is applied
	// because another appender puts the mark.
	mark := p.log.space.Expiring(p.topic.ID, p.p)
	f.next(fault{kind: stall}, fault{}, fault{before: func() {
		client := p.log.client
		if _, err := client.Put(ctx, mark, ""); err != nil {
			t.Error(err)
		}
		f.arrive(t, 0)
	}})
	mustAppend(t, a, expiring("d"))
	f.used(t)
	unmark(true)
	// The same, and it arrives last.
	f.next(fault{kind: stall})
	mustAppend(t, a, expiring("e"))
	f.arrive(t, 1)
	mustAppend(t, a, sealedWith("f"))
	wantContents(t, p, "a", "b", "c", "d", "e", "f")
	if marks() != 1 {
		t.Error("the mark did not come back")
	}
	// All of it is trimmed, and so are the entries.
	_, end, err := p.bounds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	put(t, p.log, p.startKey(), keys.Offset(end.Offset))
	for _, key := range under(t, p.log, "/index/") {
		remove(t, p.log, key)
	}
	if gone, err := p.UnmarkExpiring(ctx, Office{}, format.LogEnd{Offset: end.Offset, Last: -1}); err != nil || !gone {
		t.Errorf("of an empty partition: %v, %v", gone, err)
	}
}
