package commitlog

// Appends that go in one request.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
	"github.com/penstock-io/penstock/transport/commitlog/internal/joined"
)

// crew is a log with one appender for each of its partitions, and one more whose
// append holds up the others.
type crew struct {
	log    *Log
	f      *faults
	holder *Appender
	parts  []*Partition
	apps   []*Appender

	mu     sync.Mutex
	delays []error
}

func startCrew(t *testing.T, n int) *crew {
	t.Helper()
	l, f := startEtcd(t)
	l.line = joined.NewLine[slot, parcel](func() joined.Limits {
		one := l.limits.ofTrips()
		one.Beside = 1 // so that one is enough to hold up all others
		return one
	})
	c := &crew{log: l, f: f}
	c.holder = l.Partition(create(t, l, "holder", 1), 0).Appender(AppenderConfig{})
	topic := create(t, l, "topic", n)
	for i := range n {
		p := l.Partition(topic, i)
		a := p.Appender(AppenderConfig{Delayed: func(err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.delays = append(c.delays, err)
		}})
		a.timing.shortest = time.Millisecond
		mustAppend(t, a, sealedWith("first"))
		c.parts, c.apps = append(c.parts, p), append(c.apps, a)
	}
	mustAppend(t, c.holder, sealedWith("first"))
	return c
}

// append has each appender append its batch, all in one request, to which happens
// what is planned.
func (c *crew) append(t *testing.T, ctx func(i int) context.Context, plan []fault, batches ...*format.Sealed) (bases []int64, errs []error) {
	t.Helper()
	held, hold := make(chan struct{}), make(chan struct{})
	c.f.next(append([]fault{{before: func() { close(held); <-hold }}}, plan...)...)
	var all sync.WaitGroup
	last := sealedWith("hold")
	all.Go(func() {
		if _, err := c.holder.Append(testContext(t), last, false); err != nil {
			t.Error(err)
		}
	})
	<-held
	bases, errs = make([]int64, len(batches)), make([]error, len(batches))
	for i, s := range batches {
		all.Go(func() { bases[i], errs[i] = c.apps[i].Append(ctx(i), s, false) })
	}
	for c.log.line.Waiting() < len(batches) {
		runtime.Gosched()
	}
	close(hold)
	all.Wait()
	c.f.used(t)
	return bases, errs
}

func (c *crew) batches(value string) (all []*format.Sealed) {
	for i := range c.apps {
		all = append(all, sealedWith(fmt.Sprint(value, i)))
	}
	return all
}

func always(t *testing.T) func(int) context.Context {
	return func(int) context.Context { return testContext(t) }
}

func (c *crew) want(t *testing.T, i int, values ...string) {
	t.Helper()
	wantContents(t, c.parts[i], append([]string{"first"}, values...)...)
}

func TestAppendsOfManyPartitionsAreOneRequest(t *testing.T) {
	c := startCrew(t, 5)
	before := c.f.count()
	bases, errs := c.append(t, always(t), nil, c.batches("v")...)
	if n := c.f.count() - before; n != 2 {
		t.Errorf("%d requests, want that of the one alone, and one for all others", n)
	}
	for i := range c.apps {
		if bases[i] != 1 || errs[i] != nil {
			t.Errorf("partition %d: %d, %v", i, bases[i], errs[i])
		}
		mustAppend(t, c.apps[i], sealedWith("after"))
		c.want(t, i, fmt.Sprint("v", i), "after")
	}
}

// While one small request is under way, another one is sent.
func TestOneMoreRequestIsUnderWay(t *testing.T) {
	l, f := startEtcd(t)
	l.line = joined.NewLine[slot, parcel](func() joined.Limits {
		patient := l.limits.ofTrips()
		patient.Late = time.Hour
		return patient
	})
	topic := create(t, l, "topic", 2)
	first, second := l.Partition(topic, 0).Appender(AppenderConfig{}), l.Partition(topic, 1).Appender(AppenderConfig{})
	mustAppend(t, first, sealedWith("a"))
	mustAppend(t, second, sealedWith("a"))
	held, hold, slow := make(chan struct{}), make(chan struct{}), sealedWith("b")
	f.next(fault{before: func() { close(held); <-hold }})
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := first.Append(testContext(t), slow, false); err != nil {
			t.Error(err)
		}
	})
	<-held
	if base := mustAppend(t, second, sealedWith("b")); base != 1 {
		t.Errorf("it is at %d", base)
	}
	close(hold)
	all.Wait()
}

