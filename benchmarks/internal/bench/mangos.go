package bench

import (
	"context"
	"errors"
	"fmt"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	_ "go.nanomsg.org/mangos/v3/transport/tcp" // the scheme that both sides use

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// Plain mangos PUSH and PULL over tcp, with its defaults: the peer that pipes
// are built on.

type pushPull struct {
	push, pull mangos.Socket
	read       chan struct{} // closed when the receiving loop has ended
}

// Mangos connects a PUSH to a PULL.
func Mangos(ctx context.Context, r *Receiver) (Link, error) {
	l := &pushPull{read: make(chan struct{})}
	if err := l.connect(ctx); err != nil {
		close(l.read)
		return nil, errors.Join(fmt.Errorf("mangos: %w", err), l.Close())
	}
	go func() {
		defer close(l.read)
		for {
			m, err := l.pull.RecvMsg()
			if err != nil {
				return
			}
			r.Take(m.Body)
			m.Free()
		}
	}()
	return l, nil
}

func (l *pushPull) connect(ctx context.Context) (err error) {
	if l.push, err = push.NewSocket(); err != nil {
		return err
	}
	if l.pull, err = pull.NewSocket(); err != nil {
		return err
	}
	return join(ctx, l.push, l.pull, l.push)
}

// join has one socket dial the other over tcp, and waits until the one that is to send
// first has the connection.
func join(ctx context.Context, listens, dials, sends mangos.Socket) error {
	attached := make(chan struct{}, 1)
	sends.SetPipeEventHook(func(e mangos.PipeEvent, _ mangos.Pipe) {
		if e == mangos.PipeEventAttached {
			attached <- struct{}{}
		}
	})
	listener, err := listens.NewListener("tcp://127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	if err := listener.Listen(); err != nil {
		return err
	}
	if err := dials.Dial(listener.Address()); err != nil {
		return err
	}
	select {
	case <-attached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *pushPull) Send(_ context.Context, bodies *load.Bodies, from, to uint64) error {
	for i := from; i < to; i++ {
		m := mangos.NewMessage(bodies.Size())
		m.Body = append(m.Body, bodies.At(i)...)
		if err := l.push.SendMsg(m); err != nil {
			m.Free()
			return fmt.Errorf("mangos: send: %w", err)
		}
	}
	return nil
}

func (l *pushPull) Settle(context.Context) (bool, error) { return false, nil }

func (l *pushPull) Close() error {
	var errs []error
	for _, s := range []mangos.Socket{l.push, l.pull} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	<-l.read
	return errors.Join(errs...)
}
