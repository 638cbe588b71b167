package socket

import (
	"sync"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"
)

// The protocol pair: what mangos calls when a pipe comes. There is nothing to
// route, as every Conn is used on its own; so all that is left is to turn a
// pipe into a Conn.
//
// mangos holds the pipe's lock during AddPipe, and its Close takes that lock:
// AddPipe may note the pipe and start a goroutine, never close or block.

// corePipe is what a Conn needs of mangos's pipe.
type corePipe interface {
	SendMsg(*mangos.Message) error
	RecvMsg() *mangos.Message
	Close() error
}

// senderProtocol serves a listener's pipes.
type senderProtocol struct {
	protocolBase
	listener *Listener
}

func (*senderProtocol) Info() protocol.Info {
	return protocol.Info{
		Self: protocol.ProtoPush, SelfName: "push",
		Peer: protocol.ProtoPull, PeerName: "pull",
	}
}

func (p *senderProtocol) AddPipe(pipe protocol.Pipe) error {
	w, err := wireOf(pipe)
	if err != nil {
		return err
	}
	c := newConn(w, pipe, roleSender, p.listener.cfg.settings())
	w.attach(c.release(func() { _ = pipe.Close() }))
	go p.listener.greet(c)
	return nil
}

// memberProtocol serves the one pipe of a Dial.
type memberProtocol struct {
	protocolBase
	cfg settings
	// hangUp closes the socket that this protocol is part of.
	hangUp func()

	mu   sync.Mutex
	conn *Conn
}

func (*memberProtocol) Info() protocol.Info {
	return protocol.Info{
		Self: protocol.ProtoPull, SelfName: "pull",
		Peer: protocol.ProtoPush, PeerName: "push",
	}
}

func (p *memberProtocol) AddPipe(pipe protocol.Pipe) error {
	w, err := wireOf(pipe)
	if err != nil {
		return err
	}
	c := newConn(w, pipe, roleMember, p.cfg)
	w.attach(c.release(p.hangUp))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
	return nil
}

// take gives the Conn of the pipe that was dialled.
func (p *memberProtocol) take() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// wireOf finds our own pipe under mangos's, which is also a mangos.Pipe: the
// one that users' hooks see.
func wireOf(pipe protocol.Pipe) (*wire, error) {
	p, ok := pipe.(mangos.Pipe)
	if !ok {
		return nil, mangos.ErrBadTran
	}
	v, err := p.GetOption(optionWire)
	if err != nil {
		return nil, err
	}
	w, ok := v.(*wire)
	if !ok {
		return nil, mangos.ErrBadTran
	}
	return w, nil
}

// protocolBase answers the calls that make no sense here: nobody outside this
// package holds the socket.
type protocolBase struct{}

func (protocolBase) RemovePipe(protocol.Pipe)               {}
func (protocolBase) SendMsg(*protocol.Message) error        { return protocol.ErrProtoOp }
func (protocolBase) RecvMsg() (*protocol.Message, error)    { return nil, protocol.ErrProtoOp }
func (protocolBase) OpenContext() (protocol.Context, error) { return nil, protocol.ErrProtoOp }
func (protocolBase) GetOption(string) (any, error)          { return nil, protocol.ErrBadOption }
func (protocolBase) SetOption(string, any) error            { return protocol.ErrBadOption }
func (protocolBase) Close() error                           { return nil }
