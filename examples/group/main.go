// Command group joins a group of a destination and prints what it gets, until
// it is interrupted. Start it several times to see the members of one group
// share the messages; with another -group, each group gets all of them.
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
	destination := flag.String("destination", "ticks", "name of the destination")
	group := flag.String("group", "printers", "name of the group")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *etcd, *destination, *group); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, etcd, destination, group string) (err error) {
	rt, err := penstock.Start(ctx, penstock.Etcd(etcd))
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, rt.Stop(stopping))
	}()

	// A member may come before its senders: it links to them when they appear.
	member, err := rt.Join(ctx, destination, group)
	if err != nil {
		return err
	}
	log.Printf("member %s of %s, waiting for messages", member.ID(), group)

	for msg, err := range member.Messages(ctx) {
		if ctx.Err() != nil {
			return nil // interrupted; what was not handled goes to another member
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", msg.Value) // taking the next message acks this one
	}
	return nil
}
