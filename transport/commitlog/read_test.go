package commitlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

func TestEntriesChain(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	var counts []int
	for _, some := range [][]int{repeat(1500, 1), repeat(50, window), repeat(700, 900), {3}} {
		counts = append(counts, some...)
	}
	end := plant(t, p, 0, counts...)
	bases := []int64{0}
	for _, n := range counts {
		bases = append(bases, bases[len(bases)-1]+int64(n))
	}
	for _, from := range []int{0, 1, 1400, 1499, 1500, 1549, 2000, len(counts) - 1, len(counts)} {
		for _, limit := range []int{1, 2, 100, 1001, 1e6} {
			got, err := p.Entries(ctx, bases[from], limit)
			if want := min(limit, len(counts)-from); err != nil || len(got) != want {
				t.Fatalf("from entry %d, at most %d: %d, %v; want %d", from, limit, len(got), err, want)
			}
			for i, e := range got {
				if e.Base != bases[from+i] || e.Count != counts[from+i] || e.ModRevision == 0 || e.Sequence != uint64(e.Base) {
					t.Fatalf("entry %d is %+v", from+i, e)
				}
			}
		}
	}
	if got, err := p.Entries(ctx, end, 10); len(got) > 0 || err != nil {
		t.Errorf("at the end: %v, %v", got, err)
	}
	if got, err := p.Entries(ctx, 0, 0); len(got) > 0 || err != nil {
		t.Errorf("none wanted: %v, %v", got, err)
	}
	for i, test := range []struct{ offset, base int64 }{
		{0, 0}, {1, 1}, {1499, 1499}, {1500, 1500}, {1501, 1500}, {1500 + window - 1, 1500}, {1500 + window, 1500 + window}, {end - 1, end - 3}, {end, end},
	} {
		if base, err := p.Locate(ctx, test.offset); base != test.base || err != nil {
			t.Errorf("%d: offset %d is in %d, %v; want %d", i, test.offset, base, err, test.base)
		}
		if offset, base, err := p.Resolve(ctx, messages.AtOffset(test.offset)); offset != test.offset || base != test.base || err != nil {
			t.Errorf("%d: offset %d begins at %d in %d, %v", i, test.offset, offset, base, err)
		}
	}
	for _, offset := range []int64{end + 1, math.MaxInt64 - 1, -1} {
		if _, err := p.Locate(ctx, offset); !errors.Is(err, messages.ErrOffsetOutOfRange) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}

	put(t, p.log, p.startKey(), keys.Offset(1500))
	for _, offset := range []int64{0, 1499, 1500} {
		if base, err := p.Locate(ctx, offset); base != 1500 || err != nil {
			t.Errorf("trimmed offset %d is in %d, %v", offset, base, err)
		}
		if offset, base, err := p.Resolve(ctx, messages.AtOffset(offset)); offset != 1500 || base != 1500 || err != nil {
			t.Errorf("trimmed: begins at %d in %d, %v", offset, base, err)
		}
	}
	var trimmed *TrimmedError
	if _, err := p.Entries(ctx, 7, 10); !errors.As(err, &trimmed) || trimmed.Start != 1500 {
		t.Errorf("trimmed: %v", err)
	}

	remove(t, p.log, p.indexKey(bases[1503]))
	got, err := p.Entries(ctx, 1500, 10)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Base != bases[1503] || corrupt.Topic != "topic" || corrupt.Partition != 0 || len(got) != 3 || !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("a hole: %d entries, %v", len(got), err)
	}
	if _, err := p.Locate(ctx, bases[1503]+1); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("an offset in a hole: %v", err)
	}
	put(t, p.log, p.indexKey(bases[1503]), "\xff")
	if _, err := p.Entries(ctx, 1500, 10); !errors.As(err, &corrupt) || corrupt.Base != bases[1503] {
		t.Errorf("a damaged entry: %v", err)
	}
	put(t, p.log, p.startKey(), "soon")
	if _, _, err := p.Bounds(ctx); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("a damaged start: %v", err)
	}
}

