package actors

// One partition of a topic in this process: the appender that etcd hears from,
// and the one reader that all groups share.

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// partition hosts the append loop of its accumulator and at most one read of
// etcd at a time; where the log ends, its topic looks.
//
//	idle ──fetch that memory cannot answer──▶ reading ──────────read done─────────▶ idle
//	                                             └─batches unheard of─▶ stale ──────▲
type partition struct {
	path  *partitionPath
	eng   *Engine
	host  supervisor.Host
	state partitionState
	// awaits is what the topic is to look for, or nil.
	awaits *lookWanted
}

type partitionState string

const (
	partitionIdle  partitionState = "idle"
	partitionBusy  partitionState = "reading"
	partitionStale partitionState = "reading, to look after it"
)

var partitionMoves = supervisor.Moves[partitionState]{
	"":             {partitionIdle},
	partitionIdle:  {partitionBusy},
	partitionBusy:  {partitionIdle, partitionStale},
	partitionStale: {partitionIdle},
}

// etcdRetry spaces attempts at an etcd that does not answer.
var etcdRetry = supervisor.Backoff{Min: 20 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.5}

// What a partition hears.
type (
	// readerLeft: a reader of the partition is gone.
	readerLeft struct{ reader any }
	// indexed: batches came into the log, in order.
	indexed struct{ entries []format.Entry }
	// lookAgain: some may have come unheard.
	lookAgain struct{}
	// appendedHere: this process has put a batch.
	appendedHere struct {
		entry format.Entry
		batch *format.Batch
	}
	// looked answers lookWanted.
	looked struct {
		of *lookWanted
		sight
		err error
	}
	// readDone is the end of its own call.
	readDone struct {
		of   *fetch
		read fetched
		page []format.Entry
	}
)

func newPartition(path *partitionPath) actor.Producer {
	return func() actor.Actor { return &partition{path: path, eng: path.topic.eng} }
}

func (a *partition) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *fetch:
		a.fetch(ctx, m)
	case *readerLeft:
		a.path.reading.forget(m.reader)
		a.trim()
	case *indexed:
		a.indexed(ctx, m.entries)
	case *lookAgain:
		a.lookAgain(ctx)
	case appendedHere:
		a.appended(ctx, m)
	case *looked:
		a.looked(ctx, m)
	case readDone:
		a.readDone(ctx, m)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case crash:
		panic(m.err)
	case *actor.Restarting:
		a.host.End()
	case *actor.Stopping:
		a.host.End()
		a.dismiss(ctx)
	}
}

func (a *partition) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = partitionMoves.To(ctx, a.state, partitionIdle)
	path, eng, tell := a.path, a.eng, a.host.Teller()
	where := path.topic.name
	appender := path.log.Appender(commitlog.AppenderConfig{
		Producer: path.acc.Producer(),
		Lease:    func() clientv3.LeaseID { return clientv3.LeaseID(eng.lease.Load()) },
		Delayed:  func(err error) { eng.hub.emit(messages.AppendDelayed{Topic: where, Partition: path.p, Err: err}) },
	})
	a.host.Run("append", func(ctx context.Context) error {
		defer leaveQueue(ctx, appender)
		return path.acc.Run(ctx, appender.Append, func(base int64, s *format.Sealed) {
			if path.readers.Load() == 0 {
				return
			}
			if b, err := s.Batch(base); err == nil {
				tell(appendedHere{s.Entry(base), b})
			}
		})
	})
	a.lookAgain(ctx) // what an earlier incarnation was told last may be lost
	a.serve(ctx)
}

func (a *partition) fetch(ctx actor.Context, f *fetch) {
	if f.to == nil {
		f.to = ctx.Sender()
	}
	a.path.reading.ask(f)
	a.serve(ctx)
}

// leaveQueue gives up the place in the queue of appenders; otherwise they would
// wait for it, once.
func leaveQueue(ctx context.Context, appender *commitlog.Appender) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
	defer cancel()
	_ = appender.Leave(ctx)
}

// ended: the append loop is over because the topic is, or it has a bug.
func (a *partition) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Err != nil {
		supervisor.Fail(ctx, m.Err)
	}
}

