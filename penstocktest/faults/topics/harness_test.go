package topics_test

// What the fault tests of topics stand on: an account of what was accepted
// where and handled by whom, a load, consumers that enter what they handle, and
// an audit of every commit on etcd's own history.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// place is where a record is.
type place struct {
	partition int
	offset    int64
}

// handling is one record handed to one consumer.
type handling struct {
	who   string
	place place
	fence int64
}

// account is what is known of a topic from outside. Records are numbered, each
// number is put once.
type account struct {
	mu       sync.Mutex
	accepted map[int]place      // whose put was answered
	unknown  map[int]bool       // whose put was answered with ErrUnknownOutcome
	handled  map[int][]handling // in the order of being entered
	by       map[string]int
	total    int
	puts     map[string]int // that were answered, by child
	refused  int            // puts
	moved    int            // records that were told another place when they were put again
	changed  chan struct{}  // closed when something is entered; nil when nobody waits
}

func newAccount() *account {
	return &account{accepted: map[int]place{}, unknown: map[int]bool{}, handled: map[int][]handling{}, by: map[string]int{}, puts: map[string]int{}}
}

// enter changes the account and wakes who waits.
func (a *account) enter(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

func (a *account) accept(id int, at place) {
	a.enter(func() {
		if was, again := a.accepted[id]; again && was != at {
			a.moved++
		}
		a.accepted[id] = at
	})
}

func (a *account) doubt(id int) { a.enter(func() { a.unknown[id] = true }) }

func (a *account) handle(who string, id int, at place, fence int64) {
	a.enter(func() {
		a.handled[id] = append(a.handled[id], handling{who, at, fence})
		a.by[who]++
		a.total++
	})
}

// await waits until enough is true; it is called with the account's lock held. It fails t when
// nothing at all was handled for harness.Patience, or after some times that: on a busy machine much
// is slow and goes on.
func (a *account) await(t *testing.T, what string, enough func() bool) {
	t.Helper()
	late := time.NewTimer(harness.Patience)
	defer late.Stop()
	last, handled := time.Now().Add(mostPatience), -1
	for {
		a.mu.Lock()
		ok := enough()
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		changed := a.changed
		if a.total != handled {
			handled = a.total
			late.Reset(min(harness.Patience, time.Until(last)))
		}
		state := fmt.Sprintf("%d accepted, %d in doubt, %d handled in %d handlings, by %v", len(a.accepted), len(a.unknown), len(a.handled), a.total, a.by)
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%s: nothing for %s, or not within %s; so far %s", what, harness.Patience, mostPatience, state)
		}
	}
}

// mostPatience is how long an account is waited for that makes progress.
const mostPatience = 4 * harness.Patience

// flows waits until who handles n records more than it had when this was called;
// everybody where who is empty. It is for a load: what was put before may have been
// handled already.
func (a *account) flows(t *testing.T, who string, n int) {
	t.Helper()
	count := func() int {
		if who == "" {
			return a.total
		}
		return a.by[who]
	}
	a.mu.Lock()
	before := count()
	a.mu.Unlock()
	a.await(t, fmt.Sprintf("%d more records for %q", n, who), func() bool { return count() >= before+n })
}

