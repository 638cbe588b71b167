package senders_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// urlsInEtcd returns where etcd says that a sender is.
func urlsInEtcd(t *testing.T, s enginetest.Space, c *clientv3.Client, d *senders.Destination) []string {
	t.Helper()
	got, err := c.Get(enginetest.Within(t), s.Keys.Sender(d.Name(), d.ID()))
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%s: etcd has %v, %v", d.Name(), got, err)
	}
	sender := &pb.Sender{}
	if err := proto.Unmarshal(got.Kvs[0].Value, sender); err != nil {
		t.Fatal(err)
	}
	return sender.Urls
}

// Promise: a sender whose machine gets another address is found there: etcd has
// the new URLs, of a sole sender too, and an event says so.
func TestSenderMoves(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	for name, sole := range map[string]bool{"shared": false, "alone": true} {
		d := enginetest.Register(t, e, senders.Config{Name: name, SoleSender: sole})
		urls := []string{"tcp://127.0.0.9:7", "tcp://[::1]:7"}
		events := e.Events(ctx)
		e.System().Root.Send(d.PID(), senders.Readdressed(urls))
		var moved *messages.SenderMoved
		for ev := range events {
			if m, ok := ev.(messages.SenderMoved); ok && m.Destination == name {
				moved = &m
				break
			}
		}
		if moved == nil || !slices.Equal(moved.URLs, urls) || !moved.Local {
			t.Errorf("%s: %+v", name, moved)
		}
		if has := urlsInEtcd(t, s, c, d); !slices.Equal(has, urls) || d.URL() != urls[0] {
			t.Errorf("%s: etcd has %v, the handle %s", name, has, d.URL())
		}
	}
}

// Promise: a sole sender that moved shares its destination with nobody: when its
// lease was lost and another sender came, it ends.
func TestSoleSenderMovesAndStaysAlone(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t, func(cfg *actors.Config) { cfg.LeaseTTL = 2 * time.Second }), s.Client(t)
	d := enginetest.Register(t, e, senders.Config{Name: "alone", SoleSender: true, DropWithoutGroup: true})
	urls := []string{"tcp://127.0.0.9:7"}
	e.System().Root.Send(d.PID(), senders.Readdressed(urls))
	enginetest.Until(t, "etcd has the new URLs", func() bool { return slices.Equal(d.Listed(), urls) })
	if _, err := c.Put(ctx, s.Keys.Sender("alone", "other"), "of another"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(ctx, clientv3.LeaseID(e.Lease())); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "it is told that its destination is taken", func() bool {
		return errors.Is(d.Send(ctx, messages.Message{}), messages.ErrDestinationTaken)
	})
}

// Promise: a move that a crash of ours cut short, or of which an actor that ended
// had not told yet, is made up for.
func TestSenderMovesThoughActorsFail(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	send := func(d *senders.Destination, msg any) { e.System().Root.Send(d.PID(), msg) }
	bug := node.Crash{Err: errors.New("a bug")}
	for name, fails := range map[string]func(*senders.Destination, []string){
		"cut-short": func(d *senders.Destination, urls []string) {
			send(d, senders.Readdressed(urls))
			send(d, bug)
		},
		"while-it-began": func(d *senders.Destination, urls []string) {
			send(d, bug)
			send(d, senders.Readdressed(urls))
			send(d, bug)
		},
		"not-told": func(d *senders.Destination, urls []string) {
			d.SetURLs(urls)
			send(d, bug)
		},
	} {
		d := enginetest.Register(t, e, senders.Config{Name: name})
		urls := []string{"tcp://127.0.0.9:7", "tcp://[::1]:7"}
		fails(d, urls)
		enginetest.Until(t, name+": etcd has the new URLs", func() bool { return slices.Equal(urlsInEtcd(t, s, c, d), urls) })
	}
}
