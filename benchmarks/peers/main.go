// Peers is what the benchmarks compare Penstock with, as far as it needs other modules
// than Penstock does: NATS and its JetStream, gRPC, libzmq, Redis and proto.actor. It is a
// module of its own, so that they stay out of Penstock's.
//
// The suites build it and start it once for each end of a system:
//
//	peers peer nats recv
//
// It is asked on standard input and answers on standard output. libzmq needs a C compiler
// and its headers, and is in a program that was built with -tags zmq; Redis needs a
// redis-server on PATH.
package main

import (
	"fmt"
	"maps"
	"os"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

var peers = map[string]side.System{
	"nats":             {Broker: natsBroker, Receive: natsReceive, Send: natsSend},
	"grpc":             {Receive: grpcReceive, Send: grpcSend},
	"zmq":              {Receive: zmqReceive, Send: zmqSend},
	"jetstream":        {Broker: jetstreamBroker(false), Put: jetstreamPut(pending), Consume: jetstreamConsume},
	"jetstream-always": {Broker: jetstreamBroker(true), Put: jetstreamPut(synced), Consume: jetstreamConsume},
	"redis-everysec":   {Broker: redisBroker("everysec"), Put: redisPut, Consume: redisConsume},
	"redis-always":     {Broker: redisBroker("always"), Put: redisPut, Consume: redisConsume},
	"protoactor":       {Perform: tellBare},
	"supervised":       {Perform: tellSupervised},
	"actor":            deliverToActors(0),
	"actor-batched":    deliverToActors(256),
}

func main() {
	all := systems.All()
	maps.Copy(all, peers)
	side.Main(all)
	fmt.Fprintln(os.Stderr, "peers: the suites start this program; see `make bench-quick` and `make bench`")
	os.Exit(2)
}
