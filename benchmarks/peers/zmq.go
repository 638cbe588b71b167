//go:build zmq

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/pebbe/zmq4"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// libzmq: PUSH and PULL over tcp. It drops nothing while both ends live, and acknowledges
// nothing.

// highWater is how many messages of a size each end keeps: as many as a pipe's queue
// holds. libzmq counts messages and no bytes.
func highWater(at side.Place) int { return aheadBytes / int(weight(at.Size)) }

type zmqReceiver struct {
	ctx     *zmq4.Context
	socket  *zmq4.Socket
	address string
	read    chan error
}

func zmqReceive(_ context.Context, at side.Place, to []*side.Receiver) (_ side.Receiving, err error) {
	r := &zmqReceiver{read: make(chan error, 1)}
	if r.ctx, err = zmq4.NewContext(); err != nil {
		return nil, err
	}
	if r.socket, err = r.ctx.NewSocket(zmq4.PULL); err == nil {
		err = r.socket.SetRcvhwm(highWater(at))
	}
	if err == nil {
		err = r.socket.Bind("tcp://127.0.0.1:*")
	}
	if err == nil {
		r.address, err = r.socket.GetLastEndpoint()
	}
	if err != nil {
		return nil, fmt.Errorf("zmq: %w", err)
	}
	go func() { r.read <- r.receive(to[0]) }()
	return r, nil
}

func (r *zmqReceiver) receive(to *side.Receiver) error {
	defer r.socket.Close()
	for {
		body, err := r.socket.RecvBytes(0)
		switch {
		case err == nil:
			to.Take(body)
		case zmq4.AsErrno(err) == zmq4.ETERM:
			return nil
		case zmq4.AsErrno(err) != zmq4.Errno(syscall.EINTR):
			return err
		}
	}
}

func (r *zmqReceiver) Address() string { return r.address }

// Close ends the context, which ends the loop, which closes the socket.
func (r *zmqReceiver) Close() error { return errors.Join(r.ctx.Term(), <-r.read) }

type zmqSender struct {
	ctx    *zmq4.Context
	socket *zmq4.Socket
}

func zmqSend(_ context.Context, at side.Place) (_ side.Sender, err error) {
	s := &zmqSender{}
	if s.ctx, err = zmq4.NewContext(); err != nil {
		return nil, err
	}
	if s.socket, err = s.ctx.NewSocket(zmq4.PUSH); err == nil {
		err = s.socket.SetSndhwm(highWater(at))
	}
	if err == nil {
		err = s.socket.SetLinger(0)
	}
	if err == nil {
		err = s.socket.Connect(at.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("zmq: %w", err)
	}
	return s, nil
}

func (s *zmqSender) Send(_ context.Context, body []byte) error {
	for {
		_, err := s.socket.SendBytes(body, 0)
		if err == nil || zmq4.AsErrno(err) != zmq4.Errno(syscall.EINTR) {
			return err
		}
	}
}

func (s *zmqSender) Push() error { return nil }

func (s *zmqSender) Flush(context.Context) (bool, error) { return false, nil }

func (s *zmqSender) Close() error { return errors.Join(s.socket.Close(), s.ctx.Term()) }