// serve answers every request that can be, and begins what the first of the
// others needs.
func (a *partition) serve(ctx actor.Context) {
	r := &a.path.reading
	for i := 0; i < len(r.waiting); {
		f := r.waiting[i]
		switch n := r.needs(f); {
		case n == needWarning:
			a.answer(ctx, f, fetched{of: f, err: messages.ErrLogRolledBack})
			continue
		case n == needNothing:
			a.answer(ctx, f, fetched{of: f, batches: a.fromMemory(f)})
			continue // it is out of the list
		case n == needNews && f.room > 0, n == needBodies && f.room == 0:
			a.answer(ctx, f, fetched{of: f}) // it learns where the end is
			continue
		case n == needNews, a.state != partitionIdle:
		case n == needLook:
			a.look(ctx)
		default:
			a.read(f)
			a.state = partitionMoves.To(ctx, a.state, partitionBusy)
		}
		i++
	}
	a.trim()
}

// fromMemory is what a request gets of the fresh batches.
func (a *partition) fromMemory(f *fetch) []*format.Batch {
	batches := a.path.reading.inMemory(f.offset, f.room)
	if f.room == 0 && len(batches[0].Raw) > smallBatch {
		return nil
	}
	return batches
}

func (a *partition) answer(ctx actor.Context, f *fetch, with fetched) {
	if a.path.reading.settle(f) {
		with.end, with.history = max(a.path.reading.end, 0), a.path.reading.number()
		ctx.Send(f.to, &with)
	}
}

func (a *partition) indexed(ctx actor.Context, entries []format.Entry) {
	for _, e := range entries {
		if a.path.reading.entry(e) {
			a.lookAgain(ctx)
			break
		}
	}
	a.serve(ctx)
}

func (a *partition) appended(ctx actor.Context, m appendedHere) {
	if a.path.reading.appended(m.entry, m.batch) {
		a.lookAgain(ctx)
	}
	a.serve(ctx)
}

// trim drops what every reader here has, and what is above the limits.
func (a *partition) trim() {
	r := &a.path.reading
	limit := freshBytes
	if r.atEnd() >= int(a.path.readers.Load()) {
		limit = 0
	}
	for total := &a.eng.fresh; ; limit = r.bytes / 2 {
		had := r.bytes
		r.evict(limit)
		left := total.Add(int64(r.bytes - r.counted))
		r.counted = r.bytes
		if had == 0 || left <= freshTotal {
			return
		}
	}
}

// lookAgain finds out where the log ends, if anybody has asked yet.
func (a *partition) lookAgain(ctx actor.Context) {
	switch {
	case a.state == partitionBusy: // what is under way may have looked before
		a.path.reading.owe()
		a.state = partitionMoves.To(ctx, a.state, partitionStale)
		return
	case a.state == partitionStale, a.path.reading.end == unknownEnd:
		return
	}
	a.look(ctx)
}

// look has the topic find out, together with whatever else wants to know.
func (a *partition) look(ctx actor.Context) {
	a.awaits = &lookWanted{a.path, ctx.Self(), a.path.reading.lookout()}
	ctx.Send(ctx.Parent(), a.awaits)
	a.state = partitionMoves.To(ctx, a.state, partitionBusy)
}

// free ends what was under way, and looks again if that was asked for meanwhile.
func (a *partition) free(ctx actor.Context) {
	was := a.state
	a.state = partitionMoves.To(ctx, a.state, partitionIdle)
	if was == partitionStale {
		a.lookAgain(ctx)
	}
}

func (a *partition) looked(ctx actor.Context, m *looked) {
	if m.of != a.awaits {
		return // an earlier incarnation's
	}
	a.awaits = nil
	defer a.serve(ctx)
	defer a.free(ctx)
	r := &a.path.reading
	if m.err != nil {
		a.refuse(ctx, m.err)
		return
	}
	r.looked(m.of.from, m.sight)
	for _, f := range m.of.from.asked {
		if f.offset > r.end { // a linearizable read says so
			a.answer(ctx, f, fetched{of: f, err: messages.ErrLogRolledBack})
		}
	}
}

