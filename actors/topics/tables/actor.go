package tables

// The actor that feeds a table.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// table reads all partitions of a topic, and keeps what its handle has.
//
//	opening ──index followed──▶ loading ──all read──▶ following
//	                               ▲                      │
//	                               └──(see want)──────────┘
//
// What it has read outlives it. After a crash it follows from there, and loads again: what
// it was told when it failed is lost.
type table struct {
	t     *Table
	env   *topiclog.Env
	host  supervisor.Host
	state tableState
	// live feeds the view that the handle has, again the one to take its place.
	live, again *pass
	opened      discovery.Opened // where the index is followed from
	ttl         time.Duration    // of the topic
	reads       int              // of bodies, under way
	queue       []*reading       // that wait for room to read
	edits       map[place]*edit
	// wanted is why it is to be loaded again, when notBefore has come.
	wanted    string
	notBefore time.Time
	ticks     int
}

type tableState string

const tableOpening, tableLoading, tableFollowing tableState = "opening", "loading", "following"

var tableMoves = supervisor.Moves[tableState]{
	"":             {tableOpening},
	tableOpening:   {tableLoading},
	tableLoading:   {tableLoading, tableFollowing},
	tableFollowing: {tableLoading},
}

const (
	// stillWaiting is how often a request is repeated that was not answered: a reply can be
	// lost with the actor that owed it.
	stillWaiting = 15 * time.Second
	// refusedPause is how long it waits when etcd refuses a read.
	refusedPause = time.Second
	// mostReads is how many reads of bodies are under way at once.
	mostReads = 8
	// tickEvery is how often it looks what has expired.
	tickEvery = time.Second
	// progressTicks is how often progress is emitted, buryTicks how often tombstones are
	// forgotten that are older than graceTime.
	progressTicks, buryTicks = 5, 30
	graceTime                = time.Minute
	// loadRest times as long as a load took is between it and the next, unless that is due
	// at once.
	loadRest = 4
)

// What a table hears.
type (
	// bounds are where the partitions begin and end, for a pass.
	bounds struct {
		of           *pass
		starts, ends []int64
		err          error
	}
	// grown is where new partitions begin, from one on.
	grown struct {
		of     *pass
		from   int
		starts []int64
		err    error
	}
	// startsSeen are where partitions begin, by number.
	startsSeen struct{ starts map[int]int64 }
	// doubted: a batch that a view was made of is not in the log.
	doubted struct{ view *keyed.View }
	// readAgain continues a reading that was refused.
	readAgain struct{ of *reading }
	// askAgain repeats requests without a reply.
	askAgain struct{}
	tick     struct{}
)

func newActor(t *Table) actor.Producer {
	return func() actor.Actor { return &table{t: t, env: t.env, edits: make(map[place]*edit)} }
}

func (a *table) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *topiclog.IndexOpened:
		a.indexOpened(ctx, m)
	case bounds:
		a.bounds(ctx, m)
	case *topiclog.Fetched:
		a.fetched(ctx, m)
	case *topiclog.Edited:
		a.edited(m)
	case editRead:
		a.editRead(m)
	case rescanned:
		a.rescanned(m)
	case startsSeen:
		a.startsSeen(m)
	case *topiclog.Changed:
		a.changed(ctx)
	case grown:
		a.grown(ctx, m)
	case *doubted:
		a.doubted(ctx, m)
	case readAgain:
		a.ask(ctx, m.of)
	case askAgain:
		a.repeat()
	case tick:
		a.tick(ctx)
	case *supervisor.Ended:
		supervisor.Fail(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
		a.drop(&a.live)
		a.drop(&a.again)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *table) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = tableMoves.To(ctx, a.state, tableOpening)
	a.host.Every(stillWaiting, askAgain{})
	a.host.Every(tickEvery, tick{})
	path, self := a.t.path, ctx.Self()
	a.ttl = path.TTL()
	path.Listen(self)
	a.host.AtEnd(func() { path.Unlisten(self) })
	a.followStarts()
	if a.t.view != nil && a.t.trust != overthrown {
		a.live = &pass{view: a.t.view}
		for p := range a.live.view.Partitions() {
			if !a.read(ctx, a.live, p, 0) {
				return
			}
		}
	}
}

