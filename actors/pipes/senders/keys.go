package senders

// A sender's keys in etcd: where members find it, and its token.

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages/pb"
)

// writeKeys puts a sender's keys into etcd and keeps them there.
func (d *Destination) writeKeys(ctx context.Context) error {
	if d.written.Load() {
		return nil
	}
	name, at := d.cfg.Name, *d.at.Load()
	sender := d.entry(at)
	secret := registry.Entry{
		Key: d.node.Keys.Secret(name, d.id), Leased: true,
		Value: node.Marshal(&pb.Secret{Token: d.token, Incarnation: d.incarnation}),
	}
	entries := []registry.Entry{sender, secret}
	if d.cfg.SoleSender {
		entries = append(entries, registry.Entry{Key: d.node.Keys.Sole(name), Value: []byte(d.id), Leased: true})
	}
	defer d.wait.Done()
	for watch := make(soleWatch); ; {
		err := d.node.PutWhenFree(ctx, &d.wait, entries...)
		var taken *discovery.TakenError
		switch {
		case errors.Is(err, discovery.ErrGuard), errors.As(err, &taken) && taken.Key == d.node.Keys.Sole(name):
		case err == nil:
			d.listed.Store(&at)
			return nil
		default:
			return err
		}
		if err := d.awaitSole(ctx, watch); err != nil {
			return err
		}
	}
}

// entry is the key that says where members find a sender. A sole sender's
// mark keeps others out for as long as its session lives; whoever is there already
// keeps a sole sender out. So it is too when the key is put back.
func (d *Destination) entry(at where) registry.Entry {
	alone := discovery.Absent(d.node.Keys.Sole(d.cfg.Name))
	if d.cfg.SoleSender {
		alone = discovery.AbsentUnder(d.node.Keys.Senders(d.cfg.Name))
	}
	return registry.Entry{
		Key: d.node.Keys.Sender(d.cfg.Name, d.id), Leased: true, Guard: []discovery.Guard{alone},
		Value: node.Marshal(&pb.Sender{
			Id: d.id, Urls: at.urls, Identities: at.identities, Incarnation: d.incarnation, Host: d.node.Host, SinceUnixMs: d.since.UnixMilli(), Version: node.Version(),
		}),
	}
}

// moveKeys writes where members find a sender now.
func (d *Destination) moveKeys(ctx context.Context) error {
	at := *d.at.Load()
	err := d.node.Registry.Put(ctx, d.entry(at))
	if err == nil {
		d.listed.Store(&at)
	}
	return err
}

// removeKeys takes a sender's keys away. The groups stay, for the next sender
// and for as long as their KeepFor says.
func (d *Destination) removeKeys(ctx context.Context) error {
	name := d.cfg.Name
	return d.node.Registry.Remove(ctx, d.node.Keys.Sender(name, d.id), d.node.Keys.Secret(name, d.id), d.node.Keys.Sole(name))
}