func TestTimes(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	at := func(sec int64) int64 { return time.Unix(sec, 0).UnixNano() }
	// The second has older records than the first, and ends later.
	for i, span := range [][2]int64{{100, 200}, {50, 150}, {50, 400}, {300, 300}} {
		mustAppend(t, a, format.Seal(records("x", "y"), 2, at(span[0]), at(span[1]), 1, messages.CompressNone, 9, uint64(i)))
	}
	for sec, want := range map[int64]int64{0: 0, 100: 0, 200: 0, 201: 4, 300: 4, 400: 4, 401: 8} {
		offset, base, err := p.Resolve(ctx, messages.AtTime(time.Unix(sec, 0)))
		if offset != want || base != want || err != nil {
			t.Errorf("second %d is at %d in %d, %v; want %d", sec, offset, base, err, want)
		}
	}
}

// Every second batch is in its entry, the others are apart.
func TestFetch(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	var raw [][]byte
	for i := range 6 {
		some := records(slices.Repeat([]string{strings.Repeat(fmt.Sprint(i), 100/(i+1))}, i+1)...)
		if i%2 == 1 {
			some = noise(i+1, format.InlineBytes)
		}
		raw = append(raw, some)
		mustAppend(t, a, format.Seal(raw[i], i+1, 1, 2, int64(i), choices[i%3], 9, uint64(i)))
	}
	entries, err := p.Entries(ctx, 0, 100)
	if err != nil || len(entries) != 6 {
		t.Fatal(entries, err)
	}
	good := func(got []*format.Batch, want int) {
		t.Helper()
		if len(got) != want {
			t.Fatalf("%d batches, want %d", len(got), want)
		}
		for i, b := range got {
			if b.Base != entries[i].Base || b.Count != i+1 || b.Time != int64(i) || string(b.Raw) != string(raw[i]) {
				t.Fatalf("batch %d is %+v", i, b)
			}
		}
	}
	got, err := p.Fetch(ctx, entries)
	if err != nil {
		t.Fatal(err)
	}
	good(got, 6)
	for i, e := range entries {
		size := len(e.Body)
		if i%2 == 1 {
			size = len(value(t, p.log, p.bodyKey(e.Base)))
		} else if apart := value(t, p.log, p.bodyKey(e.Base)); apart != "" {
			t.Errorf("batch %d is in its entry and apart", i)
		}
		if e.Bytes != size {
			t.Errorf("entry %d says %d bytes of %d", i, e.Bytes, size)
		}
	}
	if got, err := p.Fetch(ctx, nil); len(got) > 0 || err != nil {
		t.Error(got, err)
	}

	bad := func(what string, want int) *CorruptError {
		t.Helper()
		got, err := p.Fetch(ctx, entries)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !errors.Is(err, messages.ErrCorrupt) || corrupt.Base != entries[want].Base || corrupt.Topic != "topic" {
			t.Fatalf("%s: %v", what, err)
		}
		good(got, want)
		return corrupt
	}
	at := p.bodyKey(entries[3].Base)
	body := value(t, p.log, at)
	put(t, p.log, at, body[:40]+string(body[40]^1)+body[41:])
	bad("a flipped bit", 3)
	put(t, p.log, at, value(t, p.log, p.bodyKey(entries[5].Base)))
	bad("the batch of another base", 3)
	s := format.Seal(raw[1], 2, 1, 2, 3, messages.CompressNone, 1, 1)
	put(t, p.log, at, string(s.Body(entries[3].Base)))
	if err := bad("a batch of another size", 3); !strings.Contains(err.Why, "2 records") {
		t.Error(err)
	}
	remove(t, p.log, at)
	bad("no batch", 3)
	// In an entry.
	whole := entries[2]
	entries[2].Body = slices.Clone(whole.Body)
	entries[2].Body[40] ^= 1
	bad("a flipped bit", 2)
	entries[2] = whole
	entries[2].Body = entries[0].Body
	bad("the batch of another base", 2)
	entries[2] = whole
	entries[2].Body = s.Body(entries[2].Base)
	if err := bad("a batch of another size", 2); !strings.Contains(err.Why, "2 records") {
		t.Error(err)
	}
	entries[2] = whole

	// Trimmed is another thing.
	put(t, p.log, p.startKey(), keys.Offset(entries[4].Base))
	got, err = p.Fetch(ctx, entries)
	var trimmed *TrimmedError
	if !errors.As(err, &trimmed) || trimmed.Start != entries[4].Base || errors.Is(err, messages.ErrCorrupt) {
		t.Fatal(err)
	}
	good(got, 3)
	if !strings.Contains(err.Error(), fmt.Sprint(entries[4].Base)) {
		t.Error(err)
	}
}

