package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/rep"
	"go.nanomsg.org/mangos/v3/protocol/req"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// Requests, each after the reply to the one before, against REQ and REP of plain mangos.
// The other side replies with what it got.

// Asker is a requester and who replies to it, connected.
type Asker interface {
	io.Closer
	// Ask sends body, waits for the reply and returns it.
	Ask(ctx context.Context, body []byte) ([]byte, error)
}

// Requests compares how long a request of size bytes takes until its reply is there, in
// microseconds. Each run makes samples requests; there are plan.Pairs, and more while
// plan.Budget lasts. ctx bounds it. log gets the events of our runtime; nil logs nothing.
func Requests(ctx context.Context, id string, size, samples int, plan Plan, log *slog.Logger) (_ Result, err error) {
	ours, err := penstockAsker(ctx, log)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", id, err)
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	peer, err := mangosAsker(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", id, err)
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	sides := []Asker{ours, peer}
	bodies := load.NewBodies(size)
	p50, p99 := make([][]float64, len(sides)), make([][]float64, len(sides))
	all := [2]*results.Histogram{results.NewHistogram(), results.NewHistogram()}
	began := time.Now()
	for pair := -1; pair < plan.Pairs || time.Since(began)*time.Duration(pair+1) < plan.Budget*time.Duration(pair); pair++ {
		for i, s := range sides {
			runtime.GC()
			took, err := ask(ctx, s, bodies, samples)
			if err != nil {
				return Result{}, fmt.Errorf("%s: run %d: %w", id, pair+1, err)
			}
			if pair < 0 {
				continue // it warmed up
			}
			noteAll(all[i], took)
			slices.Sort(took)
			half, most := micros(took[len(took)/2]), micros(took[len(took)*99/100])
			fmt.Fprintf(plan.Runs, "%s run %d of %d: p50 %.1f µs, p99 %.1f µs, %d samples\n", id, pair+1, i, half, most, len(took))
			p50[i], p99[i] = append(p50[i], half), append(p99[i], most)
		}
	}
	return Result{
		ID: id, Ours: Median(p50[0]), Peer: Median(p50[1]), Unit: "us",
		Note: fmt.Sprintf("p99 ours=%.1f peer=%.1f us", Median(p99[0]), Median(p99[1])),
		Runs: [2][]float64{p50[0], p50[1]}, Took: all,
	}, nil
}

// ask makes count requests and returns how long each took.
func ask(ctx context.Context, s Asker, bodies *load.Bodies, count int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, count)
	for i := range uint64(count) {
		body := bodies.At(i)
		start := time.Now()
		got, err := s.Ask(ctx, body)
		took = append(took, time.Since(start))
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(got, body) {
			return nil, fmt.Errorf("request %d was replied to with %d other bytes", i, len(got))
		}
	}
	return took, nil
}

// pipeAsker is a destination and a member that replies.
type pipeAsker struct {
	etcd *embedded.Server
	rt   *penstock.Runtime
	dest *penstock.Destination
	over chan struct{}
}

func penstockAsker(ctx context.Context, log *slog.Logger) (Asker, error) {
	p := &pipeAsker{over: make(chan struct{})}
	var member *penstock.Member
	var err error
	if p.etcd, err = embedded.Start(ctx, "", embedded.UnsafeNoFsync()); err != nil {
		return nil, err
	}
	p.rt, err = penstock.Start(ctx, penstock.EtcdConfig(p.etcd.Config()), penstock.Listen("tcp://127.0.0.1:0"), penstock.Logger(log))
	if err != nil {
		return nil, errors.Join(err, p.etcd.Close())
	}
	if p.dest, err = p.rt.Register(ctx, "bench"); err == nil {
		member, err = p.rt.Join(ctx, "bench", "all")
	}
	if err != nil {
		close(p.over)
		return nil, errors.Join(err, p.Close())
	}
	go func() {
		defer close(p.over)
		_ = member.Consume(context.Background(), penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
			return penstock.Message{Value: d.Value}, nil
		}))
	}()
	return p, nil
}

func (p *pipeAsker) Ask(ctx context.Context, body []byte) ([]byte, error) {
	r, err := p.dest.Request(ctx, penstock.Message{Value: body})
	return r.Value, err
}

func (p *pipeAsker) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := errors.Join(p.rt.Stop(ctx), p.etcd.Close())
	<-p.over
	return err
}

// reqRep is a REQ and a REP.
type reqRep struct {
	req, rep mangos.Socket
	over     chan struct{}
}

func mangosAsker(ctx context.Context) (Asker, error) {
	l := &reqRep{over: make(chan struct{})}
	if err := l.connect(ctx); err != nil {
		close(l.over)
		return nil, errors.Join(fmt.Errorf("mangos: %w", err), l.Close())
	}
	go func() {
		defer close(l.over)
		for {
			m, err := l.rep.RecvMsg()
			if err != nil || l.rep.SendMsg(m) != nil {
				return
			}
		}
	}()
	return l, nil
}

func (l *reqRep) connect(ctx context.Context) (err error) {
	if l.req, err = req.NewSocket(); err != nil {
		return err
	}
	if l.rep, err = rep.NewSocket(); err != nil {
		return err
	}
	return join(ctx, l.rep, l.req, l.req)
}

func (l *reqRep) Ask(_ context.Context, body []byte) ([]byte, error) {
	if err := l.req.Send(body); err != nil {
		return nil, err
	}
	return l.req.Recv()
}

func (l *reqRep) Close() error {
	var errs []error
	for _, s := range []mangos.Socket{l.req, l.rep} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	<-l.over
	return errors.Join(errs...)
}
