package suite

// The series of pipes.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/part"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario/pipes"
)

// pipeCenter is what the series of pipes vary.
var pipeCenter = pipes.Scenario{Size: 1 << 10, Senders: 1, Groups: 1, Members: 1}

// pipe makes a step of a scenario.
func pipe(series, name string, quick bool, change func(*pipes.Scenario)) step {
	id := series + "." + name
	return step{id: id, series: series, quick: quick,
		run: func(ctx context.Context, b *bed, d time.Duration) (results.Run, error) {
			s := pipeCenter
			s.Duration, s.Warmup = d, d/warmup
			change(&s)
			r, err := s.Run(ctx, b.pipes(), nil)
			b.note(id, r)
			return r, err
		}}
}

// pipeShare is a step at a share of what pipeFull did in this suite.
func pipeShare(percent int) step {
	st := step{id: fmt.Sprintf("pipe.share.%dpercent", percent), series: "pipe.share"}
	st.run = func(ctx context.Context, b *bed, d time.Duration) (results.Run, error) {
		most, err := b.most(pipeFull)
		if err != nil {
			return results.Run{System: "penstock"}, err
		}
		s := pipeCenter
		s.Duration, s.Warmup, s.Rate = d, d/warmup, most*float64(percent)/100
		return s.Run(ctx, b.pipes(), nil)
	}
	return st
}

// pipeApart is a step whose members are in a process of their own.
func pipeApart(id string, change func(*pipes.Scenario)) step {
	return step{id: id, series: "pipe.processes",
		run: func(ctx context.Context, b *bed, d time.Duration) (_ results.Run, err error) {
			s := pipeCenter
			s.Duration, s.Warmup = d, d/warmup
			change(&s)
			prefix := b.prefix()
			p, err := part.Start(ctx, part.Spec{
				Role: part.Members, Endpoints: b.etcd.endpoints, Prefix: prefix,
				Half: pipes.Members{Groups: s.Groups, Members: s.Members, Wait: time.Minute},
			})
			if err != nil {
				return results.Run{System: "penstock"}, err
			}
			defer func() { err = errors.Join(err, p.Close()) }()
			r, err := s.RunSenders(ctx, b.etcd.start(prefix), time.Minute, nil)
			if err == nil {
				_, err = p.Until(ctx, "result", func(s part.Said) bool { return s.Result != nil })
			}
			return r, err
		}}
}

// pipeFull is the scenario whose speed is the maximum.
const pipeFull = "pipe.size.1KiB"

func pipeSteps() (all []step) {
	add := func(series, name string, quick bool, change func(*pipes.Scenario)) {
		all = append(all, pipe(series, name, quick, change))
	}
	for _, size := range []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		add("pipe.size", bytes(size), size == 64 || size == 1<<10 || size == 64<<10, func(s *pipes.Scenario) { s.Size = size })
	}
	for _, mode := range []penstock.Mode{penstock.AtLeastOnce, penstock.AtMostOnce} {
		add("pipe.mode", string(mode), false, func(s *pipes.Scenario) { s.Mode = mode })
	}
	for _, mode := range []penstock.Mode{penstock.AtLeastOnce, penstock.KeyAffinity, penstock.Failover} {
		add("pipe.order", string(mode), false, func(s *pipes.Scenario) { s.Mode, s.Members, s.Keys = mode, 8, 10_000 })
	}
	for _, n := range []int{1, 2, 4, 8} {
		add("pipe.members", fmt.Sprint(n), false, func(s *pipes.Scenario) { s.Members = n })
	}
	for _, n := range []int{1, 4, 16, 256} {
		add("pipe.groups", fmt.Sprint(n), false, func(s *pipes.Scenario) { s.Groups = n })
	}
	for _, n := range []int{1, 8} {
		add("pipe.threads", fmt.Sprint(n), false, func(s *pipes.Scenario) { s.Threads = n })
	}
	add("pipe.processes", "1", false, func(*pipes.Scenario) {})
	all = append(all, pipeApart("pipe.processes.2", func(*pipes.Scenario) {}),
		pipeApart("pipe.processes.2-64B", func(s *pipes.Scenario) { s.Size = 64 }),
		pipeApart("pipe.processes.2-10k", func(s *pipes.Scenario) { s.Rate = 10e3 }))
	add("pipe.mesh", "4to4", false, func(s *pipes.Scenario) { s.Senders, s.Members = 4, 4 })
	all = append(all, sweep("pipe.open", []float64{1e3, 10e3, 50e3, 100e3, 200e3, 400e3, 800e3, 1600e3}, 10e3, func(id string, rate float64, quick bool) step {
		return pipe("pipe.open", id, quick, func(s *pipes.Scenario) { s.Rate = rate })
	})...)
	for _, percent := range []int{10, 50, 80} {
		all = append(all, pipeShare(percent))
	}
	return all
}

// bytes is a size as ids have it.
func bytes(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	default:
		return fmt.Sprintf("%dB", n)
	}
}

// count is a number as ids have it.
func count(n float64) string {
	if n >= 1000 {
		return fmt.Sprintf("%gk", n/1000)
	}
	return fmt.Sprintf("%g", n)
}
