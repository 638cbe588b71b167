// Command order has three members of a group handle the changes of accounts, each account's in
// their order, while one of the members goes. An etcd is in the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"sync"
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

const accounts, changes = 5, 40

func run(ctx context.Context) error {
	// Programs that have an etcd skip this, and give penstock.Etcd its address.
	server, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer server.Close()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(server.Config()), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		return err
	}
	changed, err := rt.Register(ctx, "changes", penstock.RequireGroups("ledger"))
	if err != nil {
		return err
	}
	books := ledger{last: make(map[string]int)}
	var members []*penstock.Member
	var consuming sync.WaitGroup
	for _, name := range []string{"anna", "ben", "carl"} {
		m, err := rt.Join(ctx, "changes", "ledger", penstock.MemberID(name), penstock.InMode(penstock.KeyAffinity), penstock.Concurrency(4))
		if err != nil {
			return err
		}
		members = append(members, m)
		consuming.Go(func() {
			if err := m.Consume(ctx, books.handle); err != nil {
				log.Print(err)
			}
		})
	}
	for i := range changes {
		for a := range accounts {
			msg := penstock.Message{Key: fmt.Appendf(nil, "account-%d", a), Value: strconv.AppendInt(nil, int64(i+1), 10)}
			if err := changed.Send(ctx, msg); err != nil {
				return err
			}
		}
		if i == changes/2 { // its accounts go to the others
			if err := members[0].Leave(ctx); err != nil {
				return err
			}
		}
	}
	if err := changed.Flush(ctx); err != nil {
		return err
	}
	err = rt.Stop(ctx)
	consuming.Wait()
	for a := range accounts {
		fmt.Println(books.line(fmt.Sprintf("account-%d", a)))
	}
	return err
}

// ledger is what was handled of each account.
type ledger struct {
	mu   sync.Mutex
	last map[string]int // the last change
	bad  int
}

var errGap = errors.New("a change came before an earlier one")

// handle handles a change. One that was handled before may come again.
func (l *ledger) handle(_ context.Context, d penstock.Delivery) error {
	n, err := strconv.Atoi(string(d.Value))
	if err != nil {
		return fmt.Errorf("%w: %w", err, penstock.ErrReject)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	account := string(d.Key)
	if n > l.last[account]+1 {
		l.bad++
		return errGap
	}
	l.last[account] = max(n, l.last[account])
	return nil
}

func (l *ledger) line(account string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s is at change %d, out of order: %d", account, l.last[account], l.bad)
}
