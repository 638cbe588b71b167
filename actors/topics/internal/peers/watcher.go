package peers

// The actor that watches.

import (
	"context"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/rebalance"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/pulse"
)

// watcher keeps a watch of each process that somebody wants watched, and serves those
// who watch this one.
//
//	watching ──▶ (stopped)
type watcher struct {
	peers   *Peers
	host    supervisor.Host
	serving bool
	watches map[string]*watch // by token
}

// watch is one process being watched, at these addresses.
type watch struct {
	addresses []string
	cancel    context.CancelFunc
}

// mostOver is how many processes are remembered that ended and that nobody wants
// watched.
const mostOver = 1024

// lookEvery is how often this machine's addresses are looked at.
const lookEvery = 2 * time.Second

// Ended tells a subscription's actor that a process has ended which it wanted watched.
type Ended struct{ Token string }

// Moved tells a subscription's actor that this process is found at other addresses.
type Moved struct{}

type (
	// lookAround is the time to look where this process is found; looked is what came of it.
	lookAround struct{}
	looked     struct{ changed bool }
	// serve: there is a listener.
	serve struct{}
	// wanted replaces whom an actor wants watched.
	wanted struct {
		who       *actor.PID
		processes map[string]rebalance.Process
	}
	// watchOver is the end of a watch; ended reports whether by that of the process.
	watchOver struct {
		token string
		of    *watch
		ended bool
	}
)

func newWatcher(p *Peers) actor.Producer {
	return func() actor.Actor { return &watcher{peers: p, watches: make(map[string]*watch)} }
}

func (a *watcher) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.host.Begin(ctx)
		a.serve()
		a.settle()
		a.look()
	case *lookAround:
		a.look()
	case looked:
		a.looked(ctx, m)
	case *serve:
		a.serve()
	case *wanted:
		a.wanted(m)
	case watchOver:
		a.watchOver(ctx, m)
	case *supervisor.Ended:
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
	case *actor.Restarting, *actor.Stopping:
		a.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

// serve lets others watch this process.
func (a *watcher) serve() {
	if l := a.peers.bound(); l != nil && !a.serving {
		a.serving = true
		a.host.Run("serve", func(ctx context.Context) error { l.Serve(ctx); return nil })
	}
}

func (a *watcher) wanted(m *wanted) {
	if m.processes == nil {
		delete(a.peers.wants, m.who.Id)
	} else {
		a.peers.wants[m.who.Id] = &want{m.who, m.processes}
	}
	a.settle()
}

// look asks the system, which may take its time.
func (a *watcher) look() {
	supervisor.Call(&a.host, "look", func(context.Context) looked { return looked{a.peers.look()} })
}

// looked has subscriptions say where this process is found now.
func (a *watcher) looked(ctx actor.Context, m looked) {
	a.host.After(lookEvery, &lookAround{}) // one at a time
	if !m.changed {
		return
	}
	for _, w := range a.peers.wants {
		supervisor.Notify(ctx, w.who, &Moved{})
	}
}

// settle begins the watches that are wanted, and ends the others, and those of processes
// that have moved.
func (a *watcher) settle() {
	all := make(map[string]rebalance.Process)
	for _, w := range a.peers.wants {
		for token, process := range w.processes {
			all[token] = process
		}
	}
	for token, w := range a.watches {
		if process, is := all[token]; !is || !slices.Equal(process.Addresses, w.addresses) {
			w.cancel()
			delete(a.watches, token)
		}
	}
	for token, process := range all {
		if _, over := a.peers.over[token]; !over && a.watches[token] == nil {
			a.watch(token, process)
		}
	}
	for token := range a.peers.over {
		if _, is := all[token]; !is && len(a.peers.over) > mostOver {
			delete(a.peers.over, token)
		}
	}
}

func (a *watcher) watch(token string, process rebalance.Process) {
	ctx, cancel := context.WithCancel(a.host.Context())
	w := &watch{process.Addresses, cancel}
	a.watches[token] = w
	peer := pulse.Peer{Addresses: process.Addresses, Token: []byte(token)}
	supervisor.Call(&a.host, "watch process", func(context.Context) watchOver {
		defer cancel()
		return watchOver{token, w, peer.Watch(ctx) == nil}
	})
}

func (a *watcher) watchOver(ctx actor.Context, m watchOver) {
	if a.watches[m.token] != m.of || !m.ended {
		return // nobody wanted it any more
	}
	delete(a.watches, m.token)
	a.peers.over[m.token] = struct{}{}
	for _, w := range a.peers.wants {
		if _, is := w.processes[m.token]; is {
			supervisor.Notify(ctx, w.who, &Ended{m.token})
		}
	}
}

// Inspect reports how many processes are watched, and for how many subscriptions.
func (a *watcher) Inspect(in *supervisor.Inspection) {
	in.Int("watched", len(a.watches))
	in.Int("wanted_by", len(a.peers.wants))
}
