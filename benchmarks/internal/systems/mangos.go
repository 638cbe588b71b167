package systems

import (
	"context"
	"errors"
	"fmt"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	"go.nanomsg.org/mangos/v3/protocol/rep"
	"go.nanomsg.org/mangos/v3/protocol/req"
	_ "go.nanomsg.org/mangos/v3/transport/tcp" // the scheme that both sides use

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Plain mangos over tcp, with its defaults: what pipes are built on.

type socket struct {
	mangos.Socket
	address string
	read    chan struct{} // closed when the receiving loop has ended; nil without
}

func (s *socket) Address() string { return s.address }

func (s *socket) Close() error {
	err := s.Socket.Close()
	if s.read != nil {
		<-s.read
	}
	return err
}

// listen has a socket take connections, and runs loop until the socket is closed.
func listen(open func() (mangos.Socket, error), loop func(mangos.Socket) error) (side.Receiving, error) {
	return listenAt(open, "tcp://127.0.0.1:0", loop)
}

func listenAt(open func() (mangos.Socket, error), url string, loop func(mangos.Socket) error) (side.Receiving, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	l, err := s.NewListener(url, nil)
	if err == nil {
		err = l.Listen()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mangos: %w", err), s.Close())
	}
	end := &socket{Socket: s, address: l.Address(), read: make(chan struct{})}
	go func() {
		defer close(end.read)
		for loop(s) == nil {
		}
	}()
	return end, nil
}

func pullMangos(_ context.Context, _ side.Place, to []*side.Receiver) (side.Receiving, error) {
	return listen(pull.NewSocket, take1(to[0]))
}

func repMangos(_ context.Context, _ side.Place, to []*side.Receiver) (side.Receiving, error) {
	return listen(rep.NewSocket, func(s mangos.Socket) error {
		m, err := s.RecvMsg()
		if err == nil {
			to[0].Take(m.Body)
			err = s.SendMsg(m)
		}
		return err
	})
}

// dial connects a socket, and returns when it is.
func dial(ctx context.Context, at side.Place, s mangos.Socket, err error) (*socket, error) {
	if err != nil {
		return nil, err
	}
	attached := make(chan struct{}, 1)
	s.SetPipeEventHook(func(e mangos.PipeEvent, _ mangos.Pipe) {
		if e == mangos.PipeEventAttached {
			attached <- struct{}{}
		}
	})
	if err = s.Dial(at.Address); err == nil {
		select {
		case <-attached:
			return &socket{Socket: s}, nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return nil, errors.Join(fmt.Errorf("mangos: %w", err), s.Close())
}

type pusher struct{ *socket }

func pushMangos(ctx context.Context, at side.Place) (side.Sender, error) {
	s, err := push.NewSocket()
	p, err := dial(ctx, at, s, err)
	if err != nil {
		return nil, err
	}
	return pusher{p}, nil
}

func (p pusher) Send(_ context.Context, body []byte) error {
	m := mangos.NewMessage(len(body))
	m.Body = append(m.Body, body...)
	if err := p.SendMsg(m); err != nil {
		m.Free()
		return fmt.Errorf("mangos: send: %w", err)
	}
	return nil
}

func (pusher) Push() error { return nil }

func (pusher) Flush(context.Context) (bool, error) { return false, nil }

type requester struct{ pusher }

func reqMangos(ctx context.Context, at side.Place) (side.Sender, error) {
	s, err := req.NewSocket()
	p, err := dial(ctx, at, s, err)
	if err != nil {
		return nil, err
	}
	return requester{pusher{p}}, nil
}

func (r requester) Send(_ context.Context, body []byte) error {
	if err := r.Socket.Send(body); err != nil {
		return err
	}
	reply, err := r.Recv()
	if err != nil {
		return err
	}
	return same(reply, body)
}