// read gets what a request needs from etcd.
func (a *partition) read(f *fetch) {
	log, delayed := a.path.log, a.path.delayed
	ahead, ask := a.path.reading.ahead(f.offset), *f
	supervisor.Call(&a.host, "read", func(ctx context.Context) readDone {
		done := readDone{of: f}
		done.read.of = f
		done.read.err = insist(ctx, delayed, func() (err error) {
			if len(ahead) == 0 {
				if ahead, err = indexFrom(ctx, log, &ask); err != nil {
					return err
				}
			}
			n := portion(ahead, ask.room)
			done.read.batches, err = log.Fetch(ctx, ahead[:n])
			return err
		})
		done.page = ahead[min(len(done.read.batches), len(ahead)):]
		var gone *commitlog.TrimmedError
		switch err := done.read.err; {
		case len(done.read.batches) > 0:
			done.read.err = nil // what came before the fault is good
		case errors.As(err, &gone):
			done.read.trimmed, done.read.err = gone.Start, nil
		}
		return done
	})
}

// indexFrom reads the index from the batch on that holds the offset asked for.
func indexFrom(ctx context.Context, log *commitlog.Partition, ask *fetch) ([]format.Entry, error) {
	// The batch that holds it begins no more than its largest size before.
	if ask.base < 0 || ask.base > ask.offset || ask.offset-ask.base >= messages.MaxBatchRecords {
		base, err := log.Locate(ctx, ask.offset)
		if err != nil {
			return nil, err
		}
		ask.base = base
	}
	entries, err := log.Entries(ctx, ask.base, indexPage)
	for i, e := range entries { // with an error, those before the fault are good
		if ask.offset < e.End() {
			return entries[i:], nil
		}
	}
	if errors.Is(err, messages.ErrCorrupt) { // unless the base was no base
		if base, lerr := log.Locate(ctx, ask.offset); lerr == nil && base != ask.base {
			ask.base = base
			return indexFrom(ctx, log, ask)
		}
	}
	var gone *commitlog.TrimmedError
	if errors.As(err, &gone) && ask.base < gone.Start && gone.Start <= ask.offset {
		ask.base = gone.Start // which is a base
		return indexFrom(ctx, log, ask)
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 { // a hint far behind: go on from there
		ask.base = entries[len(entries)-1].End()
		return indexFrom(ctx, log, ask)
	}
	start, end, err := log.Bounds(ctx)
	switch {
	case err != nil:
		return nil, err
	case start > ask.offset:
		return nil, &commitlog.TrimmedError{Start: start}
	case end <= ask.offset:
		return nil, messages.ErrLogRolledBack
	}
	at, err := log.Locate(ctx, ask.offset)
	if err != nil {
		return nil, err
	}
	if at != ask.base {
		ask.base = at // the base was no base
		return nil, messages.ErrUnavailable
	}
	return nil, &commitlog.CorruptError{Topic: "", Base: ask.offset, Why: "the index has no entry for it"}
}

func (a *partition) readDone(ctx actor.Context, m readDone) {
	defer a.serve(ctx)
	defer a.free(ctx)
	r := &a.path.reading
	r.page = m.page
	if errors.Is(m.read.err, messages.ErrLogRolledBack) {
		r.page = nil
		a.lookAgain(ctx)
		return // the look tells who has read what is lost
	}
	if errors.Is(m.read.err, messages.ErrTopicDeleted) {
		a.refuse(ctx, m.read.err)
		return
	}
	a.answer(ctx, m.of, m.read)
	if len(m.read.batches) > 0 {
		a.share(ctx, m.read.batches)
	}
}

// share gives what was read to every other reader that is at the same place.
func (a *partition) share(ctx actor.Context, batches []*format.Batch) {
	for _, f := range append([]*fetch(nil), a.path.reading.waiting...) {
		for i, b := range batches {
			if b.Base <= f.offset && f.offset < b.End() && f.room > 0 {
				a.answer(ctx, f, fetched{of: f, batches: batches[i : i+1 : i+1]})
				break
			}
		}
	}
}

// refuse answers everybody with an error that no reading can mend.
func (a *partition) refuse(ctx actor.Context, err error) {
	for _, f := range append([]*fetch(nil), a.path.reading.waiting...) {
		a.answer(ctx, f, fetched{of: f, err: err})
	}
}

// dismiss tells whoever waits that there will be nothing.
func (a *partition) dismiss(ctx actor.Context) {
	if cause := a.path.topic.ended(); cause != nil {
		a.refuse(ctx, cause)
	}
}

// insist does something until etcd answers, or ctx ends, whose cause it then
// answers.
func insist(ctx context.Context, delayed func(error), do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || !errors.Is(err, messages.ErrUnavailable) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		delayed(err)
		t := time.NewTimer(etcdRetry.Delay(attempt, rand.Float64()))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}
