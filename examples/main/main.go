// Command main is the smallest whole program: an etcd in the process, a
// sender, a group of one member, three messages, and an orderly end.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// Programs that have an etcd skip this, and give penstock.Etcd its address.
	etcd, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer etcd.Close()

	rt, err := penstock.Start(ctx,
		penstock.EtcdConfig(etcd.Config()),
		penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		return err
	}

	greetings, err := rt.Register(ctx, "greetings")
	if err != nil {
		return err
	}
	readers, err := rt.Join(ctx, "greetings", "readers")
	if err != nil {
		return err
	}

	for _, text := range []string{"hello", "how are you?", "goodbye"} {
		if err := greetings.Send(ctx, penstock.Message{Value: []byte(text)}); err != nil {
			return err
		}
	}
	for msg, err := range readers.Messages(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", msg.Value)
		if string(msg.Value) == "goodbye" {
			msg.Ack() // taking the next message would; a loop that breaks gives its message back
			break
		}
	}
	return rt.Stop(ctx)
}
