// Command table keeps prices in a topic: one runtime puts them, another has the newest of each
// in memory, follows the changes, and asks for one. An etcd is in the process.
package main

import (
	"context"
	"errors"
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
	server, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer server.Close()
	exchange, err := penstock.Start(ctx, penstock.EtcdConfig(server.Config()))
	if err != nil {
		return err
	}
	// Only the newest record of each key is kept for good.
	prices, err := exchange.EnsureTopic(ctx, "prices", penstock.TopicConfig{Partitions: 2, Compaction: penstock.CompactByKey})
	if err != nil {
		return err
	}
	for _, p := range []string{"1.07", "1.08"} {
		if err := quote(ctx, prices, "EURUSD", p); err != nil {
			return err
		}
	}
	if err := quote(ctx, prices, "EURDEM", "1.95583"); err != nil {
		return err
	}

	shop, err := penstock.Start(ctx, penstock.EtcdConfig(server.Config()))
	if err != nil {
		return err
	}
	if err := follow(ctx, shop, prices); err != nil {
		return err
	}
	return errors.Join(shop.Stop(ctx), exchange.Stop(ctx))
}

// quote puts a price. Without one the pair is not traded any more: a tombstone.
func quote(ctx context.Context, prices *penstock.Topic, pair, price string) error {
	m := penstock.Message{Key: []byte(pair), Value: []byte(price), Tombstone: price == ""}
	_, _, err := prices.Put(ctx, m)
	return err
}

func follow(ctx context.Context, shop *penstock.Runtime, exchange *penstock.Topic) error {
	prices, err := shop.Topic(ctx, "prices")
	if err != nil {
		return err
	}
	table, err := prices.Table(ctx) // all that is there was read
	if err != nil {
		return err
	}
	defer table.Close()
	fmt.Printf("%d prices\n", table.Len())
	if r, ok := table.Get([]byte("EURUSD")); ok {
		fmt.Printf("EURUSD is %s\n", r.Value)
	}

	if err := quote(ctx, exchange, "EURUSD", "1.09"); err != nil {
		return err
	}
	if err := quote(ctx, exchange, "EURDEM", ""); err != nil {
		return err
	}
	// What another runtime has put is there, without waiting for it.
	latest, err := prices.Latest(ctx, []byte("EURUSD"))
	if err != nil {
		return err
	}
	fmt.Printf("EURUSD is %s now\n", latest.Value)
	if _, err := prices.Latest(ctx, []byte("EURDEM")); !errors.Is(err, penstock.ErrNoRecord) {
		return fmt.Errorf("EURDEM has a price, or %w", err)
	}
	fmt.Println("EURDEM has no price")

	if err := table.Fresh(ctx); err != nil {
		return err
	}
	for change, err := range table.Watch(ctx) { // a service watches without end
		if err != nil {
			return err
		}
		if change.Initial {
			fmt.Printf("the table begins with %s %s\n", change.Key, change.New.Value)
			if err := quote(ctx, exchange, "EURUSD", "1.10"); err != nil {
				return err
			}
			continue
		}
		fmt.Printf("%s went from %s to %s\n", change.Key, change.Old.Value, change.New.Value)
		break
	}
	return nil
}