// indexOpened begins the first load, and looks for what was missed afterwards.
func (a *table) indexOpened(ctx actor.Context, m *topiclog.IndexOpened) {
	before := a.opened
	a.opened = m.Opened
	switch {
	case a.state == tableOpening && a.t.view == nil:
		a.load(ctx, "it begins")
	case a.state == tableOpening:
		a.load(ctx, "it was restarted")
	case before.Revision == 0: // and it loads already
		a.want("it was restarted")
	case m.Cluster != before.Cluster || m.Revision < before.Revision:
		a.overthrow(ctx, "etcd was replaced")
	default:
		a.rescan(before.Revision)
	}
}

// load reads the topic from its start, beside what there is.
func (a *table) load(ctx actor.Context, why string) {
	a.drop(&a.again)
	a.state = tableMoves.To(ctx, a.state, tableLoading)
	a.wanted = ""
	a.again = &pass{why: why, began: time.Now(), view: keyed.New(a.t.cfg.Prefix, a.ttl, a.t.view)}
	if a.t.view != nil && a.t.trust == following {
		a.trust(reloading)
	}
	a.progress()
	a.resume(ctx)
	of, env, path := a.again, a.env, a.t.path
	supervisor.Call(&a.host, "find where the log begins and ends", func(ctx context.Context) bounds {
		m := bounds{of: of}
		info := path.Info()
		m.err = topiclog.Retry(ctx, a.delayed, func() (err error) {
			m.starts, m.ends, _, err = env.Log.EndsAt(ctx, info, upTo(0, info.Config.Partitions), 0)
			return err
		})
		return m
	})
}

// upTo are the numbers from one to before another.
func upTo(from, to int) (all []int) {
	for p := from; p < to; p++ {
		all = append(all, p)
	}
	return all
}

func (a *table) bounds(ctx actor.Context, m bounds) {
	if m.of != a.again {
		return
	}
	if m.err != nil {
		a.refused(ctx, m.err)
		return
	}
	for p, start := range m.starts {
		a.again.view.Add(start)
		if !a.read(ctx, a.again, p, m.ends[p]) {
			return
		}
	}
	a.through(ctx)
}

// refused gives up where nothing was read yet, and else tries again later.
func (a *table) refused(ctx actor.Context, err error) {
	if a.t.view == nil || errors.Is(err, messages.ErrTopicDeleted) {
		a.over(ctx, err)
		return
	}
	a.delayed(err)
	a.drop(&a.again)
	a.notBefore = time.Now().Add(refusedPause)
	a.want("etcd refused it")
	a.resume(ctx)
}

// want has the topic read again when some time has passed since the last time.
func (a *table) want(why string) { a.wanted = why }

// overthrow gives up what was read: it is of another log. The handle has it until the load
// is through.
func (a *table) overthrow(ctx actor.Context, why string) {
	if a.t.view != nil {
		a.trust(overthrown)
	}
	a.drop(&a.live)
	a.load(ctx, why)
}

func (a *table) doubted(ctx actor.Context, m *doubted) {
	if m.view == a.t.view && a.t.trust != overthrown {
		a.overthrow(ctx, "etcd was set back")
	}
}

// trust notes how far the handle can be relied on. What is of another log stays so until a
// load is through.
func (a *table) trust(as trust) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	if a.t.trust != overthrown {
		a.t.trust = as
	}
}

// each does something to the views that are fed.
func (a *table) each(do func(v *keyed.View, tell func(keyed.Change))) {
	if a.again != nil {
		do(a.again.view, func(keyed.Change) {})
	}
	if a.live == nil {
		return
	}
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	do(a.live.view, a.t.tell)
	a.t.wake()
}

