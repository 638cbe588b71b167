package server

// Which etcd it is.

import (
	"context"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// Env is the variable of the environment that names an etcd program.
const Env = "PENSTOCKTEST_ETCD"

// A Server is a running etcd.
type Server interface {
	// Endpoint returns the server's address, host:port.
	Endpoint() string
	// Config returns a client's configuration, a fresh copy.
	Config() clientv3.Config
	// Close ends the server and returns when it is gone.
	Close() error
}

// Start starts an etcd on what dir holds, or with nothing on a directory of its
// own, if dir is empty, which Close removes. It listens on endpoint, host:port,
// or on a port that is free, if endpoint is empty. Start returns when the server
// replies to requests, or ErrAddrInUse when another has the port.
func Start(ctx context.Context, dir, endpoint string) (Server, error) {
	if path := os.Getenv(Env); path != "" {
		return startProgram(ctx, path, dir, endpoint)
	}
	opts := []embedded.Option{
		embedded.UnsafeNoFsync(),
		embedded.Tune(func(c *embed.Config) { c.BcryptCost = bcryptCost }),
	}
	if endpoint != "" {
		opts = append(opts, embedded.Listen(endpoint))
	}
	srv, err := embedded.Start(ctx, dir, opts...)
	if err != nil {
		return nil, err // not a nil *embedded.Server in an interface
	}
	return srv, nil
}

// bcryptCost is the lowest: hashing passwords is slow on purpose, and much
// slower under -race.
const bcryptCost = 4
