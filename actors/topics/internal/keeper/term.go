package keeper

// The actor that becomes the keeper, and has the jobs done while it is.

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// term waits for the office to be free, takes it, and hosts a loop for each job until
// the office is lost.
//
//	waiting ──free──▶ taking ──held──▶ keeping
//	   ▲  ▲              │                │
//	   │  └──another is──┘                │
//	   ├───────────── the key is gone ────┘
//	   └──a minute── refused ◀──no rights── taking, keeping
//
// After a crash it finds the office under its own name and goes on.
type term struct {
	keeper *Keeper
	host   supervisor.Host
	state  termState
	stop   func() // ends the watch of the key
	unsee  func() // ends the watch of topics
	retry  func() // ends the timer of the next try
	office commitlog.Office
	work   *Work
	end    context.CancelCauseFunc // of the loops
	// follows end the watches of jobs.
	follows []func()
	// denied: it was told that this runtime has no rights, and is not told again.
	denied deniedState
}

type termState string

const (
	termWaiting termState = "waiting"
	termTaking  termState = "taking"
	termKeeping termState = "keeping"
	termRefused termState = "refused"
)

var termMoves = supervisor.Moves[termState]{
	"":          {termWaiting},
	termWaiting: {termTaking, termRefused},
	termTaking:  {termWaiting, termKeeping, termRefused},
	termKeeping: {termWaiting},
	termRefused: {termWaiting},
}

type deniedState string

const (
	untold deniedState = "untold"
	told   deniedState = "told"
)

const (
	// tryWithin is by how much those who wait try one after the other.
	tryWithin = 100 * time.Millisecond
	// lookEvery is how often the key is looked for in any case.
	lookEvery = 15 * time.Second
	// refusedFor is how long a runtime without rights waits for them.
	refusedFor = time.Minute
	// leaveWithin bounds the giving up of the office at the end.
	leaveWithin = time.Second
)

// errTermOver ends the loops of a term.
var errTermOver = errors.New("the keeper's term is over")

// What the actor hears.
type (
	// vacant: nobody has the key. occupied: somebody has.
	vacant   struct{}
	occupied struct{}
	// keyRefused: the key cannot be watched.
	keyRefused struct{ err error }
	// try asks for the next attempt to take the office.
	try struct{}
	// taken is the end of an attempt.
	taken struct {
		office commitlog.Office
		held   bool
		err    error
	}
	// deposed: a job was told that the office is not its own any more.
	deposed struct{ of *Work }
)

func newTerm(k *Keeper) actor.Producer {
	return func() actor.Actor { return &term{keeper: k, denied: untold} }
}

func (a *term) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case vacant, occupied:
		a.watched(ctx, m)
	case keyRefused:
		a.refused(ctx, m.err)
	case try:
		a.try(ctx)
	case taken:
		a.taken(ctx, m)
	case deposed:
		a.deposed(ctx, m.of, nil)
	case *supervisor.Ended:
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.ends()
	case *actor.Stopping:
		a.ends()
		a.leave()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *term) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = termMoves.To(ctx, a.state, termWaiting)
	a.follow()
	a.tryIn(tryWithin / 2)
}

// follow watches the key.
func (a *term) follow() {
	key, tell := a.keeper.node.Keys.Keeper(), a.host.Teller()
	a.stop = a.keeper.node.Watches.Watch(key, func(e discovery.WatchEvent) {
		switch e := e.(type) {
		case discovery.Snapshot:
			for _, kv := range e.KVs {
				if kv.Key == key {
					tell(occupied{})
					return
				}
			}
			tell(vacant{})
		case discovery.Delta:
			for _, kv := range e.Puts {
				if kv.Key == key {
					tell(occupied{})
					return
				}
			}
			for _, kv := range e.Deletes {
				if kv.Key == key {
					tell(vacant{})
				}
			}
		case discovery.Refused:
			tell(keyRefused{e.Err})
		}
	})
}

// watched: the key has come or gone.
func (a *term) watched(ctx actor.Context, what any) {
	_, free := what.(vacant)
	switch {
	case !free:
	case a.state == termKeeping: // taken away, or lost with the lease
		a.deposed(ctx, a.work, errTermOver)
	case a.state == termWaiting:
		a.tryIn(0)
	}
}

// tryIn has the office tried for after a while, and some of the others before or after.
func (a *term) tryIn(d time.Duration) {
	if a.retry != nil {
		a.retry()
	}
	a.retry = a.host.After(d+time.Duration(rand.Int64N(int64(tryWithin))), try{})
}

