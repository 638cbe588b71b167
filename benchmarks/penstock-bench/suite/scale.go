package suite

// The series of many: what each of many idle things takes, and how long all of them take
// to be there.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
)

// many is one such thing.
type many struct {
	name  string
	count int
	takes time.Duration
	// make makes all of them in a runtime that has one already, and returns when they are
	// ready.
	make func(ctx context.Context, rt *penstock.Runtime, count int) error
}

// most bounds the making.
const most = 2 * time.Minute

func (m many) step() step {
	return step{id: "scale." + m.name, series: "scale", takes: m.takes, rounds: 1,
		run: func(ctx context.Context, b *bed, _ time.Duration) (_ results.Run, err error) {
			count := max(10, m.count*b.scale/100)
			r := results.Run{System: "penstock", Settings: map[string]string{"of": m.name, "count": strconv.Itoa(count)}, Figures: map[results.Figure]float64{}}
			ctx, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			// Etcd is a process of its own, so that the heap is ours.
			etcd, err := openStore(ctx, apart, false)
			if err != nil {
				return r, err
			}
			defer func() { err = errors.Join(err, etcd.close()) }()
			rt, err := etcd.start("/scale")(ctx)
			if err != nil {
				return r, err
			}
			defer func() {
				stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
				defer cancel()
				err = errors.Join(err, rt.Stop(stopping))
			}()
			if err := m.measure(ctx, rt, etcd, count, r.Figures); err != nil {
				return r, err
			}
			r.Check.Sent = uint64(count)
			return r, nil
		}}
}

func (m many) measure(ctx context.Context, rt *penstock.Runtime, etcd *store, count int, figures map[results.Figure]float64) error {
	heap, goroutines := held(), runtime.NumGoroutine()
	before, err := etcd.counts(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := m.make(ctx, rt, count); err != nil {
		return err
	}
	figures[results.ReadyMS] = float64(time.Since(began).Microseconds()) / 1000
	after, err := etcd.counts(ctx)
	if err != nil {
		return err
	}
	each := float64(count)
	figures[results.RequestsEach] = after.Minus(before).Requests / each
	figures[results.Goroutines] = float64(runtime.NumGoroutine()-goroutines) / each
	figures[results.HeapEach] = float64(held()-heap) / each
	figures[results.RSS] = float64(host.OwnRSS())
	figures[results.EtcdRSS] = float64(host.RSS(etcd.parts[0].PID()))
	return nil
}

// held is what is in use of the heap and of the stacks.
func held() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// atOnce is how many calls make many things.
const atOnce = 32

func each(ctx context.Context, count int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range count {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func destinations(ctx context.Context, rt *penstock.Runtime, count int) error {
	return each(ctx, count, func(ctx context.Context, i int) error {
		_, err := rt.Register(ctx, fmt.Sprintf("d%d", i))
		return err
	})
}

// groups have a member each, linked to one sender; members are in one group.
func groups(group func(i int) string) func(context.Context, *penstock.Runtime, int) error {
	return func(ctx context.Context, rt *penstock.Runtime, count int) error {
		dest, err := rt.Register(ctx, "d")
		if err != nil {
			return err
		}
		if err := each(ctx, count, func(ctx context.Context, i int) error {
			_, err := rt.Join(ctx, "d", group(i))
			return err
		}); err != nil {
			return err
		}
		linked := 0
		if err := scenario.Until(ctx, func() bool {
			linked = scenario.Links(dest.Stats())
			return linked == count
		}); err != nil {
			return fmt.Errorf("%d of %d are linked: %w", linked, count, err)
		}
		return nil
	}
}

// partitions are all owned by one member.
func partitions(ctx context.Context, rt *penstock.Runtime, count int) error {
	topic, err := rt.CreateTopic(ctx, "many", penstock.TopicConfig{Partitions: count})
	if err != nil {
		return err
	}
	sub, err := topic.Subscribe(ctx, "g")
	if err != nil {
		return err
	}
	return scenario.Until(ctx, func() bool { return len(sub.Partitions()) == count })
}

func scaleSteps() (all []step) {
	for _, m := range []many{
		{"destinations", 10_000, 30 * time.Second, destinations},
		{"groups", 1_000, 8 * time.Second, groups(func(i int) string { return fmt.Sprintf("g%d", i) })},
		{"members", 1_000, 5 * time.Second, groups(func(int) string { return "g" })},
		{"partitions", 1_000, 5 * time.Second, partitions},
	} {
		all = append(all, m.step())
	}
	return all
}
