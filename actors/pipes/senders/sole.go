package senders

// Who keeps a sender out: a sole sender, or any sender where it wants to be the
// sole one. By their leases they are waited for or taken for alive.

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
)

// soleWatch judges the senders that keep another one out, by their leases.
type soleWatch map[clientv3.LeaseID]*node.HolderWatch

// awaitSole waits a while for the senders that keep d out. It is
// messages.ErrDestinationTaken when one of them lives.
func (d *Destination) awaitSole(ctx context.Context, watch soleWatch) error {
	name := d.cfg.Name
	found, err := discovery.GetWith(ctx, d.node.Etcd.Control, d.node.Keys.Sole(name), d.node.Keys.Senders(name), 100)
	if err != nil {
		return errors.Join(messages.ErrDestinationTaken, fmt.Errorf("ask who sends: %w", err))
	}
	for _, kv := range found {
		if err := d.judgeSole(ctx, watch, kv); err != nil {
			return err
		}
	}
	select {
	case <-time.After(node.HolderEvery):
		return nil
	case <-ctx.Done():
		return errors.Join(messages.ErrDestinationTaken, context.Cause(ctx))
	}
}

func (d *Destination) judgeSole(ctx context.Context, watch soleWatch, kv discovery.KV) error {
	lease := kv.Lease
	if lease != 0 && d.node.Registry.Astray(kv.Key) {
		// Of a registration of this process that was given up.
		return d.node.Registry.Remove(ctx, kv.Key)
	}
	if lease == 0 || int64(lease) == d.node.Lease.Load() {
		return fmt.Errorf("%s: %w", kv.Key, messages.ErrDestinationTaken)
	}
	left, err := discovery.LeaseLeft(ctx, d.node.Etcd.Control, lease)
	if err != nil {
		return errors.Join(messages.ErrDestinationTaken, err)
	}
	if left == 0 {
		return nil // it goes
	}
	k, _ := d.node.Keys.Parse(kv.Key)
	who := node.HolderOf(k, kv.Value)
	w := watch[lease]
	if w == nil {
		w = &node.HolderWatch{}
		watch[lease] = w
		d.node.Events.Emit(messages.RegistrationAwaited{Key: kv.Key, Holder: who, Left: left})
	}
	if w.Sees(time.Now(), lease, left) {
		return fmt.Errorf("%s: %s renews its lease: %w", kv.Key, who, messages.ErrDestinationTaken)
	}
	text := fmt.Sprintf("%s is held by %s, for %s at most if that has ended", kv.Key, who, left)
	d.wait.On(text, true)
	return nil
}
