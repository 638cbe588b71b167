// Command destination registers a destination and sends it a tick again and
// again, until it is interrupted. It is one half of a pipe; the command group
// is the other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/penstock-io/penstock"
)

func main() {
	etcd := flag.String("etcd", "127.0.0.1:2379", "address of etcd")
	name := flag.String("destination", "ticks", "name of the destination")
	listen := flag.String("listen", "tcp://127.0.0.1:0", "where members connect to")
	every := flag.Duration("every", time.Second, "time between ticks")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *etcd, *name, *listen, *every); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, etcd, name, listen string, every time.Duration) (err error) {
	rt, err := penstock.Start(ctx, penstock.Etcd(etcd), penstock.Listen(listen))
	if err != nil {
		return err
	}
	defer func() {
		// What was sent is delivered, or given up after ten seconds.
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, rt.Stop(stopping))
	}()

	ticks, err := rt.Register(ctx, name)
	if err != nil {
		return err
	}
	log.Printf("sending to %s from %s", ticks.Name(), ticks.URL())

	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		// Send waits for the first group to join, and for room.
		err := ticks.Send(ctx, penstock.Message{Value: fmt.Appendf(nil, "tick %d", n)})
		if ctx.Err() != nil {
			return nil // interrupted
		}
		if err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
