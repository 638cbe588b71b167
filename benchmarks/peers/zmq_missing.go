//go:build !zmq

package main

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Without the tag zmq there is no libzmq here.

var errNoZMQ = fmt.Errorf("%w: libzmq needs its headers, a C compiler and pkg-config: apt-get install libzmq3-dev gcc pkg-config", side.ErrMissing)

func zmqReceive(context.Context, side.Place, []*side.Receiver) (side.Receiving, error) {
	return nil, errNoZMQ
}

func zmqSend(context.Context, side.Place) (side.Sender, error) { return nil, errNoZMQ }
