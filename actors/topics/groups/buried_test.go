package groups_test

// Promise: a consumer that is taken for dead and lives is fenced as by a lease that
// ended: what it has in hand it cannot commit, and it comes back.

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/internal/peers"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestTakenForDead(t *testing.T) {
	ctx := enginetest.Within(t)
	s := enginetest.NewSpace(t)
	behind, gate := s.Behind(t, "no request has this")
	begin := func(at enginetest.Space, id string) (*actors.Engine, *actors.Topic, *groups.Subscription) {
		e := at.Begin(t)
		topic, err := e.EnsureTopic(ctx, "audit", messages.TopicConfig{Partitions: 2}, topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe(ctx, groups.Config{Group: "readers", ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return e, topic, sub
	}
	first, topic, accuser := begin(s, "accuser")
	for p := range 2 {
		if r := topic.PutTo(ctx, p, messages.Message{Value: []byte("a record")}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	second, _, accused := begin(behind, "accused")
	enginetest.Until(t, "a partition for each", func() bool { return len(accuser.Partitions()) == 1 && len(accused.Partitions()) == 1 })
	held, err := accused.Poll(ctx, 10)
	if err != nil || len(held) != 1 {
		t.Fatalf("%v, %v", held, err)
	}
	lease := second.Lease()

	key := s.Keys.ConsumerMember(topic.Info().ID, "readers", "accused")
	resp, err := s.Client(t).Get(ctx, key)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatal(resp, err)
	}
	m := &pb.ConsumerMember{}
	if err := proto.Unmarshal(resp.Kvs[0].Value, m); err != nil {
		t.Fatal(err)
	}
	token := string(m.GetWatched().GetToken())
	if token == "" {
		t.Fatal("the member does not say what it is watched by")
	}
	gate.Shut() // it hears nothing of what follows
	first.System().Root.Send(accuser.PID(), &peers.Ended{Token: token})
	enginetest.Until(t, "all for the accuser", func() bool { return len(accuser.Partitions()) == 2 })
	taken := make(map[int]messages.Record)
	for len(taken) < 2 {
		recs, err := accuser.Poll(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			taken[r.Partition] = r
		}
		if err := errors.Join(accuser.Commit(ctx, recs...), accuser.Release()); err != nil {
			t.Fatal(err)
		}
	}
	if next := taken[held[0].Partition]; next.Offset != held[0].Offset || next.Fence <= held[0].Fence {
		t.Errorf("in hand was %+v, and then %+v", held[0], next)
	}
	gate.Open()
	if err := accused.Commit(ctx, held...); !errors.Is(err, messages.ErrFenced) {
		t.Errorf("the commit of what it had in hand: %v", err)
	}
	enginetest.Until(t, "a partition for each again", func() bool { return len(accuser.Partitions()) == 1 && len(accused.Partitions()) == 1 })
	again := accused.Partitions()[0]
	if r := topic.PutTo(ctx, again, messages.Message{Value: []byte("another")}); r.Err != nil {
		t.Fatal(r.Err)
	}
	recs, err := accused.Poll(ctx, 10)
	if err != nil || len(recs) != 1 || recs[0].Partition != again || string(recs[0].Value) != "another" {
		t.Fatalf("%+v, %v", recs, err)
	}
	if err := accused.Commit(ctx, recs...); err != nil {
		t.Error(err)
	}
	if second.Lease() != lease {
		t.Error("its session was lost: this showed nothing")
	}
}
