package senders

// A sender's keys in etcd: where members find it, and its token; and who keeps a sender
// out of a destination: a sole sender, or any where it wants to be the sole one. By their
// leases they are waited for or taken for alive.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
)

// writeKeys puts a sender's keys into etcd and keeps them there.
func (d *Destination) writeKeys(ctx context.Context) error {
	if d.written.Load() {
		return nil
	}
	name, at := d.cfg.Name, *d.at.Load()
	sender := d.entry(at)
	entries := []registry.Entry{sender}
	if secret := d.secret(links.AllGroups); secret != nil {
		secret.Guard = nil // it is new: nobody can have meant to delete it
		entries = append(entries, *secret)
	}
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
			Id: d.id, Urls: at.urls, PlainUrls: at.plain, Identities: at.identities, Incarnation: d.incarnation, Host: d.node.Host, SinceUnixMs: d.since.UnixMilli(), Version: node.Version(), Level: uint32(pb.LevelNow), Zone: d.node.Zone,
			Process: node.Process(), Machine: node.Machine(), AsksIdentity: d.asksIdentity,
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

// moveAgain is after how long a move is tried that could not be done.
const moveAgain = time.Second

func (a *destination) relisted(m relisted) {
	switch {
	case a.state != serving || !m.at.equal(*a.d.at.Load()):
	case m.err != nil:
		a.host.After(moveAgain, &readdressed{m.at})
	default:
		a.node.Events.Emit(messages.SenderMoved{Destination: a.d.cfg.Name, Sender: a.d.id, URLs: m.at.urls, Local: address.ThisMachineOnly(m.at.urls)})
	}
}

// removeKeys takes a sender's keys away. The groups stay, for the next sender
// and for as long as their KeepFor says.
func (d *Destination) removeKeys(ctx context.Context) error {
	name := d.cfg.Name
	keys := []string{d.node.Keys.Sender(name, d.id), d.node.Keys.Sole(name)}
	for _, group := range d.tokens.End() {
		keys = append(keys, d.secretKey(group))
	}
	var errs []error
	for some := range slices.Chunk(keys, registry.MaxBatch) {
		errs = append(errs, d.node.Registry.Remove(ctx, some...))
	}
	return errors.Join(errs...)
}

// forgetGeneration deletes what says which generation the tokens of a group are of that is
// gone. Who may not leaves it to others. That of the tokens for all groups stays: other
// senders, and those to come, obey it.
func (d *Destination) forgetGeneration(ctx context.Context, group string) error {
	if group == links.AllGroups {
		return nil
	}
	err := pipegroup.ForgetGeneration(ctx, d.node.Etcd.Control, d.node.Keys, d.cfg.Name, group)
	if errors.Is(err, messages.ErrDenied) {
		return nil
	}
	return err
}

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

// groupMetaOf reads settings; nil when they do not decode.
func groupMetaOf(value []byte) *pb.GroupMeta {
	meta := &pb.GroupMeta{}
	if proto.Unmarshal(value, meta) != nil {
		return nil
	}
	return meta
}
