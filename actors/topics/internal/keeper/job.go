package keeper

// What a job is, and what jobs share.

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Job is one kind of work. It lives for one term of office, and one goroutine at a time
// uses it.
type Job interface {
	// Name is one word, for events and for Keeper.Ring.
	Name() string
	// Do does what is due, and returns after how long to call it again at the latest. It
	// blocks until that is done or ctx ends. With an error it is the same, and where again is
	// 0 it is called later each time; commitlog.ErrNotKeeper ends the term.
	Do(ctx context.Context, w *Work) (again time.Duration, err error)
}

// follower is a job that hears of changes.
type follower interface {
	// follow begins a watch that rings for the job, until stop is called.
	follow(k *Keeper) (stop func())
}

// newJobs are the jobs of a term.
func newJobs(k *Keeper) []Job {
	all := []Job{newRetention(), newSweeping(), newCompacting(), newExpiring(), finishing{}, newDelays(k), newSchedules()}
	if k.cfg.History > 0 {
		all = append(all, &history{keep: max(k.cfg.History, LeastHistory)})
	}
	return all
}

// Work is what the jobs of one term share. It is safe for concurrent use.
type Work struct {
	Log    *commitlog.Log
	Office commitlog.Office
	// Emit tells the users of the runtime. It does not block.
	Emit func(messages.Event)
	// Clock tells the time of day, for what is compared with the times of records.
	Clock *Clock
	// Pass is before each record that a job puts: it waits, or refuses, while etcd is near its
	// quota. nil lets everything pass.
	Pass func(ctx context.Context, bytes int) error
	// Count changes the runtime's counters.
	Count func(func(*messages.KeeperStats))

	turns *rate.Limiter
	old   atomic.Bool // the list of topics

	mu     sync.Mutex
	topics []messages.TopicInfo
	read   time.Time
}

const (
	// turnsPerSecond bounds the writes of all jobs together, of which some may follow
	// one another at once.
	turnsPerSecond, turnsAtOnce = 100, 10
	// topicsEvery is how old a list of topics may be: so soon new settings hold.
	topicsEvery = 500 * time.Millisecond
)

func newWork(k *Keeper, o commitlog.Office) *Work {
	return &Work{
		Log: k.log, Office: o, Emit: k.node.Events.Emit, Clock: k.clock, Pass: k.cfg.Pass, Count: k.count,
		turns: rate.NewLimiter(turnsPerSecond, turnsAtOnce),
	}
}

// Turn waits until another transaction may be sent that writes, or ctx ends, whose cause
// it returns.
func (w *Work) Turn(ctx context.Context) error { return turn(ctx, w.turns) }

func turn(ctx context.Context, turns *rate.Limiter) error {
	if err := turns.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// stale has the list of topics read again when it is asked for next. It does not block.
func (w *Work) stale() { w.old.Store(true) }

// Topics are all topics, as they were half a second ago at most. The slice is not to be
// changed. A topic whose settings make no sense is left out.
func (w *Work) Topics(ctx context.Context) ([]messages.TopicInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.old.Swap(false); !old && !w.read.IsZero() && time.Since(w.read) < topicsEvery {
		return w.topics, nil
	}
	topics, err := w.Log.Topics(ctx)
	if err != nil && topics == nil {
		w.old.Store(true)
		return nil, err
	}
	w.topics, w.read = topics, time.Now()
	return topics, nil
}
