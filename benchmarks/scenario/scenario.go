// Package scenario is what the scenarios share that benchmarks and the command
// "penstock bench" run: senders and members of pipes (scenario/pipes), producers
// and consumers of topics (scenario/topics), actors (scenario/actors).
//
// A scenario runs against the runtimes that it is given a way to start, so it
// does not matter whose etcd they use. It checks every message. One that was lost,
// came twice, out of order or damaged makes it a failed run: its error is an
// *Unsound, and its figures count for nothing.
//
// At full speed a scenario measures speed. At a rate it keeps to a timetable,
// whatever becomes of the messages, and measures latencies from the moment a
// message was due, so that waiting counts even while it holds up the messages
// behind. Its warm-up is sent and checked, and is not part of any figure.
package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Start starts a runtime with opts besides its own options.
type Start func(ctx context.Context, opts ...penstock.StartOption) (*penstock.Runtime, error)

// Local starts runtimes over loopback, with their keys below prefix in etcd.
func Local(etcd clientv3.Config, prefix string) Start {
	return func(ctx context.Context, opts ...penstock.StartOption) (*penstock.Runtime, error) {
		return penstock.Start(ctx, append([]penstock.StartOption{
			penstock.EtcdConfig(etcd), penstock.Prefix(prefix), penstock.Listen("tcp://127.0.0.1:0"),
		}, opts...)...)
	}
}

// Progress is called each second with how much was sent and received so far.
type Progress func(sent, received uint64)

// Telling calls tell each second with totals, from one goroutine, until the returned
// function is called, which waits for it. tell may be nil.
func Telling(ctx context.Context, tell Progress, totals func() (sent, received uint64)) (stop func()) {
	if tell == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			select {
			case <-second.C:
				tell(totals())
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); teller.Wait() }
}

// Pause waits for d, or returns why ctx ended before.
func Pause(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Until looks each millisecond whether so, or returns why ctx ended before.
func Until(ctx context.Context, so func() bool) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Arrived waits until everything that was sent was received by each of so many groups, or
// nothing came for as long as quiet. It returns why ctx ended before.
func Arrived(ctx context.Context, quiet time.Duration, groups int, totals func() (sent, received uint64)) error {
	last, since := uint64(0), time.Now()
	return Until(ctx, func() bool {
		sent, received := totals()
		if received != last {
			last, since = received, time.Now()
		}
		return received >= sent*uint64(groups) || time.Since(since) >= quiet
	})
}

// Links is how many members the destination of these counters is linked to.
func Links(pipes []penstock.PipeStats) (n int) {
	for _, p := range pipes {
		n += p.Links
	}
	return n
}

// Result is what a run measured.
type Result = results.Run

// Latencies of a Result.
const (
	Accepted  = "accepted"  // from the intended time until Send or PutAsync returned
	Committed = "committed" // until a record was in etcd
	Handled   = "handled"   // until its handler had it
	Asked     = "asked"     // from a question to its answer
)

// Unsound is the error of a run that did not keep what is promised.
type Unsound struct{ results.Check }

func (u *Unsound) Error() string {
	return fmt.Sprintf("%d messages lost, %d twice, %d out of order, of %d", u.Lost, u.Duplicates, u.Disordered, u.Sent)
}

// Judged is nil when nothing is wrong with c.
func Judged(c results.Check) error {
	if c.Wrong() {
		return &Unsound{c}
	}
	return nil
}

// Meter counts what this process uses, from one moment on.
type Meter struct {
	began         time.Time
	cpu           time.Duration
	mallocs, size uint64
	wire          uint64
}

// NewMeter begins to count.
func NewMeter() Meter {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Meter{time.Now(), load.CPU(), m.Mallocs, m.TotalAlloc, host.Wire()}
}

// Elapsed is the time since the meter began.
func (m Meter) Elapsed() time.Duration { return time.Since(m.began) }

// Read enters what was used for each of n messages of size bytes, and their rate.
func (m Meter) Read(figures map[results.Figure]float64, n uint64, size int) {
	elapsed, used := m.Elapsed(), m.Used()
	figures[results.PerSecond] = float64(n) / elapsed.Seconds()
	figures[results.MBPerSecond] = figures[results.PerSecond] * float64(size) / 1e6
	for _, f := range []results.Figure{results.CPU, results.Allocs, results.AllocBytes, results.WireBytes, results.RSS} {
		delete(figures, f)
	}
	used.Add(figures, n)
}

// Usage is what a process used.
type Usage struct {
	CPU            time.Duration
	Mallocs, Bytes uint64 // of its heap
	Wire           uint64 // bytes that its sockets sent, as far as they are open
	RSS            uint64 // at the end
}

// Used is what this process used since the meter began.
func (m Meter) Used() Usage {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	wire := host.Wire()
	return Usage{load.CPU() - m.cpu, now.Mallocs - m.mallocs, now.TotalAlloc - m.size, wire - min(wire, m.wire), host.OwnRSS()}
}

// Add adds it to the figures of n messages.
func (u Usage) Add(figures map[results.Figure]float64, n uint64) {
	each := float64(max(1, n))
	figures[results.CPU] += float64(u.CPU.Nanoseconds()) / each
	figures[results.Allocs] += float64(u.Mallocs) / each
	figures[results.AllocBytes] += float64(u.Bytes) / each
	figures[results.WireBytes] += float64(u.Wire) / each
	figures[results.RSS] += float64(u.RSS)
}

// WriteLog writes the latencies of r, which has ended now, as an HdrHistogram log.
func WriteLog(w io.Writer, r Result) error {
	took, err := time.ParseDuration(r.Settings["duration"])
	if err != nil {
		return err
	}
	return results.WriteLog(w, time.Now().Add(-took), took, r.Latencies)
}

// WriteJSON writes one result as an object.
func WriteJSON(w io.Writer, r Result) error { return json.NewEncoder(w).Encode(r) }
