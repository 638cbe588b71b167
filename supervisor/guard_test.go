package supervisor

import (
	"runtime"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

type (
	hold struct{ held, gate chan struct{} }
	note struct{}
	last struct{ reached chan struct{} }
)

// plain does next to nothing, so that what is measured is the road to it.
type plain struct{}

func (*plain) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *hold:
		close(m.held)
		<-m.gate
	case *last:
		close(m.reached)
	}
}

// allocations counts those for sending a message and handling it, each alone.
func allocations(sys *actor.ActorSystem, pid *actor.PID) (send, handle float64) {
	const n = 10000
	m := &note{}
	for range 3 { // the mailbox's ring grows in the first
		h, l := &hold{make(chan struct{}), make(chan struct{})}, &last{make(chan struct{})}
		sys.Root.Send(pid, h)
		<-h.held
		var before, sent, handled runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			sys.Root.Send(pid, m)
		}
		runtime.ReadMemStats(&sent)
		sys.Root.Send(pid, l)
		close(h.gate)
		<-l.reached
		runtime.ReadMemStats(&handled)
		send, handle = float64(sent.Mallocs-before.Mallocs)/n, float64(handled.Mallocs-sent.Mallocs)/n
	}
	return send, handle
}

func TestGuardAllocatesNothingPerMessage(t *testing.T) {
	sys := newSystem()
	pid := sys.Root.Spawn(Props(func() actor.Actor { return &plain{} }))
	send, handle := allocations(sys, pid)
	if send > 0.05 || handle > 0.05 {
		t.Errorf("%.2f allocations to send, %.2f to handle", send, handle)
	}
	mustStop(t, sys, pid)
}

func BenchmarkTell(b *testing.B) {
	for name, props := range map[string]*actor.Props{
		"guarded":   Props(func() actor.Actor { return &plain{} }),
		"unguarded": actor.PropsFromProducer(func() actor.Actor { return &plain{} }),
	} {
		b.Run(name, func(b *testing.B) {
			sys := newSystem()
			pid := sys.Root.Spawn(props)
			b.ReportAllocs()
			m, l := &note{}, &last{make(chan struct{})}
			for b.Loop() {
				sys.Root.Send(pid, m)
			}
			sys.Root.Send(pid, l)
			<-l.reached
			if err := Stop(b.Context(), sys, pid); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkTellBesideBare reports how fast a guarded actor is told, as a ratio to one of
// proto.actor alone: both by turns, the best of each, as another process may take the
// processor in any turn. "tell" is send and handle at once, on two goroutines; "send" and
// "handle" are each alone.
func BenchmarkTellBesideBare(b *testing.B) {
	const n = 100_000
	sys := newSystem()
	pids := [2]*actor.PID{
		sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &plain{} })),
		sys.Root.Spawn(Props(func() actor.Actor { return &plain{} })),
	}
	best := map[string]*[2]time.Duration{"tell": {}, "send": {}, "handle": {}}
	took := func(what string, i int, began time.Time) {
		if d, d0 := time.Since(began), &best[what][i]; *d0 == 0 || d < *d0 {
			*d0 = d
		}
	}
	m := &note{}
	for b.Loop() {
		for i, pid := range pids {
			l, began := &last{make(chan struct{})}, time.Now()
			for range n {
				sys.Root.Send(pid, m)
			}
			sys.Root.Send(pid, l)
			<-l.reached
			took("tell", i, began)
			h, l := &hold{make(chan struct{}), make(chan struct{})}, &last{make(chan struct{})}
			sys.Root.Send(pid, h)
			<-h.held
			began = time.Now()
			for range n {
				sys.Root.Send(pid, m)
			}
			took("send", i, began)
			sys.Root.Send(pid, l)
			began = time.Now()
			close(h.gate)
			<-l.reached
			took("handle", i, began)
		}
	}
	for what, d := range best {
		b.ReportMetric(float64(d[0])/float64(d[1]), what+"-of-bare")
		b.ReportMetric(float64(d[1].Nanoseconds())/n, what+"-ns")
	}
	b.ReportMetric(0, "ns/op") // of many messages, of both
	for _, pid := range pids {
		if err := Stop(b.Context(), sys, pid); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkAsk(b *testing.B) {
	sys := newSystem()
	pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*note); ok {
			ctx.Respond(ctx.Message())
		}
	})))
	b.ReportAllocs()
	m := &note{}
	for b.Loop() {
		if _, err := Ask[*note](b.Context(), sys, pid, m); err != nil {
			b.Fatal(err)
		}
	}
	if err := Stop(b.Context(), sys, pid); err != nil {
		b.Error(err)
	}
}
