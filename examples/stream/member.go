package main

// A member of the group.

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// commitEvery is how many records a member handles between two commits.
const commitEvery = 100

type member struct {
	name  string
	rt    *penstock.Runtime
	sub   *penstock.Subscription
	stop  context.CancelFunc
	ended chan struct{} // closed when the loop is over
}

// join subscribes a member and begins its loop, which tells failed why it ended
// unless it was asked to.
func join(ctx context.Context, etcd *embedded.Server, name string, handled *ledger, failed chan<- error) (*member, error) {
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()))
	if err != nil {
		return nil, err
	}
	topic, err := rt.Topic(ctx, topicName)
	if err != nil {
		return nil, err
	}
	// A partition that goes to the other member takes along what was handled
	// since the last commit, which would else be handled again.
	nothingToWrite := func(context.Context, []int) error { return nil }
	sub, err := topic.Subscribe(ctx, groupName, penstock.MemberID(name), penstock.ManualCommit(), penstock.BeforeRelease(nothingToWrite))
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	m := &member{name: name, rt: rt, sub: sub, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		if err := m.read(reading, handled); err != nil && reading.Err() == nil {
			failed <- fmt.Errorf("member %s: %w", name, err)
		}
	}()
	return m, nil
}

func (m *member) read(ctx context.Context, handled *ledger) error {
	n := 0
	for r, err := range m.sub.Records(ctx) {
		if err != nil {
			return err
		}
		handled.note(r)
		if n++; n%commitEvery != 0 {
			continue
		}
		// This commits all that is finished; taking the next record finishes
		// this one.
		switch err := m.sub.Commit(ctx); {
		case errors.Is(err, penstock.ErrFenced):
			log.Printf("%s lost a partition: %v", m.name, err) // the others are committed
		case ctx.Err() != nil:
			// To return here would break the loop with its record unfinished;
			// the next turn finishes it, and leaving commits.
			continue
		case err != nil:
			return err
		}
		log.Printf("%s handled %d, partitions %d, the last %q at %d/%d", m.name, n, m.sub.Partitions(), r.Value, r.Partition, r.Offset)
	}
	return nil
}

// leave ends the loop after the record in hand, and gives the partitions to the
// others.
func (m *member) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	m.stop()
	<-m.ended
	err := errors.Join(m.sub.Unsubscribe(ctx), m.rt.Stop(ctx))
	log.Printf("%s has left", m.name)
	return err
}