// In one request: what lands, what comes behind another's batch, what was there
// already, what was trimmed, and what has no topic any more.
func TestEachAppendOfARequestHasItsOwnOutcome(t *testing.T) {
	c := startCrew(t, 5)
	other, _ := logAt(t, c.log.space)
	batches := c.batches("v")
	for i, p := range c.parts {
		theirs := other.Partition(p.topic, p.p).Appender(AppenderConfig{})
		switch i {
		case 1:
			mustAppend(t, theirs, sealedWith("theirs", "theirs"))
		case 2: // ours, as a restarted appender would find it
			mustAppend(t, theirs, batches[2])
			batches[2].Way.State = format.Doubtful
		case 3:
			put(t, c.log, p.startKey(), keys.Offset(1))
			remove(t, c.log, p.indexKey(0))
			remove(t, c.log, p.bodyKey(0))
		case 4:
			gone := create(t, c.log, "gone", 1)
			c.apps[i] = c.log.Partition(gone, 0).Appender(AppenderConfig{})
			mustAppend(t, c.apps[i], sealedWith("first"))
			remove(t, c.log, c.log.space.Topic("gone"))
		}
	}
	bases, errs := c.append(t, always(t), nil, batches...)
	if !errors.Is(errs[4], messages.ErrTopicDeleted) || errors.Is(errs[4], messages.ErrUnknownOutcome) {
		t.Errorf("without a topic: %v", errs[4])
	}
	if err := errors.Join(errs[:4]...); err != nil || !slices.Equal(bases[:4], []int64{1, 3, 1, 1}) {
		t.Errorf("%v, %v", bases, err)
	}
	c.want(t, 0, "v0")
	c.want(t, 1, "theirs", "theirs", "v1")
	c.want(t, 2, "v2")
	wantContents(t, c.parts[3], "v3")
}

// Whatever becomes of the request, each append is in the log once, or known not to
// be.
func TestFaultsOfOneRequestLoseAndDoubleNothing(t *testing.T) {
	for name, test := range map[string]struct {
		plan   []fault
		delays int // for each
	}{
		"lost":         {[]fault{{kind: lose}}, 1},
		"dropped":      {[]fault{{kind: drop}}, 1},
		"late":         {[]fault{{kind: stall}}, 1},
		"denied":       {[]fault{{kind: drop, err: rpctypes.ErrGRPCPermissionDenied}}, 0},
		"no lease":     {[]fault{{kind: drop, err: rpctypes.ErrGRPCLeaseNotFound}}, 0},
		"too large":    {[]fault{{kind: drop, err: rpctypes.ErrGRPCRequestTooLarge}}, 0},
		"too many":     {[]fault{{kind: drop, err: rpctypes.ErrGRPCTooManyOps}}, 0},
		"large answer": {[]fault{{kind: lose, err: &messages.LimitError{Limit: messages.LimitResponse, Err: errors.New("too large")}}}, 0},
		"full":         {[]fault{{kind: lose, err: rpctypes.ErrGRPCNoSpace}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCrew(t, 4)
			had := c.log.limits.of(pages)
			bases, errs := c.append(t, always(t), test.plan, c.batches("v")...)
			if err := errors.Join(errs...); err != nil || slices.ContainsFunc(bases, func(base int64) bool { return base != 1 }) {
				t.Fatalf("%v, %v", bases, err)
			}
			for i := range c.f.late() {
				c.f.arrive(t, i)
			}
			for i := range c.apps {
				mustAppend(t, c.apps[i], sealedWith("after"))
				c.want(t, i, fmt.Sprint("v", i), "after")
			}
			if len(c.delays) != test.delays*len(c.apps) {
				t.Errorf("told of %v", c.delays)
			}
			if now := c.log.limits.of(pages); now != had {
				t.Errorf("%d keys in a page, were %d: a request of many says nothing of one", now, had)
			}
		})
	}
}

