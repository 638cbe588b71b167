// Command transfer moves money once, whatever fails: each payment that is read from one
// topic, the balances in etcd that it changes, and the receipt in another topic are one
// transaction. An etcd is in the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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
	etcd, err := clientv3.New(server.Config())
	if err != nil {
		return err
	}
	defer etcd.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(server.Config()))
	if err != nil {
		return err
	}
	payments, err := rt.EnsureTopic(ctx, "payments", penstock.TopicConfig{Partitions: 4})
	if err != nil {
		return err
	}
	receipts, err := rt.EnsureTopic(ctx, "receipts", penstock.TopicConfig{})
	if err != nil {
		return err
	}
	bank := &bank{etcd: etcd, receipts: receipts}
	if err := pay(ctx, rt, payments); err != nil {
		return err
	}
	if err := bank.book(ctx, payments); err != nil {
		return err
	}
	sum, err := bank.sum(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("all accounts together have %d\n", sum)
	return rt.Stop(ctx)
}

// pay puts three payments: all of them or none, though they go to several partitions.
func pay(ctx context.Context, rt *penstock.Runtime, payments *penstock.Topic) error {
	return rt.Transact(ctx, func(tx *penstock.Tx) error {
		for _, payee := range []string{"bakery", "grocer", "bakery"} {
			tx.Put(payments, penstock.Message{Key: []byte(payee), Value: []byte("10")})
		}
		return nil
	})
}

// bank keeps an account for each payee, under keys of its own.
type bank struct {
	etcd     *clientv3.Client
	receipts *penstock.Topic
}

const accounts = "/bank/accounts/"

// book handles all payments.
func (b *bank) book(ctx context.Context, payments *penstock.Topic) error {
	sub, err := payments.Subscribe(ctx, "bank")
	if err != nil {
		return err
	}
	for booked := 0; booked < 3; {
		// A service has ConsumeTx in place of this loop.
		n, err := sub.Transact(ctx, 1, b.bookOne)
		switch {
		case errors.Is(err, penstock.ErrCondition): // somebody else changed the account: read it again
		case err != nil:
			return err
		}
		booked += n
	}
	return sub.Unsubscribe(ctx)
}

// bookOne says what the transaction is to do. It writes nothing itself.
func (b *bank) bookOne(tx *penstock.Tx, recs []penstock.Record) error {
	payment := recs[0]
	key := accounts + string(payment.Key)
	resp, err := b.etcd.Get(tx.Context(), key)
	if err != nil {
		return err
	}
	balance, revision := 0, int64(0)
	if len(resp.Kvs) > 0 {
		revision = resp.Kvs[0].ModRevision
		if balance, err = strconv.Atoi(string(resp.Kvs[0].Value)); err != nil {
			return err
		}
	}
	amount, err := strconv.Atoi(string(payment.Value))
	if err != nil {
		return err
	}
	balance += amount
	tx.If(clientv3.Compare(clientv3.ModRevision(key), "=", revision))
	tx.Then(clientv3.OpPut(key, strconv.Itoa(balance)))
	tx.Put(b.receipts, penstock.Message{Key: payment.Key, Value: fmt.Appendf(nil, "%d, now %d", amount, balance)})
	return nil
}

// sum prints the receipts, and adds up the accounts.
func (b *bank) sum(ctx context.Context) (sum int, err error) {
	n := 0
	for receipt, err := range b.receipts.Read(ctx, 0, penstock.FromEarliest()) {
		if err != nil {
			return 0, err
		}
		fmt.Printf("%s got %s\n", receipt.Key, receipt.Value)
		if n++; n == 3 {
			break
		}
	}
	all, err := b.etcd.Get(ctx, accounts, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	for _, kv := range all.Kvs {
		balance, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return 0, err
		}
		sum += balance
	}
	return sum, nil
}
