package side

import (
	"context"
	"errors"
	"io"
)

// What a system has to do.

// System says how the ends of a system are opened. A function that is nil is an end that
// the system does not have. Each is called once, in a process of its own; what it
// returns is closed before the process ends.
type System struct {
	// Broker is what others connect to.
	Broker func(ctx context.Context) (Broker, error)

	// Receive hands what comes for group i to to[i], from one goroutine for each group.
	Receive func(ctx context.Context, at Place, to []*Receiver) (Receiving, error)
	Send    func(ctx context.Context, at Place) (Sender, error)

	Put     func(ctx context.Context, at Place) (Putter, error)
	Consume func(ctx context.Context, at Place) (Consumer, error)

	// Perform is a system whose both ends are in one process.
	Perform func(ctx context.Context, at Place) (Performer, error)
	// Within is a system of messages whose both ends are in one process. It hands what
	// comes for group i to to[i], from one goroutine for each group.
	Within func(ctx context.Context, at Place, to []*Receiver) (Sender, error)
}

// Place is where an end meets the others, and how wide the system is.
type Place struct {
	Address    string `json:"address,omitempty"` // of the broker, or of the receiver where there is none
	Groups     int    `json:"groups,omitempty"`  // each of which gets every message
	Partitions int    `json:"partitions,omitempty"`
	Size       int    `json:"size,omitempty"` // of messages, for a system that has to know it before
	Dir        string `json:"dir,omitempty"`  // a directory of this side's, which all of its ends have
}

// Broker is a server in this process, or one that this process started.
type Broker interface {
	io.Closer
	Address() string
	// CPU is the processor time, in seconds, of what is not this process; 0 where all is.
	CPU() float64
}

// Receiving is a receiving end. Address is where senders find it; empty with a broker.
type Receiving interface {
	io.Closer
	Address() string
}

// Sender is a sending end. It is used by one goroutine at a time.
type Sender interface {
	io.Closer
	// Send hands a message on. It blocks for room, and keeps nothing of body.
	Send(ctx context.Context, body []byte) error
	// Push has no message wait for another to be sent.
	Push() error
	// Flush returns when every message is acknowledged, or false when all are handed on
	// and the system acknowledges nothing.
	Flush(ctx context.Context) (acked bool, err error)
}

// Putter writes logs. It is used by one goroutine at a time.
type Putter interface {
	io.Closer
	// Create makes an empty log, which the other calls go to. The one before may go.
	Create(ctx context.Context, log string) error
	// PutAsync hands a record on. It blocks for room, and keeps nothing of record.
	PutAsync(ctx context.Context, record []byte) error
	// Flush returns when every record is acknowledged, with the first failure.
	Flush(ctx context.Context) error
	// Put returns when the record is acknowledged.
	Put(ctx context.Context, record []byte) error
	// PutBatch returns when all are acknowledged.
	PutBatch(ctx context.Context, records [][]byte) error
}

// Consumer reads logs.
type Consumer interface {
	io.Closer
	// Consume reads a log from its first record, as a group that is new. It calls take
	// for each record, from one goroutine at a time. When that returns true or an error,
	// Consume returns, after the log remembers that all of it is done.
	Consume(ctx context.Context, log string, take func(partition int, record []byte) (last bool, err error)) error
}

// Performer does something as fast as it can.
type Performer interface {
	io.Closer
	// Perform does it n times and returns when all is done.
	Perform(ctx context.Context, n int) error
}

// ErrMissing is the error of a system that is not on this machine, or not in this
// program. It wraps why.
var ErrMissing = errors.New("it is not here")
