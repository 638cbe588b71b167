package topics_test

// Money that is moved by transactions, while those who move it die.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// roleMover moves money until it is stopped: transfers come from the topic, the accounts
// are keys beside the space, and what was moved goes to theReceipts.
const roleMover = "mover"

const theReceipts, numAccounts, firstBalance = "receipts", 3, 100

func accounts(space string) string { return "/accounts" + space + "/" }

// transfer is one record of money to move.
type transfer struct{ id, from, to, amount int }

func (m transfer) message() penstock.Message {
	return penstock.Message{Key: []byte(strconv.Itoa(m.id)), Value: fmt.Appendf(nil, "%d %d %d %d", m.id, m.from, m.to, m.amount)}
}

func parseTransfer(value []byte) (m transfer, err error) {
	_, err = fmt.Sscan(string(value), &m.id, &m.from, &m.to, &m.amount)
	return m, err
}

// balances are all accounts as of one revision, and their ModRevisions.
func balances(ctx context.Context, c *clientv3.Client, space string) (now, revisions [numAccounts]int64, err error) {
	resp, err := c.Get(ctx, accounts(space), clientv3.WithPrefix())
	if err != nil {
		return now, revisions, err
	}
	for _, kv := range resp.Kvs {
		i, err := strconv.Atoi(strings.TrimPrefix(string(kv.Key), accounts(space)))
		if err != nil {
			return now, revisions, err
		}
		if now[i], err = strconv.ParseInt(string(kv.Value), 10, 64); err != nil {
			return now, revisions, err
		}
		revisions[i] = kv.ModRevision
	}
	return now, revisions, nil
}

func (s childSpec) move(ctx context.Context) error {
	cfg := clientv3.Config{Endpoints: s.Endpoints}
	c, err := discovery.NewClient(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	cfg.DialOptions = append(cfg.DialOptions, penstocktest.DropReplies(7).Option())
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(cfg), penstock.Prefix(s.Space), penstock.LeaseTTL(s.LeaseTTL))
	if err != nil {
		return err
	}
	topic, err := rt.Topic(ctx, s.Topic)
	if err != nil {
		return err
	}
	receipts, err := rt.Topic(ctx, theReceipts)
	if err != nil {
		return err
	}
	sub, err := topic.Subscribe(ctx, s.Group)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- sub.ConsumeTx(ctx, 4, func(tx *penstock.Tx, recs []penstock.Record) error {
			now, revisions, err := balances(tx.Context(), c, s.Space)
			if err != nil {
				return err
			}
			changed := map[int]bool{}
			for _, r := range recs {
				m, err := parseTransfer(r.Value)
				if err != nil {
					return err
				}
				now[m.from] -= int64(m.amount)
				now[m.to] += int64(m.amount)
				changed[m.from], changed[m.to] = true, true
				tx.Put(receipts, penstock.Message{Value: r.Value})
			}
			for i := range changed {
				key := accounts(s.Space) + strconv.Itoa(i)
				tx.If(clientv3.Compare(clientv3.ModRevision(key), "=", revisions[i]))
				tx.Then(clientv3.OpPut(key, strconv.FormatInt(now[i], 10)))
			}
			return nil
		})
	}()
	tell("ready")
	select {
	case err := <-ended:
		return fmt.Errorf("moving ended: %w", err)
	case _, ok := <-orders():
		if !ok {
			return nil
		}
	}
	if err := rt.Stop(ctx); err != nil {
		return err
	}
	tell("left")
	return <-ended
}

// The accounts as one client would see them.

type readAccounts struct{}