// audit reads all of the topic and holds it against what was accepted: offsets
// without a hole, every accepted record at the place that was answered, and no
// record twice. It returns what is in the log.
func (a *account) audit(t *testing.T, rt *penstock.Runtime, topic string) map[int]place {
	t.Helper()
	ctx := harness.Context(t)
	d, err := rt.DescribeTopic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	handle, err := rt.Topic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	logged := map[int]place{}
	for _, p := range d.Partitions {
		next := p.Start
		if next == p.End {
			continue
		}
		for rec, err := range handle.Read(ctx, p.Partition, penstock.FromEarliest()) {
			if err != nil {
				t.Fatalf("read partition %d at %d of %d: %v", p.Partition, next, p.End, err)
			}
			if rec.Offset != next || rec.Partition != p.Partition {
				t.Fatalf("partition %d: offset %d of partition %d came where %d was due", p.Partition, rec.Offset, rec.Partition, next)
			}
			id, at := recordNumber(rec), place{rec.Partition, rec.Offset}
			if first, twice := logged[id]; twice {
				t.Errorf("record %d is in the log twice: at %v and %v", id, first, at)
			}
			logged[id] = at
			if next++; next == p.End {
				break
			}
		}
		if next != p.End {
			t.Fatalf("partition %d ended at %d, before its end %d", p.Partition, next, p.End)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	lost := 0
	for id, at := range a.accepted {
		if got, there := logged[id]; !there {
			if lost++; lost <= 5 {
				t.Errorf("record %d was accepted at %v and is not in the log", id, at)
			}
		} else if got != at {
			t.Errorf("record %d was accepted at %v and is at %v", id, at, got)
		}
	}
	if lost > 0 {
		t.Errorf("%d accepted records were lost", lost)
	}
	return logged
}

// settle waits until everything in the log was handled, and checks that every
// record was handled where it is, and by how many: who is named in faulty was
// killed, frozen or fenced and may leave records to be handled again; all
// others together handle each record once.
func (a *account) settle(t *testing.T, rt *penstock.Runtime, topic string, faulty ...string) {
	t.Helper()
	logged := a.audit(t, rt, topic)
	a.await(t, fmt.Sprintf("all of %d records", len(logged)), func() bool { return len(a.handled) >= len(logged) })
	a.mu.Lock()
	defer a.mu.Unlock()
	bad, again := 0, 0
	for id, hs := range a.handled {
		sound := 0
		for _, h := range hs {
			if h.place != logged[id] {
				t.Errorf("record %d is at %v and was handed out as of %v", id, logged[id], h.place)
			}
			if !slices.Contains(faulty, h.who) {
				sound++
			}
		}
		again += len(hs) - 1
		if sound > 1 {
			if bad++; bad <= 5 {
				t.Errorf("record %d was handled again without need: %+v", id, hs)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d records were handled again without need", bad)
	}
	t.Logf("%d records in the log, %d accepted, %d in doubt, %d handled again; by %v", len(logged), len(a.accepted), len(a.unknown), again, a.by)
}

func recordNumber(r penstock.Record) int {
	id, err := strconv.Atoi(string(r.Value))
	if err != nil {
		panic(err)
	}
	return id
}

// makeTopic makes a topic and its handle, which puts in turn into each partition.
func makeTopic(t *testing.T, rt *penstock.Runtime, name string, partitions int) *penstock.Topic {
	t.Helper()
	topic, err := rt.CreateTopic(harness.Context(t), name, penstock.TopicConfig{Partitions: partitions}, penstock.PartitionBy(penstock.RoundRobin()))
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func openTopic(t *testing.T, rt *penstock.Runtime, name string) *penstock.Topic {
	t.Helper()
	topic, err := rt.Topic(harness.Context(t), name, penstock.PartitionBy(penstock.RoundRobin()))
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func subscribe(t *testing.T, topic *penstock.Topic, group string, opts ...penstock.SubscribeOption) *penstock.Subscription {
	t.Helper()
	s, err := topic.Subscribe(harness.Context(t), group, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unsubscribe(t *testing.T, s *penstock.Subscription) {
	t.Helper()
	if err := s.Unsubscribe(harness.Context(t)); err != nil {
		t.Fatal("unsubscribe: ", err)
	}
}

// consume enters every record of s, until s or the test ends. Any end of the
// loop but these fails t.
func (a *account) consume(t *testing.T, who string, s *penstock.Subscription) (ended <-chan struct{}) {
	return a.read(t, who, s, byLoop, nil)
}

// reading is how records are taken.
type reading string

const byLoop, byPoll, byHandler reading = "loop", "poll", "handler"

// read is consume in one of the ways to do it. Who polls is to be told, by the
// close of enough, before it unsubscribes: nobody else knows when it has handled
// what it was given last.
func (a *account) read(t *testing.T, who string, s *penstock.Subscription, how reading, enough <-chan struct{}) (ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	handle := func(rec penstock.Record) {
		a.handle(who, recordNumber(rec), place{rec.Partition, rec.Offset}, rec.Fence)
	}
	read := map[reading]func() error{
		byLoop: func() error {
			for rec, err := range s.Records(ctx) {
				if err != nil {
					return err
				}
				handle(rec)
			}
			return nil
		},
		byPoll: func() error {
			for {
				recs, err := s.Poll(ctx, 16)
				if err != nil {
					return err
				}
				for _, rec := range recs {
					handle(rec)
				}
				select {
				case <-enough:
					return s.Commit(ctx, recs...)
				default:
				}
			}
		},
		byHandler: func() error {
			return s.Consume(ctx, func(_ context.Context, rec penstock.Record) error {
				handle(rec)
				return nil
			})
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := read[how](); err != nil && ctx.Err() == nil {
			t.Errorf("%s: %s: %v", who, how, err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return done
}

// load puts numbered records at a steady pace until it is stopped.
type load struct {
	topic    *penstock.Topic
	acct     *account
	stopping chan struct{}
	done     chan struct{}
	once     sync.Once

	unanswered atomic.Int64

	mu  sync.Mutex
	err error
}

// loadAhead is how many records of a load wait for their answer at most: an etcd that is slow, or away,
// is not left with minutes of work.
const loadAhead = 2000

// loadTick is the pace of a load: perTick records at once, as many appends at
// times as there are partitions.
const loadTick = 5 * time.Millisecond

// apart is between the first numbers of two loads.
const apart = 1_000_000

// load puts records numbered from first on; ids of several loads must be apart.
func (a *account) load(t *testing.T, topic *penstock.Topic, first int) *load {
	l := &load{topic: topic, acct: a, stopping: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		defer cancel()
		tick := time.NewTicker(loadTick)
		defer tick.Stop()
		for id := first; ; {
			select {
			case <-l.stopping:
				return
			case <-tick.C:
			}
			for range harness.PerTick {
				if l.unanswered.Load() >= loadAhead {
					break
				}
				if err := l.put(ctx, id); err != nil {
					l.fail(err)
					return
				}
				id++
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.end()
		<-l.done
	})
	return l
}

func (l *load) put(ctx context.Context, id int) error {
	m := harness.Numbered(id)
	if id%8 == 0 {
		m = bulky(id) // some batches have bodies of their own, others are in their entries
	}
	l.unanswered.Add(1)
	return l.topic.PutAsync(ctx, m, func(r penstock.PutResult) {
		l.unanswered.Add(-1)
		switch {
		case r.Err == nil:
			l.acct.accept(id, place{r.Partition, r.Offset})
		case errors.Is(r.Err, penstock.ErrUnknownOutcome):
			l.acct.doubt(id)
		default:
			l.fail(fmt.Errorf("record %d: %w", id, r.Err))
		}
	})
}

func (l *load) end() { l.once.Do(func() { close(l.stopping) }) }

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

// stop ends the load and waits until every record has its answer.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.end()
	select {
	case <-l.done:
	case <-time.After(harness.Patience):
		t.Fatal("a PutAsync of the load did not return")
	}
	for tries := mostPatience / harness.Patience; ; tries-- {
		before := l.unanswered.Load()
		err := l.topic.Flush(harness.Context(t))
		if err == nil {
			break
		}
		if tries <= 1 || l.unanswered.Load() >= before || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("flush: %v, with %d records unanswered and %d before", err, l.unanswered.Load(), before)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		t.Fatal("put: ", l.err)
	}
}

// bulky is a numbered record that no batch has in its index entry.
func bulky(id int) penstock.Message {
	m := harness.Numbered(id)
	noise := make([]byte, 2<<10)
	_, _ = rand.NewChaCha8([32]byte{byte(id)}).Read(noise)
	m.Headers = []penstock.Header{{Name: "noise", Value: noise}}
	return m
}

// put puts the records from..to-1 and waits for them.
func (a *account) put(t *testing.T, topic *penstock.Topic, from, to int) {
	t.Helper()
	var msgs []penstock.Message
	for id := from; id < to; id++ {
		msgs = append(msgs, harness.Numbered(id))
	}
	results, err := topic.PutBatch(harness.Context(t), msgs)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		a.accept(from+i, place{r.Partition, r.Offset})
	}
}

// auditCommits follows a group on etcd's history, and fails t for a commit that
// was not made under the claim of that very moment, and for an offset that goes
// back. It must begin before the group does. stop ends it, once it has seen all
// that was written before, and returns how many commits there were.
func auditCommits(t *testing.T, c *clientv3.Client, ns, topicID, group string) (stop func() int) {
	t.Helper()
	resp, err := c.Get(harness.Context(t), "/", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return auditCommitsSince(t, c, ns, topicID, group, resp.Header.Revision+1)
}

// auditCommitsSince is auditCommits from a revision on, which must be one from
// before the group.
func auditCommitsSince(t *testing.T, c *clientv3.Client, ns, topicID, group string, from int64) (stop func() int) {
	t.Helper()
	space := keys.Space(ns)
	claims, offsets := space.Claims(topicID, group), space.GroupOffsets(topicID, group)
	ctx, cancel := context.WithCancel(context.Background())
	// Only one watch tells the order of claims and offsets.
	events := c.Watch(clientv3.WithRequireLeader(ctx), ns+"/", clientv3.WithPrefix(), clientv3.WithRev(from))
	end := ns + "/audit-end"
	counted, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		owners := map[string]int64{} // partition to CreateRevision
		last := map[string]*pb.Committed{}
		for resp := range events {
			if err := resp.Err(); err != nil && ctx.Err() == nil {
				t.Errorf("audit of commits: %v", err)
				return
			}
			for rest := resp.Events; len(rest) > 0; {
				n := 1 // the events of one transaction
				for n < len(rest) && rest[n].Kv.ModRevision == rest[0].Kv.ModRevision {
					n++
				}
				// A release commits and deletes the claim at once.
				for _, ev := range rest[:n] {
					key := string(ev.Kv.Key)
					if p, ok := strings.CutPrefix(key, offsets); ok && ev.Type == clientv3.EventTypePut {
						var at pb.Committed
						if err := proto.Unmarshal(ev.Kv.Value, &at); err != nil {
							t.Errorf("audit of commits: %s: %v", key, err)
							continue
						}
						counted++
						if at.GetFence() != 0 && at.GetFence() != owners[p] {
							t.Errorf("audit of commits: offset %d of partition %s was written under fence %d, and the claim of that moment is %d", at.GetOffset(), p, at.GetFence(), owners[p])
						}
						if was := last[p]; was != nil && at.GetFence() != 0 && at.GetOffset() < was.GetOffset() {
							t.Errorf("audit of commits: partition %s went back from %d (fence %d) to %d (fence %d)", p, was.GetOffset(), was.GetFence(), at.GetOffset(), at.GetFence())
						}
						last[p] = &at
					}
				}
				for _, ev := range rest[:n] {
					if p, ok := strings.CutPrefix(string(ev.Kv.Key), claims); ok {
						if ev.Type == clientv3.EventTypeDelete {
							delete(owners, p)
						} else {
							owners[p] = ev.Kv.CreateRevision
						}
					}
					if string(ev.Kv.Key) == end {
						return
					}
				}
				rest = rest[n:]
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func() int {
		t.Helper()
		if _, err := c.Put(harness.Context(t), end, ""); err != nil {
			t.Fatal(err)
		}
		harness.Await(t, "the end of the audit", harness.Closing(done))
		return counted
	}
}

// groupOf is a group, as etcd has it.
func groupOf(t *testing.T, rt *penstock.Runtime, topic, group string) penstock.GroupInfo {
	t.Helper()
	for ctx := harness.Context(t); ; {
		g, err := rt.DescribeConsumerGroup(ctx, topic, group)
		if err == nil {
			return g
		}
		if !errors.Is(err, penstock.ErrUnavailable) || ctx.Err() != nil { // a busy etcd takes long
			t.Fatal(err)
		}
	}
}

// caughtUp checks that a group has committed everything that is in the topic,
// after its members have left.
func caughtUp(t *testing.T, rt *penstock.Runtime, topic, group string) {
	t.Helper()
	g := groupOf(t, rt, topic, group)
	for _, p := range g.Partitions {
		if p.Committed != p.End && p.End > p.Start {
			t.Errorf("partition %d of group %s: %d is committed, the end is %d", p.Partition, group, p.Committed, p.End)
		}
		if p.Owner != "" {
			t.Errorf("partition %d of group %s is still owned, by %s", p.Partition, group, p.Owner)
		}
	}
	if g.Lag != 0 || len(g.Members) != 0 {
		t.Errorf("group %s: lag %d, %d members; all have left", group, g.Lag, len(g.Members))
	}
}
