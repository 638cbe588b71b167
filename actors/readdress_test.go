package actors

import (
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: a sender whose machine gets another address is found there: etcd has
// the new URLs, of a sole sender too, and an event says so.
func TestSenderMoves(t *testing.T) {
	ctx, e := beginAlone(t, Config{})
	for name, sole := range map[string]bool{"shared": false, "alone": true} {
		d, err := e.Register(ctx, DestinationConfig{Name: name, SoleSender: sole})
		if err != nil {
			t.Fatal(err)
		}
		urls := []string{"tcp://127.0.0.9:7", "tcp://[::1]:7"}
		events := e.Events(ctx)
		e.node.Send(d.PID(), &readdressed{urls})
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
		got, err := e.node.Etcd.Control.Get(ctx, e.node.Keys.Sender(name, d.ID()))
		if err != nil || len(got.Kvs) != 1 {
			t.Fatal(got, err)
		}
		sender := &pb.Sender{}
		if err := proto.Unmarshal(got.Kvs[0].Value, sender); err != nil || !slices.Equal(sender.Urls, urls) || d.URL() != urls[0] {
			t.Errorf("%s: etcd has %v, %v", name, sender.Urls, err)
		}
	}
}

// Promise: a sole sender that moved shares its destination with nobody: when its
// lease was lost and another sender came, it ends.
func TestSoleSenderMovesAndStaysAlone(t *testing.T) {
	t.Parallel()
	ctx, e := beginAlone(t, Config{LeaseTTL: 2 * time.Second})
	d, err := e.Register(ctx, DestinationConfig{Name: "alone", SoleSender: true, DropWithoutGroup: true})
	if err != nil {
		t.Fatal(err)
	}
	urls := []string{"tcp://127.0.0.9:7"}
	e.node.Send(d.PID(), &readdressed{urls})
	until(t, "etcd has the new URLs", func() bool { has := d.listed.Load(); return has != nil && slices.Equal(*has, urls) })
	if _, err := e.node.Etcd.Control.Put(ctx, e.node.Keys.Sender("alone", "other"), "of another"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.node.Etcd.Control.Revoke(ctx, clientv3.LeaseID(e.Lease())); err != nil {
		t.Fatal(err)
	}
	until(t, "it is told that its destination is taken", func() bool {
		return errors.Is(d.Send(ctx, messages.Message{}), messages.ErrDestinationTaken)
	})
}

// Promise: a move that a crash of ours cut short, or of which an actor that ended
// had not told yet, is made up for.
func TestSenderMovesThoughActorsFail(t *testing.T) {
	ctx, e := beginAlone(t, Config{})
	bug := Crash{errors.New("a bug")}
	for name, fails := range map[string]func(*Destination, []string){
		"cut-short": func(d *Destination, urls []string) {
			e.node.Send(d.PID(), &readdressed{urls})
			e.node.Send(d.PID(), bug)
		},
		"while-it-began": func(d *Destination, urls []string) {
			e.node.Send(d.PID(), bug)
			e.node.Send(d.PID(), &readdressed{urls})
			e.node.Send(d.PID(), bug)
		},
		"not-told": func(d *Destination, urls []string) {
			d.urls.Store(&urls) // as the engine's actor does that finds the listener at other URLs
			e.node.Send(d.PID(), bug)
		},
	} {
		d, err := e.Register(ctx, DestinationConfig{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		urls := []string{"tcp://127.0.0.9:7", "tcp://[::1]:7"}
		fails(d, urls)
		until(t, name+": etcd has the new URLs", func() bool {
			got, err := e.node.Etcd.Control.Get(ctx, e.node.Keys.Sender(name, d.ID()))
			if err != nil || len(got.Kvs) != 1 {
				t.Fatalf("%s: etcd has %v, %v", name, got, err)
			}
			sender := &pb.Sender{}
			if err := proto.Unmarshal(got.Kvs[0].Value, sender); err != nil {
				t.Fatal(err)
			}
			return slices.Equal(sender.Urls, urls)
		})
	}
}