// wake tells whom the view does for. mu is held.
func (t *Table) wake() {
	for w := range t.waiters {
		if t.has(w) {
			close(w.ready)
			delete(t.waiters, w)
		}
	}
}

// through puts what was read in place of what the handle had, when all of it was.
func (a *table) through(ctx actor.Context) {
	if a.again == nil || !a.again.reached(a.live) {
		return
	}
	p, t := a.again, a.t
	p.view.Bury(time.Now().Add(-graceTime).UnixNano())
	a.drop(&a.live)
	a.live, a.again = p, nil
	a.state = tableMoves.To(ctx, a.state, tableFollowing)
	took := time.Since(p.began)
	a.notBefore = time.Now().Add(loadRest * took)
	first := t.take(p.view)
	a.env.Events.Emit(messages.TableLoaded{Topic: t.path.Name, Why: p.why, Keys: p.view.Len(), Bytes: p.view.Cost(), Took: took})
	if first {
		close(t.loaded)
	}
	a.grow()
}

// apply takes a batch into the view.
func (t *Table) apply(p int, b *format.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wake()
	return t.view.Apply(p, b, t.tell)
}

// take puts a view in place, and reports whether it is the first.
func (t *Table) take(view *keyed.View) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first = t.view == nil
	if len(t.watchers) > 0 {
		keyed.Diff(t.view, view, t.tell)
	}
	if !first {
		t.counts.records += t.view.Records()
		t.counts.keyless += t.view.Keyless()
	}
	view.Release()
	t.view, t.trust = view, following
	t.counts.loads++
	t.wake()
	return first
}

// tick takes out what has expired, and does what is due.
func (a *table) tick(ctx actor.Context) {
	a.ticks++
	now := time.Now()
	idle := now.Sub(time.Unix(0, a.t.used.Load()))
	switch {
	case a.t.cfg.Idle > 0 && idle > a.t.cfg.Idle:
		a.over(ctx, errIdle)
		return
	case a.again != nil && a.ticks%progressTicks == 0:
		a.progress()
	case a.again == nil && a.wanted != "" && now.After(a.notBefore) && a.state != tableOpening:
		a.load(ctx, a.wanted)
	}
	if a.live != nil {
		a.t.mu.Lock()
		a.live.view.Expire(now.UnixNano(), a.t.tell)
		if a.ticks%buryTicks == 0 {
			a.live.view.Bury(now.Add(-graceTime).UnixNano())
		}
		a.t.mu.Unlock()
	}
	a.pickEdits()
}

// progress tells how far a load is.
func (a *table) progress() {
	read, left := a.again.progress()
	a.env.Events.Emit(messages.TableLoads{Topic: a.t.path.Name, Why: a.again.why, Read: read, Left: left})
}

// over ends the table, and its actor.
func (a *table) over(ctx actor.Context, why error) {
	a.t.end(why)
	ctx.Stop(ctx.Self())
}

func (a *table) delayed(err error) {
	a.env.Events.Emit(messages.ReadDelayed{Topic: a.t.path.Name, Err: err})
}

// tooLarge gives the table up when it takes more memory than it may.
func (a *table) tooLarge(ctx actor.Context, v *keyed.View) bool {
	if v.Cost() <= a.t.cfg.MaxBytes {
		return false
	}
	a.over(ctx, &messages.TableFullError{Topic: a.t.path.Name, Keys: v.Len(), Bytes: v.Cost(), Limit: a.t.cfg.MaxBytes})
	return true
}

var _ supervisor.Inspector = (*table)(nil)

// Inspect reports what the table has, and what it does.
func (a *table) Inspect(in *supervisor.Inspection) {
	s := a.t.Stats()
	in.Text("state", string(s.State))
	in.Int("keys", s.Keys)
	in.Int64("bytes", s.Bytes)
	in.Int64("lag", s.Lag)
	if a.again != nil {
		in.Text("loads", fmt.Sprintf("because %s", a.again.why))
	}
	if n := len(a.edits); n > 0 {
		in.Int("edits", n)
	}
}
