package topiclog

// One partition of a topic in this process: the appender that etcd hears from,
// and the one reader that all groups share.

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/tail"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// partition hosts the append loop of its accumulator and at most one read of
// etcd at a time; where the log ends, its topic looks.
//
//	idle ──fetch that memory cannot serve──▶ reading ──────────read done─────────▶ idle
//	                                             └─batches unheard of─▶ stale ──────▲
type partition struct {
	path  *Partition
	env   *Env
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

// EtcdRetry spaces attempts at an etcd that does not respond.
var EtcdRetry = supervisor.Backoff{Min: 20 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.5}

// What readers ask a partition for, and what they get: the reply goes to an actor.
type (
	Fetch   = tail.Request[*actor.PID]
	Fetched = tail.Reply[*actor.PID]
	// snapshot is what a partition knows when a look begins.
	snapshot = tail.Snapshot[*actor.PID]
)

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
	// looked is the reply to lookWanted.
	looked struct {
		of *lookWanted
		tail.Finding
		err error
	}
	// readDone is the end of its own call.
	readDone struct {
		of   *Fetch
		read Fetched
		page []format.Entry
	}
)

func newPartition(path *Partition) actor.Producer {
	return func() actor.Actor { return &partition{path: path, env: path.Topic.Env} }
}

func (a *partition) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *Fetch:
		a.fetch(ctx, m)
	case *readerLeft:
		a.path.reading.Forget(m.reader)
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
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.host.End()
	case *actor.Stopping:
		a.host.End()
		a.dismiss(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
	a.path.end.Store(a.path.reading.End())
}