// Versions that do not know of bodies in entries take an entry that has one for one
// whose body is missing: they stop there, and say so. Their appends go behind it.
func TestEarlierVersionsStopAtABodyInAnEntry(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	entries, err := p.Entries(ctx, 0, 10)
	if err != nil || len(entries) != 1 || entries[0].Body == nil {
		t.Fatal(entries, err)
	}
	stored := value(t, p.log, p.indexKey(0))
	var known pb.IndexEntry // field 9 is one that they skip
	if err := proto.Unmarshal([]byte(stored), &known); err != nil || known.GetCount() != 1 || int(known.GetBytes()) != len(entries[0].Body) {
		t.Fatal(&known, err)
	}
	entries[0].Body = nil
	_, err = p.Fetch(ctx, entries)
	if !errors.Is(err, messages.ErrCorrupt) || !strings.Contains(err.Error(), "no batch") {
		t.Errorf("read: %v", err)
	}
	// They compare the entry as a whole.
	old := p.Appender(AppenderConfig{})
	old.learn(format.LogEnd{Offset: 1, Last: 0, Bytes: entries[0].LogBytes, Entry: stored})
	if base := mustAppend(t, old, sealedWith("b")); base != 1 {
		t.Errorf("put at %d", base)
	}
	wantContents(t, p, "a", "b")
}

// A member of etcd that lags does not have everything yet: it is not believed.
func TestFetchFromALaggingMember(t *testing.T) {
	p, _ := topicPartition(t)
	a := p.Appender(AppenderConfig{})
	for range 4 {
		mustAppend(t, a, sealedWith("x", strings.Repeat("y", format.InlineBytes)))
	}
	ctx := testContext(t)
	entries, err := p.Entries(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var stale atomic.Int64
	cfg := shared.Config()
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if r, ok := req.(*etcdserverpb.RangeRequest); ok && r.Serializable {
			answer := reply.(*etcdserverpb.RangeResponse)
			answer.Kvs = answer.Kvs[:2]
			stale.Add(1)
		}
		return err
	}))
	client, err := discovery.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l := New(Config{Client: client, Space: p.log.space, Classify: discovery.Classify})
	if got, err := l.Partition(p.topic, 0).Fetch(ctx, entries); len(got) != 4 || err != nil {
		t.Errorf("%d batches, %v", len(got), err)
	}
	if n := stale.Load(); n != 1 {
		t.Errorf("%d stale answers", n)
	}
}

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

// Who knows batches of before etcd was set back is told that, and not that the
// log is damaged, whether nothing is there now or others are.
func TestFetchOfABatchThatWasRolledBack(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	mustAppend(t, a, sealedWith("b", strings.Repeat("c", format.InlineBytes)))
	known, err := p.Entries(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, p.log, p.indexKey(1))
	remove(t, p.log, p.bodyKey(1))
	for _, now := range []string{"nothing", "another"} {
		if now == "another" {
			mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("x"))
		}
		got, err := p.Fetch(ctx, known)
		if len(got) != 1 || !errors.Is(err, messages.ErrLogRolledBack) || errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%s is there now: %d batches, %v", now, len(got), err)
		}
	}
}
