package keeper

// What a runtime has of this, whether it is the keeper or not.

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Config is what a runtime wants of the keeper that it may become.
type Config struct {
	// History is how much of etcd's history is kept at least, LeastHistory or more; 0
	// leaves the history to others.
	History time.Duration
	// Pass is Work.Pass.
	Pass func(ctx context.Context, bytes int) error
}

// Keeper outlives the incarnations of its actor. It is safe for concurrent use.
type Keeper struct {
	node  *node.Node
	log   *commitlog.Log
	cfg   Config
	clock *Clock
	me    string // the value of the key
	pid   atomic.Pointer[actor.PID]

	mu    sync.Mutex
	stats messages.KeeperStats
	bells map[string]chan struct{} // of jobs, by name

	marks delayMarks
}

// New makes the keeper of a node, which nobody has asked for yet.
func New(n *node.Node, log *commitlog.Log, cfg Config) *Keeper {
	k := &Keeper{node: n, log: log, cfg: cfg, me: n.Host + " " + node.RandomID(), bells: make(map[string]chan struct{})}
	k.clock = NewClock(func(by time.Duration) { n.Events.Emit(messages.ClockStepped{By: by}) })
	return k
}

// Begin begins the actor, unless it is there. It is for the branch that keeps it, as are
// Is and Begun.
func (k *Keeper) Begin(ctx actor.Context, again bool) {
	if k.pid.Load() == nil || again {
		k.node.Spawn(ctx, "keeper", "", newTerm(k), node.ShowPID(&k.pid))
	}
}

// Is reports whether that is the actor.
func (k *Keeper) Is(who *actor.PID) bool { return who.Equal(k.pid.Load()) }

// Begun reports whether the actor ever was begun.
func (k *Keeper) Begun() bool { return k.pid.Load() != nil }

// Always reports whether the runtime wants to be the keeper whatever topics it opens.
func (k *Keeper) Always() bool { return k.cfg.History > 0 }

// Ring has a job look at once, if this runtime is the keeper: something is due sooner
// than the job said. It does not block.
func (k *Keeper) Ring(job string) {
	select {
	case k.bell(job) <- struct{}{}:
	default:
	}
}

// bell wakes the loop of a job. It holds one ring.
func (k *Keeper) bell(job string) chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.bells[job]
	if b == nil {
		b = make(chan struct{}, 1)
		k.bells[job] = b
	}
	return b
}

// Step makes the machine's clock seem to be set by so much to this keeper, for tests.
func (k *Keeper) Step(by time.Duration) { k.clock.Step(by) }

// Stats are the counters of what this runtime did as the keeper.
func (k *Keeper) Stats() messages.KeeperStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

func (k *Keeper) count(change func(*messages.KeeperStats)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.stats)
}
