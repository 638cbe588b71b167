package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// Penstock as a user gets it: defaults, at-least-once, tcp over loopback.

type pipe struct {
	etcd *embedded.Server
	rt   *penstock.Runtime
	dest *penstock.Destination
	read chan error // the receiving loop's end
}

// Penstock starts an etcd in the process (which carries no message), a runtime
// that both sends and receives, and a loop that acks each message as it takes
// the next. log gets the runtime's events; nil logs nothing.
func Penstock(ctx context.Context, r *Receiver, log *slog.Logger) (Link, error) {
	p := &pipe{read: make(chan error, 1)}
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
		p.read <- nil
		return nil, errors.Join(err, p.Close())
	}
	go func() {
		for msg, err := range member.Messages(context.Background()) {
			if err != nil {
				p.read <- err
				return
			}
			r.Take(msg.Value)
		}
		p.read <- nil
	}()
	return p, nil
}

// Send waits on no context of its own, as a service that never gives up: a
// context that can end costs each call a look at it.
func (p *pipe) Send(_ context.Context, bodies *load.Bodies, from, to uint64) error {
	ctx := context.Background()
	for i := from; i < to; i++ {
		if err := p.dest.Send(ctx, penstock.Message{Value: bodies.At(i)}); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipe) Settle(ctx context.Context) (bool, error) { return true, p.dest.Flush(ctx) }

func (p *pipe) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := p.rt.Stop(ctx)
	select {
	case e := <-p.read:
		err = errors.Join(err, e)
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("the receiving loop continues: %w", ctx.Err()))
	}
	return errors.Join(err, p.etcd.Close())
}
