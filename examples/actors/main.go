// Command actors is a program of actors that has Penstock among them. A shop publishes
// orders to a destination, which is its child. Billing, another child, gets them as
// messages, crashes at every 100th on purpose and is restarted by the shop's policy; half
// way through it is stopped altogether. No order is lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/supervisor"
)

func main() {
	etcd := flag.String("etcd", "", "address of etcd; one in this process when empty")
	orders := flag.Int("orders", 1000, "how many orders are published")
	every := flag.Int("every", 100, "billing crashes at each delivery whose number this divides")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *etcd, *orders, *every); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, endpoint string, orders, every int) (err error) {
	connect := penstock.Etcd(endpoint)
	if endpoint == "" {
		etcd, err := embedded.Start(ctx, "")
		if err != nil {
			return err
		}
		defer etcd.Close()
		connect = penstock.EtcdConfig(etcd.Config())
	}

	// The system is the program's. The runtime lives in it, and is stopped before it. The
	// crashes on purpose would fill the system's log.
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	defer system.Shutdown()
	rt, err := penstock.Start(ctx, connect, penstock.ActorSystem(system), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, rt.Stop(stopping))
	}()

	books := newLedger()
	over := make(chan error, 1)
	shop := system.Root.Spawn(supervisor.Props(
		func() actor.Actor {
			return &shop{rt: rt, books: books, orders: orders, every: every, over: over}
		},
		// How the shop treats the failures of its children: they are restarted soon, however
		// often they fail.
		supervisor.WithPolicy(supervisor.Policy{
			Backoff: supervisor.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond, Factor: 2},
		})))
	select {
	case err = <-over:
	case <-ctx.Done():
		err = ctx.Err()
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, supervisor.Stop(stopping, system, shop))

	charged, crashes, dismissals := books.sum()
	fmt.Printf("published %d, charged %d, crashed %d, dismissed %d\n", orders, charged, crashes, dismissals)
	return err
}