var bankModel = porcupine.Model{
	Init: func() any {
		var all [numAccounts]int64
		for i := range all {
			all[i] = firstBalance
		}
		return all
	},
	Step: func(state, in, out any) (bool, any) {
		now := state.([numAccounts]int64)
		if m, ok := in.(transfer); ok {
			now[m.from] -= int64(m.amount)
			now[m.to] += int64(m.amount)
			return true, now
		}
		return out.([numAccounts]int64) == now, now
	},
	Equal: func(a, b any) bool { return a == b },
	Hash: func(state any) uint64 {
		h := uint64(14695981039346656037)
		for _, n := range state.([numAccounts]int64) {
			h = (h ^ uint64(n)) * 1099511628211
		}
		return h
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v %v", in, out) },
}

// Promise: each record that a transaction takes has its effects once: in the keys of its
// user, in the topic that it puts to, and in the group's place; whoever is killed, loses
// its session, or does not hear etcd's answers.
func TestTransfersHappenOnce(t *testing.T) {
	const transfers, ahead = 90, 6
	p := newParty(t, 3)
	receipts := makeTopic(t, p.rt, theReceipts, 1)
	etcd, ctx := harness.Client(t), harness.Context(t)
	for i := range numAccounts {
		if _, err := etcd.Put(ctx, accounts(p.ns)+strconv.Itoa(i), strconv.Itoa(firstBalance)); err != nil {
			t.Fatal(err)
		}
	}
	h := newHistory()
	moved, began := make(chan int, transfers), make([]atomic.Int64, transfers)
	reading, stopReading := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stopReading()
	var all []transfer
	random := rand.New(rand.NewPCG(1, 2))
	for id := range transfers {
		from := random.IntN(numAccounts)
		all = append(all, transfer{id, from, (from + 1 + random.IntN(numAccounts-1)) % numAccounts, 1 + random.IntN(9)})
	}
	seen := make(map[int]int)
	work.Go(func() {
		for r, err := range receipts.Read(reading, 0, penstock.FromEarliest()) {
			if err != nil {
				return
			}
			m, err := parseTransfer(r.Value)
			if err != nil || m != all[m.id] {
				t.Errorf("receipt %q: %v", r.Value, err)
				return
			}
			if seen[m.id]++; seen[m.id] == 1 {
				h.add(m.id%ahead, 0, began[m.id].Load(), h.now(), m, nil)
			} else {
				t.Errorf("transfer %d was made again", m.id)
			}
			moved <- m.id
		}
	})
	work.Go(func() {
		for reading.Err() == nil {
			call := h.now()
			if now, _, err := balances(reading, etcd, p.ns); err == nil {
				h.add(ahead, 0, call, h.now(), readAccounts{}, now)
			}
			select {
			case <-reading.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	mover := func(name string) *child { return p.spawn(t, roleMover, name, 2*time.Second) }
	first, second := mover("first"), mover("second")
	var third *child
	put, done := 0, 0
	for done < transfers {
		for put < transfers && put-done < ahead {
			began[put].Store(h.now())
			if _, _, err := p.topic.Put(ctx, all[put].message()); err != nil {
				t.Fatal(err)
			}
			put++
		}
		harness.Await(t, "a transfer", moved)
		switch done++; done {
		case transfers / 4:
			third = mover("third")
			first.kill(t)
		case transfers / 2:
			loseASession(t, etcd, p.ns, p.topic)
		case 3 * transfers / 4:
			second.kill(t)
		}
	}
	third.stop(t)
	stopReading()
	work.Wait()
	want := bankModel.Init().([numAccounts]int64)
	for _, m := range all {
		want[m.from] -= int64(m.amount)
		want[m.to] += int64(m.amount)
	}
	if now, _, err := balances(ctx, etcd, p.ns); err != nil || now != want {
		t.Errorf("the accounts have %d, %v, want %d", now, err, want)
	}
	if n := len(slices.Collect(maps.Keys(seen))); n != transfers {
		t.Errorf("%d transfers were made, want %d", n, transfers)
	}
	caughtUp(t, p.rt, theTopic, theGroup)
	h.check(t, bankModel)
}

// loseASession revokes the lease of a member that has a claim.
func loseASession(t *testing.T, etcd *clientv3.Client, ns string, topic *penstock.Topic) {
	t.Helper()
	ctx := harness.Context(t)
	resp, err := etcd.Get(ctx, keys.Space(ns).Claims(topic.Info().ID, theGroup), clientv3.WithPrefix(), clientv3.WithLimit(1))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return // they are moving anyway
	}
	if _, err := etcd.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
}

// Promise: PutIf puts at the end that its caller has read, and of several callers one.
func TestPutIfIsALockForNobody(t *testing.T) {
	const writers, each = 3, 12
	ns := penstocktest.Space(t)
	topic := makeTopic(t, harness.Runtime(t, ns), theTopic, 1)
	cfg := harness.Etcd.Config()
	cfg.DialOptions = append(cfg.DialOptions, penstocktest.DropReplies(5).Option())
	ctx := harness.Context(t)
	var all sync.WaitGroup
	for w := range writers {
		mine := openTopic(t, harness.Runtime(t, ns, penstock.EtcdConfig(cfg)), theTopic)
		all.Go(func() {
			for n, end := 0, int64(0); n < each; {
				value := fmt.Appendf(nil, "%d %d", w, end)
				_, offset, err := mine.PutIf(ctx, penstock.ExpectEnd(end), penstock.Message{Value: value})
				var conflict *penstock.ConflictError
				switch {
				case errors.As(err, &conflict) && conflict.End > end:
					end = conflict.End
				case err != nil || offset != end:
					t.Error(offset, err)
					return
				default:
					n++
					end++
				}
			}
		})
	}
	all.Wait()
	count := make(map[int]int)
	at := int64(0)
	for r, err := range topic.Read(ctx, 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		var w int
		var end int64
		if _, err := fmt.Sscan(string(r.Value), &w, &end); err != nil || end != at || r.Offset != at {
			t.Fatalf("at %d is %q, %v", r.Offset, r.Value, err)
		}
		count[w]++
		if at++; at == writers*each {
			break
		}
	}
	for w := range writers {
		if count[w] != each {
			t.Errorf("writer %d put %d, want %d", w, count[w], each)
		}
	}
}
