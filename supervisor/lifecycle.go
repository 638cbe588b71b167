package supervisor

// How an actor starts, stops and changes its incarnation; guard.go
// has the diagram.

import (
	"errors"
	"reflect"

	"github.com/asynkron/protoactor-go/actor"
)

// start begins the first incarnation.
func (g *guard) start(m *actor.Started) {
	if g.is() != unstarted {
		return
	}
	g.become(running)
	g.incarnate()
	g.raw.InvokeSystemMessage(m)
}

// begin starts the next incarnation, once the last one has ended.
func (g *guard) begin(r report) {
	switch g.is() {
	case halting:
		g.halter, g.next = r, atOnce
		return
	case halted:
	case running: // somebody else has done it already
		r.send(up)
		return
	default:
		return // stopping, or failed again and about to be told what next
	}
	g.halter, g.next = report{}, whenTold
	g.stopDelay()
	g.ctx.CancelReceiveTimeout()
	now := g.settings.clock.Now()
	if g.alone != nil {
		g.alone.history.since = now
	}
	g.about.begun(now)
	g.become(running)
	g.mb.resume()
	if g.owed != nil {
		publish(g.ctx, g.owed)
		g.owed = nil
	}
	g.incarnate()
	g.raw.InvokeUserMessage(&actor.Started{})
	r.send(up)
}

func (g *guard) incarnate() {
	inner := g.settings.producer()
	if inner == nil {
		panic("supervisor: the producer returned nil")
	}
	g.inner = inner
	g.about.is(reflect.TypeOf(inner).String())
}

// errTakenAlong is why an actor restarts that has not failed.
var errTakenAlong = errors.New("its supervisor restarts it together with another one")

// restart does what an unguarded supervisor asks for.
func (g *guard) restart() {
	switch g.is() {
	case running: // a strategy takes it along with another one, and tells nobody
		g.owed = &Restarted{Who: g.ctx.Self(), Err: errTakenAlong, Attempt: 1}
		g.halt(report{})
	case failed:
		g.halt(report{})
	}
	g.begin(report{})
}

// resume undoes a failure, as an unguarded supervisor may ask for. Children that
// failed meanwhile, or whose failure was escalated, cannot be left suspended.
func (g *guard) resume() {
	switch g.is() {
	case running:
		g.mb.resume()
	case failed:
		g.become(running)
		g.stopDelay()
		g.mb.resume()
		g.restartAllDown()
	}
}

// halt ends the present incarnation: its children first, in order.
func (g *guard) halt(r report) {
	switch g.is() {
	case running, failed:
	case halting:
		g.halter, g.next = r, whenTold
		return
	case halted:
		r.send(down)
		return
	default:
		return
	}
	g.halter, g.next = r, whenTold
	g.become(halting)
	g.mb.suspend()
	g.dropRounds()
	g.tell(&actor.Restarting{})
	g.sweepOn()
}

// stop ends the actor: its children first, in order.
func (g *guard) stop() {
	was := g.is()
	if was == stopping || was == stopped {
		return
	}
	g.become(stopping)
	g.stopDelay()
	g.dropRounds()
	g.mb.resume() // so that what is queued becomes dead letters and does not just vanish
	g.tell(&actor.Stopping{})
	if was != halting {
		g.sweepOn()
	}
}

// sweepOn stops the last child, and is called again when that is gone.
func (g *guard) sweepOn() {
	if len(g.kids) == 0 {
		g.swept()
		return
	}
	c := g.kids[len(g.kids)-1]
	g.sweep = c
	g.watch(c)
	c.post(&actor.Stop{})
}

// swept continues when no child is left.
func (g *guard) swept() {
	g.sweep = nil
	switch g.is() {
	case stopping:
		g.raw.InvokeSystemMessage(&actor.Stop{})
	case halting:
		g.become(halted)
		if g.next == atOnce {
			g.begin(g.halter)
			return
		}
		g.halter.send(down)
	}
}

func (g *guard) stopDelay() {
	if g.alone != nil && g.alone.delay != nil {
		g.alone.delay.Stop()
		g.alone.delay = nil
	}
}