// Whoever gives up holds up nobody: those that were sent with it are sent again, and
// nobody is told of a fault of etcd.
func TestOneOfARequestGivesUp(t *testing.T) {
	for name, plan := range map[string]func(cancel func()) fault{
		"applied":     func(cancel func()) fault { return fault{kind: linger, after: cancel} },
		"not applied": func(cancel func()) fault { return fault{kind: hang, before: cancel} },
	} {
		t.Run(name, func(t *testing.T) {
			c := startCrew(t, 4)
			ctx, cancel := context.WithCancel(testContext(t))
			plan := []fault{plan(cancel)}
			bases, errs := c.append(t, func(i int) context.Context {
				if i == 2 {
					return ctx
				}
				return testContext(t)
			}, plan, c.batches("v")...)
			for i := range c.apps {
				switch {
				case i == 2 && (!errors.Is(errs[i], messages.ErrUnknownOutcome) || !errors.Is(errs[i], context.Canceled)):
					t.Errorf("who gave up: %v", errs[i])
				case i != 2 && (errs[i] != nil || bases[i] != 1):
					t.Errorf("partition %d: %d, %v", i, bases[i], errs[i])
				case i != 2:
					c.want(t, i, fmt.Sprint("v", i))
				}
			}
			if len(c.delays) > 0 {
				t.Errorf("told of %v", c.delays)
			}
		})
	}
}

// An append that is refused for its rights, with all that went with it, goes by
// itself until it lands, and hinders the others no more.
func TestRefusedAppendGoesApart(t *testing.T) {
	c := startCrew(t, 3)
	denied := fault{kind: drop, err: rpctypes.ErrGRPCPermissionDenied}
	_, errs := c.append(t, always(t), []fault{denied, denied, denied, denied}, c.batches("v")...)
	for i, err := range errs {
		if !errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrUnknownOutcome) {
			t.Errorf("partition %d: %v", i, err)
		}
		if !c.apps[i].apart {
			t.Errorf("partition %d goes with others", i)
		}
		mustAppend(t, c.apps[i], sealedWith("after"))
		if c.apps[i].apart {
			t.Errorf("partition %d goes by itself after an append", i)
		}
		c.want(t, i, "after")
	}
}

// What etcd takes in one request is learned: the limit is found once, and large
// batches go by themselves.
func TestLimitsOfOneRequestAreLearned(t *testing.T) {
	c := startCrew(t, 4)
	l := c.log.limits
	_, errs := c.append(t, always(t), []fault{{kind: drop, err: rpctypes.ErrGRPCTooManyOps}}, c.batches("v")...)
	if err := errors.Join(errs...); err != nil || l.of(joint) != 2 {
		t.Errorf("%d in one request: %v", l.of(joint), err)
	}
	l.most[joint].Store(jointInOne)
	batches := c.batches(strings.Repeat("v", 10_000))
	_, errs = c.append(t, always(t), []fault{{kind: drop, err: rpctypes.ErrGRPCRequestTooLarge}}, batches...)
	if most := l.ofTrips().Bytes; errors.Join(errs...) != nil || most < 15_000 || most > 25_000 {
		t.Errorf("%d bytes in one request: %v", most, errors.Join(errs...))
	}
}

// Tickets are kept in a request of many as in one of their own.
func TestTicketsInOneRequest(t *testing.T) {
	c := startCrew(t, 3)
	lease, err := c.log.client.Grant(testContext(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range c.apps {
		a.cfg.Producer, a.cfg.Lease = uint64(i+1), func() clientv3.LeaseID { return lease.ID }
		a.turn.met(a.timing)
		if _, err := a.Append(testContext(t), sealedWith("queued"), true); err != nil {
			t.Fatal(err)
		}
		if a.turn.mine == "" {
			t.Fatal("it has no ticket")
		}
	}
	if _, errs := c.append(t, always(t), nil, c.batches("v")...); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	for i, a := range c.apps {
		if a.turn.mine != "" || a.turn.seen.revision == 0 {
			t.Errorf("partition %d: ticket %q, seen at revision %d", i, a.turn.mine, a.turn.seen.revision)
		}
		c.want(t, i, "queued", fmt.Sprint("v", i))
	}
	if tickets := under(t, c.log, "/queue/"); len(tickets) > 0 {
		t.Errorf("left behind: %q", tickets)
	}
}
