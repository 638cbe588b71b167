package socket

// The two sides of a pipe. First the protocol pair: what mangos calls when a pipe
// comes. There is nothing to route, as every Conn is used on its own; so all that is
// left is to turn a pipe into a Conn.
//
// mangos holds the pipe's lock during AddPipe, and its Close takes that lock:
// AddPipe may note the pipe and start a goroutine, never close or block.

import (
	"fmt"
	"sync"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

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

// protocolBase fails the calls that make no sense here: nobody outside this
// package holds the socket.
type protocolBase struct{}

func (protocolBase) RemovePipe(protocol.Pipe)               {}
func (protocolBase) SendMsg(*protocol.Message) error        { return protocol.ErrProtoOp }
func (protocolBase) RecvMsg() (*protocol.Message, error)    { return nil, protocol.ErrProtoOp }
func (protocolBase) OpenContext() (protocol.Context, error) { return nil, protocol.ErrProtoOp }
func (protocolBase) GetOption(string) (any, error)          { return nil, protocol.ErrBadOption }
func (protocolBase) SetOption(string, any) error            { return protocol.ErrBadOption }
func (protocolBase) Close() error                           { return nil }

// Which side an end of a connection is, who may send what, and what each knows of
// the other.

// Peer is what the handshake proved about the other side.
type Peer struct {
	// ID is the sender's registered id, or the member's.
	ID string
	// Incarnation is the destination's, as the sender told it.
	Incarnation string
	// MaxMessage is the largest record the sender sends, in bytes as
	// messages.RecordSize counts them.
	MaxMessage uint64
	// Level is what both sides can do: the lower of their two levels.
	Level pb.Level
}

// role is which side of the pipe a connection's end is.
type role uint8

const (
	roleSender role = iota
	roleMember
)

// controlFrame is the largest Nack, Drain, Bye or Ping.
const controlFrame = 4 << 10

// memberFrame is the largest Ack: one with all the ranges it may have.
const memberFrame = 64 << 10

// admits refuses a frame that has no place at r once the connection is open, or is
// larger than its kind can be.
// largest is of a record, as Welcome told it.
func (r role) admits(k frame.Kind, size int, largest uint64) error {
	if !r.expects(k) {
		return fmt.Errorf("%w: %s frame on an open connection", frame.ErrProtocol, k)
	}
	limit := controlFrame
	switch k {
	case frame.KindData:
		return nil // the wire has looked
	case frame.KindReply:
		limit = int(min(largest, frame.Largest)) + frame.Overhead + frame.MaxError
	case frame.KindAck:
		limit = memberFrame
	}
	if size > limit {
		return fmt.Errorf("%w: %s frame of %d bytes, the limit is %d: %w", frame.ErrProtocol, k, size, limit, messages.ErrTooLarge)
	}
	return nil
}

// expects says whether a frame of that kind may arrive at r once the
// connection is open.
func (r role) expects(k frame.Kind) bool {
	switch k {
	case frame.KindPing, frame.KindDrain, frame.KindBye:
		return true
	case frame.KindData:
		return r == roleMember
	case frame.KindAck, frame.KindNack, frame.KindReply:
		return r == roleSender
	}
	return false
}
