package actors

// receiver notes what a member hands it, and acks it; parent spawns the members.

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
	"github.com/penstock-io/penstock/supervisor"
)

type receiver struct {
	*stage
	journals []*journal.Journal // by publisher
	handled  *results.Histogram
	got      atomic.Uint64
}

func (r *receiver) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *penstock.Delivery:
		r.take(m)
	case *penstock.Deliveries:
		for i := range m.Deliveries {
			r.take(&m.Deliveries[i])
		}
	}
}

func (r *receiver) take(d *penstock.Delivery) {
	at, err := r.payload.Read(d.Value)
	if err == nil && at.Sender >= uint64(len(r.journals)) {
		err = fmt.Errorf("a message of publisher %d came, of %d", at.Sender, len(r.journals))
	}
	if err != nil {
		r.fail(err)
		d.Reject(err)
		return
	}
	if r.Rate > 0 && int64(at.Meant) >= r.counts.Load() {
		r.handled.Note(time.Since(r.start) - at.Meant)
	}
	r.journals[at.Sender].Note(at.Seq, d.Redelivered)
	d.Ack()
	r.got.Add(1)
}

// parent has members as its children.
type parent struct {
	*stage
	children []*actor.Props
}

func (p *parent) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		for _, child := range p.children {
			ctx.Spawn(child)
		}
	case *penstock.Joined:
		p.up.Done()
	case *supervisor.Failed:
		p.fail(m.Err)
	}
}