func (a *term) try(ctx actor.Context) {
	if a.state == termRefused {
		a.state = termMoves.To(ctx, a.state, termWaiting)
		if a.stop == nil {
			a.follow()
		}
	}
	if a.state != termWaiting {
		return
	}
	lease := a.keeper.node.Trusted.Load()
	if lease == 0 {
		a.tryIn(time.Second)
		return
	}
	a.state = termMoves.To(ctx, a.state, termTaking)
	log, me := a.keeper.log, a.keeper.me
	supervisor.Call(&a.host, "become the keeper", func(ctx context.Context) (t taken) {
		t.office, t.held, t.err = log.TakeOffice(ctx, clientv3.LeaseID(lease), me)
		return t
	})
}

func (a *term) taken(ctx actor.Context, m taken) {
	switch {
	case a.state != termTaking: // its key was refused meanwhile; what was taken is found by the next try
	case errors.Is(m.err, messages.ErrDenied):
		a.refused(ctx, m.err)
	case m.err != nil:
		a.state = termMoves.To(ctx, a.state, termWaiting)
		a.tryIn(time.Second)
	case !m.held:
		a.state = termMoves.To(ctx, a.state, termWaiting)
		a.tryIn(lookEvery)
	default:
		a.keep(ctx, m.office)
	}
}

// keep begins the jobs.
func (a *term) keep(ctx actor.Context, o commitlog.Office) {
	k := a.keeper
	a.state, a.office, a.denied = termMoves.To(ctx, a.state, termKeeping), o, untold
	a.work = newWork(k, o)
	k.count(func(s *messages.KeeperStats) { s.Keeping, s.Terms = true, s.Terms+1 })
	k.node.Events.Emit(messages.KeeperElected{})
	within, end := context.WithCancelCause(a.host.Context())
	a.end = end
	tell, work := a.host.Teller(), a.work
	// A topic that is made, or has other limits, is looked at at once.
	a.unsee = k.node.Watches.Watch(k.node.Keys.Topics(), func(discovery.WatchEvent) {
		work.stale()
		k.Ring(retentionName)
	})
	for _, j := range newJobs(k) {
		if f, ok := j.(follower); ok {
			a.follows = append(a.follows, f.follow(k))
		}
		a.host.Run("job "+j.Name(), func(context.Context) error {
			if errors.Is(k.do(within, j, work), commitlog.ErrNotKeeper) {
				tell(deposed{work})
			}
			return nil
		})
	}
}

// deposed ends a term.
func (a *term) deposed(ctx actor.Context, of *Work, why error) {
	if a.work != of || a.state != termKeeping {
		return
	}
	a.state = termMoves.To(ctx, a.state, termWaiting)
	a.over(why)
	a.tryIn(0)
}

// over ends the loops of the term.
func (a *term) over(why error) {
	if a.work == nil {
		return
	}
	a.unsee()
	a.end(errTermOver)
	for _, stop := range a.follows {
		stop()
	}
	a.work, a.follows = nil, nil
	a.keeper.count(func(s *messages.KeeperStats) { s.Keeping = false })
	a.keeper.node.Events.Emit(messages.KeeperDeposed{})
}

// refused leaves the office to runtimes that have rights on its key.
func (a *term) refused(ctx actor.Context, err error) {
	if a.state == termKeeping || a.state == termRefused {
		return // who keeps finds out by itself
	}
	if a.denied == untold {
		a.denied = told
		a.keeper.node.Events.Emit(messages.KeeperRefused{Err: err})
	}
	a.unfollow()
	a.state = termMoves.To(ctx, a.state, termRefused)
	if a.retry != nil {
		a.retry()
	}
	a.retry = a.host.After(refusedFor, try{})
}

func (a *term) unfollow() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// ends comes at the end of an incarnation.
func (a *term) ends() {
	a.unfollow()
	a.over(errTermOver)
	a.host.End()
}

// leave frees the office for others. Without that the lease does, later.
func (a *term) leave() {
	if a.office == (commitlog.Office{}) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	_ = a.keeper.log.LeaveOffice(ctx, a.office)
}

// Inspect reports what the keeper is at.
func (a *term) Inspect(in *supervisor.Inspection) {
	in.Text("state", string(a.state))
}

// do has a job done again and again until ctx ends or the office is lost.
func (k *Keeper) do(ctx context.Context, j Job, w *Work) error {
	bell := k.bell(j.Name())
	for failures := 0; ; {
		again, err := j.Do(ctx, w)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, commitlog.ErrNotKeeper):
			return err
		case err != nil:
			if failures == 0 {
				k.failed(j, err)
			}
			failures++
			if again == 0 {
				again = retries.Delay(failures, rand.Float64())
			}
		default:
			failures = 0
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-bell:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// retries spaces the attempts of a job that fails.
var retries = supervisor.Backoff{Min: 200 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Jitter: 0.5}

// failed tells once that a job cannot be done, until it can.
func (k *Keeper) failed(j Job, err error) {
	if errors.Is(err, messages.ErrDenied) {
		k.node.Events.Emit(messages.KeeperRefused{Job: j.Name(), Err: err})
		return
	}
	k.node.Events.Emit(messages.KeeperDelayed{Job: j.Name(), Err: err})
}