func (a *partition) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = partitionMoves.To(ctx, a.state, partitionIdle)
	path, tell := a.path, a.host.Teller()
	path.acc.Dedupe(path.back)
	a.host.Run("append", func(ctx context.Context) error {
		if err := path.renew(ctx); err != nil {
			return err
		}
		defer path.leaveQueue(ctx)
		return path.acc.Run(ctx, path.Topic.Env.governed(path.append), func(base int64, s *format.Sealed) {
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

func (a *partition) fetch(ctx actor.Context, f *Fetch) {
	if f.To == nil {
		f.To = ctx.Sender()
	}
	a.path.reading.Ask(f)
	a.serve(ctx)
}

// ended: the append loop is over because the topic is, or it has a bug.
func (a *partition) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Err != nil {
		supervisor.Fail(ctx, m.Err)
	}
}

// serve replies to every request that it can, and begins what the first of the
// others needs.
func (a *partition) serve(ctx actor.Context) {
	r := &a.path.reading
	for i := 0; i < len(r.Waiting()); {
		f := r.Waiting()[i]
		switch n := r.Needs(f); {
		case n == tail.NeedsWarning:
			a.reply(ctx, f, Fetched{Of: f, Err: messages.ErrLogRolledBack})
			continue
		case n == tail.NeedsNothing:
			a.reply(ctx, f, Fetched{Of: f, Batches: r.FromMemory(f)})
			continue // it is out of the list
		case n == tail.NeedsNews && f.Room > 0, n == tail.NeedsBodies && f.Room == 0:
			a.reply(ctx, f, Fetched{Of: f}) // it learns where the end is
			continue
		case n == tail.NeedsNews, a.state != partitionIdle:
		case n == tail.NeedsLook:
			a.look(ctx)
		default:
			a.read(f)
			a.state = partitionMoves.To(ctx, a.state, partitionBusy)
		}
		i++
	}
	a.trim()
}

func (a *partition) reply(ctx actor.Context, f *Fetch, with Fetched) {
	if a.path.reading.Settle(f) {
		with.End, with.History = max(a.path.reading.End(), 0), a.path.reading.LogNumber()
		supervisor.Notify(ctx, f.To, &with)
	}
}

func (a *partition) indexed(ctx actor.Context, entries []format.Entry) {
	for _, e := range entries {
		if a.path.reading.Indexed(e) {
			a.lookAgain(ctx)
			break
		}
	}
	a.serve(ctx)
}

func (a *partition) appended(ctx actor.Context, m appendedHere) {
	if a.path.reading.Appended(m.entry, m.batch) {
		a.lookAgain(ctx)
	}
	a.serve(ctx)
}

// trim drops what every reader here has, and what is above the limits.
func (a *partition) trim() {
	r := &a.path.reading
	limit := tail.FreshBytes
	if r.AtEnd() >= int(a.path.readers.Load()) {
		limit = 0
	}
	for total := &a.env.Fresh; ; limit = r.Bytes() / 2 {
		had := r.Bytes()
		r.Evict(limit)
		left := total.Add(int64(r.Growth()))
		if had == 0 || left <= tail.FreshTotal {
			return
		}
	}
}

// lookAgain finds out where the log ends, if anybody has asked yet.
func (a *partition) lookAgain(ctx actor.Context) {
	switch {
	case a.state == partitionBusy: // what is under way may have looked before
		a.path.reading.Owe()
		a.state = partitionMoves.To(ctx, a.state, partitionStale)
		return
	case a.state == partitionStale, a.path.reading.End() == tail.UnknownEnd:
		return
	}
	a.look(ctx)
}

// look has the topic find out, together with whatever else wants to know.
func (a *partition) look(ctx actor.Context) {
	a.awaits = &lookWanted{a.path, ctx.Self(), a.path.reading.BeginLook()}
	supervisor.Notify(ctx, ctx.Parent(), a.awaits)
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
	r.Looked(m.of.from, m.Finding)
	for _, f := range m.of.from.Asked {
		if f.Offset > r.End() { // a linearizable read says so
			a.reply(ctx, f, Fetched{Of: f, Err: messages.ErrLogRolledBack})
		}
	}
}

// read gets what a request needs from etcd.
func (a *partition) read(f *Fetch) {
	log, delayed := a.path.Log, a.path.delayed
	ahead, ask := a.path.reading.Ahead(f.Offset), *f
	supervisor.Call(&a.host, "read", func(ctx context.Context) readDone {
		done := readDone{of: f}
		done.read.Of = f
		done.read.Err = Retry(ctx, delayed, func() (err error) {
			if len(ahead) == 0 {
				if ahead, err = indexFrom(ctx, log, &ask); err != nil {
					return err
				}
			}
			n := tail.Portion(ahead, ask.Room)
			done.read.Batches, err = log.Fetch(ctx, ahead[:n])
			return err
		})
		done.page = ahead[min(len(done.read.Batches), len(ahead)):]
		var gone *commitlog.TrimmedError
		switch err := done.read.Err; {
		case len(done.read.Batches) > 0:
			done.read.Err = nil // what came before the fault is good
		case errors.As(err, &gone):
			done.read.Trimmed, done.read.Err = gone.Start, nil
		}
		return done
	})
}

// index is what indexFrom needs of a commitlog.Partition.
type index interface {
	Entries(ctx context.Context, base int64, limit int) ([]format.Entry, error)
	Locate(ctx context.Context, offset int64) (base int64, err error)
	Bounds(ctx context.Context) (start, end int64, err error)
}

// entriesFrom returns the entries from the one on that holds offset, or none.
func entriesFrom(entries []format.Entry, offset int64) []format.Entry {
	for i, e := range entries {
		if offset < e.End() {
			return entries[i:]
		}
	}
	return nil
}

// indexFrom reads the index from the batch on that holds the offset asked for.
func indexFrom(ctx context.Context, log index, ask *Fetch) ([]format.Entry, error) {
	// The batch that holds it begins no more than its largest size before.
	if ask.Base < 0 || ask.Base > ask.Offset || ask.Offset-ask.Base >= messages.MaxBatchRecords {
		base, err := log.Locate(ctx, ask.Offset)
		if err != nil {
			return nil, err
		}
		ask.Base = base
	}
	entries, err := log.Entries(ctx, ask.Base, tail.IndexPage)
	if from := entriesFrom(entries, ask.Offset); len(from) > 0 { // with an error, those before the fault are good
		return from, nil
	}
	if errors.Is(err, messages.ErrCorrupt) { // unless the base was no base
		if base, lerr := log.Locate(ctx, ask.Offset); lerr == nil && base != ask.Base {
			ask.Base = base
			return indexFrom(ctx, log, ask)
		}
	}
	var gone *commitlog.TrimmedError
	if errors.As(err, &gone) && ask.Base < gone.Start && gone.Start <= ask.Offset {
		ask.Base = gone.Start // which is a base
		return indexFrom(ctx, log, ask)
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 { // a hint far behind: continue from there
		ask.Base = entries[len(entries)-1].End()
		return indexFrom(ctx, log, ask)
	}
	start, end, err := log.Bounds(ctx)
	switch {
	case err != nil:
		return nil, err
	case start > ask.Offset:
		return nil, &commitlog.TrimmedError{Start: start}
	case end <= ask.Offset:
		return nil, messages.ErrLogRolledBack
	}
	at, err := log.Locate(ctx, ask.Offset)
	if err != nil {
		return nil, err
	}
	if at != ask.Base {
		ask.Base = at // the base was no base
		return nil, messages.ErrUnavailable
	}
	// It may have been put since the first look: the end that is known here can be
	// that of the log before etcd was set back.
	entries, err = log.Entries(ctx, ask.Base, tail.IndexPage)
	if from := entriesFrom(entries, ask.Offset); len(from) > 0 {
		return from, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, &commitlog.CorruptError{Topic: "", Base: ask.Offset, Why: "the index has no entry for it"}
}

func (a *partition) readDone(ctx actor.Context, m readDone) {
	defer a.serve(ctx)
	defer a.free(ctx)
	a.path.reading.KeepPage(m.page)
	if errors.Is(m.read.Err, messages.ErrLogRolledBack) {
		a.path.reading.KeepPage(nil)
		a.lookAgain(ctx)
		return // the look tells who has read what is lost
	}
	if errors.Is(m.read.Err, messages.ErrTopicDeleted) {
		a.refuse(ctx, m.read.Err)
		return
	}
	a.reply(ctx, m.of, m.read)
	if len(m.read.Batches) > 0 {
		a.share(ctx, m.read.Batches)
	}
}

// share gives what was read to every other reader that is at the same place.
func (a *partition) share(ctx actor.Context, batches []*format.Batch) {
	for _, f := range slices.Clone(a.path.reading.Waiting()) {
		for i, b := range batches {
			if b.Base <= f.Offset && f.Offset < b.End() && f.Room > 0 {
				a.reply(ctx, f, Fetched{Of: f, Batches: batches[i : i+1 : i+1]})
				break
			}
		}
	}
}

// refuse replies to everybody with an error that no reading can mend.
func (a *partition) refuse(ctx actor.Context, err error) {
	for _, f := range slices.Clone(a.path.reading.Waiting()) {
		a.reply(ctx, f, Fetched{Of: f, Err: err})
	}
}

// dismiss tells whoever waits that there will be nothing.
func (a *partition) dismiss(ctx actor.Context) {
	if cause := a.path.Topic.Ended(); cause != nil {
		a.refuse(ctx, cause)
	}
}

// Retry does something until etcd responds, or ctx ends, whose cause it then
// returns.
func Retry(ctx context.Context, delayed func(error), do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || !errors.Is(err, messages.ErrUnavailable) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		delayed(err)
		t := time.NewTimer(EtcdRetry.Delay(attempt, rand.Float64()))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}
