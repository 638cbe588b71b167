package supervisor

// What a look at running actors finds, and what it does not disturb.

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// till is an actor as a user writes it: it reports its fields without a lock.
type till struct {
	sales int
	last  time.Time
	ill   string
}

func (a *till) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case time.Duration: // a sale that takes this long
		time.Sleep(m)
		a.sales++
		a.last = time.Now()
	case chan struct{}:
		<-m
	case string:
		a.ill = m
	case error:
		Fail(ctx, m)
	}
}

func (a *till) Inspect(in *Inspection) {
	if a.ill != "" {
		panic(a.ill)
	}
	in.Int("sales", a.sales)
	in.Time("last_sale", a.last)
	in.Text("", "")
}

func newTill() actor.Actor { return &till{} }

// one is the only actor of the system.
func one(t *testing.T, sys *actor.ActorSystem) Info {
	t.Helper()
	all := Tree(sys)
	if len(all) != 1 {
		t.Fatalf("%d actors, want 1: %+v", len(all), all)
	}
	return all[0]
}

func TestInspection(t *testing.T) {
	in := &Inspection{}
	in.Int("links", 3)
	in.Int64("bytes", 1<<40)
	in.Duration("lag", 1500*time.Millisecond)
	in.Time("due", time.Date(2026, 5, 1, 12, 0, 0, 250e6, time.FixedZone("", 3600)))
	in.Time("never", time.Time{})
	in.Text("group", "billing")
	in.Text("none", "")
	want := []Attribute{{"links", "3"}, {"bytes", "1099511627776"}, {"lag", "1.5s"}, {"due", "2026-05-01T11:00:00.250Z"}, {"group", "billing"}}
	if !slices.Equal(in.attributes, want) {
		t.Errorf("%v, want %v", in.attributes, want)
	}
	in.Text("long", strings.Repeat("x", mostText-1)+"é")
	if got := in.attributes[len(want)].Value; got != strings.Repeat("x", mostText-1) {
		t.Errorf("a long text became %q", got)
	}
	for range 2 * mostAttributes {
		in.Int("more", 1)
	}
	if len(in.attributes) != mostAttributes {
		t.Errorf("%d attributes, want %d", len(in.attributes), mostAttributes)
	}
}

func TestInspectOfAUsersActor(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(newTill))
		synctest.Wait()
		if i := one(t, sys); !slices.Equal(i.Attributes, []Attribute{{"sales", "0"}}) || i.Silent != 0 || i.Mailbox != 0 || i.Queue != 0 || i.Sampled != 0 {
			t.Errorf("before a message: %+v", i)
		}
		sys.Root.Send(pid, 10*time.Millisecond)
		sys.Root.Send(pid, 30*time.Millisecond)
		start := time.Now()
		synctest.Wait()
		i := one(t, sys) // waits for both sales
		want := []Attribute{{"sales", "1"}, {"last_sale", start.Add(10 * time.Millisecond).UTC().Format("2006-01-02T15:04:05.000Z07:00")}}
		if !slices.Equal(i.Attributes, want) {
			t.Errorf("attributes %v, want %v: the inquiry overtakes the second sale only", i.Attributes, want)
		}
		if i.Mailbox != 40*time.Millisecond || i.Queue != 0 {
			t.Errorf("mailbox time %v with %d queued, want 40ms with 0", i.Mailbox, i.Queue)
		}
		if i.Sampled != 1 || i.Processing != 30*time.Millisecond || i.Longest != 30*time.Millisecond {
			t.Errorf("processing %+v", i)
		}
		mustStop(t, sys, pid)
	})
}

// Of many messages only those after a look are measured, and a look that finds an idle
// actor keeps the last sample.
func TestProcessingTimeIsSampled(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(newTill))
		for range 10 {
			sys.Root.Send(pid, time.Second)
		}
		time.Sleep(time.Minute)
		if i := one(t, sys); i.Sampled != 0 {
			t.Errorf("%d messages measured before anybody looked", i.Sampled)
		}
		for n := range 2 * lookSamples {
			sys.Root.Send(pid, time.Duration(n)*time.Millisecond)
		}
		time.Sleep(time.Hour)
		for range 2 {
			i := one(t, sys)
			if i.Sampled != lookSamples || i.Longest != 63*time.Millisecond || i.Processing != 31500*time.Microsecond {
				t.Errorf("a sample of %d, mean %v, longest %v", i.Sampled, i.Processing, i.Longest)
			}
		}
		sys.Root.Send(pid, time.Minute)
		time.Sleep(time.Hour)
		if i := one(t, sys); i.Sampled != 1 || i.Processing != time.Minute {
			t.Errorf("a sample of %d, mean %v, after another look", i.Sampled, i.Processing)
		}
		mustStop(t, sys, pid)
	})
}

