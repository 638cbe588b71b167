package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/penstock-io/penstock/supervisor"
)

func quiet() *actor.ActorSystem {
	sys := actor.NewActorSystem(
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	supervisor.Prepare(sys)
	return sys
}

// reader reads from a source that may be away.
//
//	opening ──opened──▶ reading
type reader struct {
	source *source
	host   supervisor.Host
	state  readerState
}

type readerState string

const opening, reading readerState = "opening", "reading"

var readerMoves = supervisor.Moves[readerState]{"": {opening}, opening: {reading}}

type opened struct{ err error }

var errAway = errors.New("source is away")

type source struct{ failures int }

func (s *source) open(context.Context) opened {
	if s.failures > 0 {
		s.failures--
		return opened{errAway}
	}
	return opened{}
}

func (s *source) read(ctx context.Context) error {
	fmt.Println("reading")
	<-ctx.Done()
	fmt.Println("read to the end")
	return nil
}

func (r *reader) Receive(ctx actor.Context) {
	msg, mine := r.host.Open(ctx.Message())
	if !mine {
		return // begun by an earlier incarnation
	}
	switch m := msg.(type) {
	case *actor.Started:
		r.host.Begin(ctx)
		r.state = readerMoves.To(ctx, r.state, opening)
		supervisor.Call(&r.host, "open", r.source.open)
	case opened:
		if m.err != nil {
			supervisor.Fail(ctx, m.err)
		}
		r.state = readerMoves.To(ctx, r.state, reading)
		r.host.Run("read", r.source.read)
	case *supervisor.Ended:
		supervisor.Fail(ctx, m.Err)
	case string:
		ctx.Respond(string(r.state))
	case *actor.Stopping, *actor.Restarting:
		r.host.End()
	}
}

// An actor that makes blocking calls, and a policy for what can go wrong.
func Example() {
	sys := quiet()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sys.EventStream.Subscribe(func(event any) {
		if e, ok := event.(*supervisor.Restarted); ok {
			fmt.Printf("attempt %d after: %v\n", e.Attempt, e.Err)
		}
	})
	src := &source{failures: 2}
	pid := sys.Root.Spawn(supervisor.Props(
		func() actor.Actor { return &reader{source: src} },
		supervisor.WithGuardian(supervisor.Policy{
			Rules: []supervisor.Rule{{
				If:      supervisor.ForError(errAway),
				Backoff: &supervisor.Backoff{Min: time.Millisecond, Max: time.Second, Jitter: 0.2},
				Budget:  &supervisor.Budget{}, // try forever
			}},
			Default: supervisor.Terminate,
		})))
	for {
		state, err := supervisor.Ask[string](ctx, sys, pid, "state?")
		if err != nil || state == string(reading) {
			break
		}
	}
	if err := supervisor.Stop(ctx, sys, pid); err != nil {
		fmt.Println(err)
	}
	// Output:
	// attempt 1 after: source is away
	// attempt 2 after: source is away
	// reading
	// read to the end
}

func ExampleAsk() {
	sys := quiet()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pid := sys.Root.Spawn(supervisor.Props(func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if n, ok := ctx.Message().(int); ok {
				if n < 0 {
					ctx.Respond(errors.New("no root of a negative number"))
					return
				}
				ctx.Respond(n * n)
			}
		})
	}))
	fmt.Println(supervisor.Ask[int](ctx, sys, pid, 7))
	fmt.Println(supervisor.Ask[int](ctx, sys, pid, -7))
	fmt.Println(supervisor.Stop(ctx, sys, pid))
	_, err := supervisor.Ask[int](ctx, sys, pid, 7)
	fmt.Println(errors.Is(err, supervisor.ErrNoActor))
	// Output:
	// 49 <nil>
	// 0 no root of a negative number
	// <nil>
	// true
}

func ExampleInbox() {
	inbox := supervisor.NewInbox[string](3, func() { fmt.Println("ding") })
	for _, v := range []string{"a", "b", "c", "d"} {
		fmt.Println(v, inbox.TrySend(v))
	}
	fmt.Println(inbox.Take(2))
	inbox.Confirm(1)
	fmt.Println(inbox.Take(2)) // what is not confirmed comes again
	fmt.Println(inbox.Close())
	// Output:
	// ding
	// a true
	// b true
	// c true
	// d false
	// [a b]
	// [b]
	// [b c]
}

func ExampleBackoff_Delay() {
	b := supervisor.Backoff{Min: 100 * time.Millisecond, Max: time.Second, Factor: 2}
	for attempt := range 5 {
		fmt.Println(b.Delay(attempt+1, 0))
	}
	// Output:
	// 100ms
	// 200ms
	// 400ms
	// 800ms
	// 1s
}

func ExampleTree() {
	sys := quiet()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pid, _ := sys.Root.SpawnNamed(supervisor.Props(func() actor.Actor { return &reader{source: &source{failures: 1}} }), "reader")
	_, _ = supervisor.Ask[string](ctx, sys, pid, "state?")
	for _, a := range supervisor.Tree(sys) {
		fmt.Println(a.ID, a.Type)
	}
	_ = supervisor.Stop(ctx, sys, pid)
	// Output: reader *supervisor_test.reader
}