func TestLookAtAStuckActor(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		gate := make(chan struct{})
		stuck := sys.Root.Spawn(Props(newTill))
		other := sys.Root.Spawn(Props(newTill))
		sys.Root.Send(stuck, gate)
		sys.Root.Send(stuck, time.Millisecond)
		synctest.Wait()
		look := func(took, silent time.Duration) {
			t.Helper()
			start := time.Now()
			var wg sync.WaitGroup
			for range 3 { // many who look wait no longer than one
				wg.Go(func() {
					all := Tree(sys)
					i := all[slices.IndexFunc(all, func(i Info) bool { return i.ID == stuck.Id })]
					if i.Silent != silent || i.Mailbox != silent || i.Attributes != nil || i.Queue != 1 || i.State != "running" {
						t.Errorf("the stuck one: %+v", i)
					}
					i = all[slices.IndexFunc(all, func(i Info) bool { return i.ID == other.Id })]
					if i.Silent != 0 || len(i.Attributes) != 1 {
						t.Errorf("the other one: %+v", i)
					}
				})
			}
			wg.Wait()
			if d := time.Since(start); d != took {
				t.Errorf("the look took %v, want %v", d, took)
			}
		}
		look(lookPatience, lookPatience)
		time.Sleep(time.Minute)
		look(0, time.Minute+lookPatience) // nobody waits for it again
		close(gate)
		time.Sleep(time.Second)
		mustStop(t, sys, other)
		if i := one(t, sys); i.Silent != 0 || i.Mailbox != 0 || len(i.Attributes) == 0 {
			t.Errorf("after it went on: %+v", i)
		}
		mustStop(t, sys, stuck)
	})
}

// A look does not touch an actor that waits for its next incarnation, nor one that
// stops, and what it left in the mailbox is nobody's dead letter.
func TestLookAtActorsThatDoNotRun(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		letters := eventsOf[*actor.DeadLetterEvent](sys)
		pid := sys.Root.Spawn(Props(newTill, WithGuardian(steady())))
		gate := make(chan struct{})
		sys.Root.Send(pid, gate)
		synctest.Wait()
		Tree(sys) // leaves an inquiry and a probe in the mailbox
		sys.Root.Send(pid, errBoom)
		close(gate)
		synctest.Wait()
		start := time.Now()
		i := one(t, sys)
		if i.State != "restarting" || i.Silent != 0 || i.Attributes != nil || !time.Now().Equal(start) {
			t.Errorf("between two incarnations: %+v, after %v", i, time.Since(start))
		}
		time.Sleep(time.Minute)
		if i := one(t, sys); i.State != "running" || i.Restarts != 1 || len(i.Attributes) != 1 {
			t.Errorf("in the next incarnation: %+v", i)
		}
		gate = make(chan struct{})
		sys.Root.Send(pid, gate)
		synctest.Wait()
		Tree(sys)
		sys.Root.Stop(pid)
		close(gate)
		mustStop(t, sys, pid)
		if got := letters.list(); len(got) != 0 {
			t.Errorf("dead letters: %+v", got[0])
		}
	})
}

// A probe that is queued behind the message that failed the actor is not waited for by
// those who look then.
func TestLookAtAnActorThatHasJustFailed(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(newTill, WithGuardian(Policy{Backoff: Backoff{Min: time.Hour, Max: time.Hour}})))
		gate := make(chan struct{})
		sys.Root.Send(pid, gate)
		sys.Root.Send(pid, errBoom)
		synctest.Wait()
		var first sync.WaitGroup
		first.Go(func() { Tree(sys) })
		synctest.Wait()
		close(gate)
		synctest.Wait()
		start := time.Now()
		if i := one(t, sys); i.State != "restarting" || i.Silent != 0 || i.Queue != 0 || !time.Now().Equal(start) {
			t.Errorf("%+v, after %v", i, time.Since(start))
		}
		first.Wait()
		mustStop(t, sys, pid)
	})
}

func TestInspectThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(newTill))
		sys.Root.Send(pid, "dizzy")
		synctest.Wait()
		if i := one(t, sys); !slices.Equal(i.Attributes, []Attribute{{"inspect", "panic: dizzy"}}) || i.State != "running" || i.LastError != "" {
			t.Errorf("%+v", i)
		}
		mustStop(t, sys, pid)
	})
}

// The mailbox of an actor WithMailbox may be full: nothing of a look is put there.
func TestLookAtABoundedMailbox(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(newTill, WithMailbox(actor.Bounded(1))))
		gate := make(chan struct{})
		sys.Root.Send(pid, gate)
		synctest.Wait()
		sys.Root.Send(pid, time.Millisecond)
		if i := one(t, sys); i.Queue != 1 || i.Mailbox != 0 || i.Silent != lookPatience {
			t.Errorf("a full mailbox: %+v", i)
		}
		close(gate)
		mustStop(t, sys, pid)
	})
}

// Many look while actors work: no message is lost or handled twice.
func TestLooksDoNotDisturb(t *testing.T) {
	sys := newSystem()
	const messages = 20_000
	handled, all := 0, make(chan struct{})
	pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*note); ok {
			if handled++; handled == messages {
				close(all)
			}
		}
	})))
	looking := make(chan struct{})
	var lookers sync.WaitGroup
	for range 3 {
		lookers.Go(func() {
			for {
				select {
				case <-looking:
					return
				default:
					Tree(sys)
				}
			}
		})
	}
	n := &note{}
	for range messages {
		sys.Root.Send(pid, n)
	}
	<-all
	close(looking)
	lookers.Wait()
	mustStop(t, sys, pid)
	if handled != messages {
		t.Errorf("%d handled of %d", handled, messages)
	}
}
