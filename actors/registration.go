package actors

// The engine's keys in etcd: who sends, who is a member, which groups there are.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// keyWrite is the writing of an actor's keys, which may have to be cut short:
// what is removed while it is under way would come after it.
type keyWrite struct {
	ctx    context.Context
	cancel context.CancelFunc
	over   chan struct{}
}

func beginWrite(ctx context.Context) *keyWrite {
	w := &keyWrite{over: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// do performs the write. It is called once, by a hosted call.
func (w *keyWrite) do(write func(context.Context) error) error {
	defer close(w.over)
	return write(w.ctx)
}

// cut ends the write and waits for its end.
func (w *keyWrite) cut() {
	w.cancel()
	<-w.over
}

// writeSender puts a sender's keys into etcd and keeps them there.
func (e *Engine) writeSender(ctx context.Context, d *Destination) error {
	if d.written.Load() {
		return nil
	}
	name, urls := d.cfg.Name, d.URLs()
	sender := e.senderEntry(d, urls)
	secret := registry.Entry{
		Key: e.space.Secret(name, d.id), Leased: true,
		Value: marshal(&pb.Secret{Token: d.token, Incarnation: d.incarnation}),
	}
	entries := []registry.Entry{sender, secret}
	if d.cfg.SoleSender {
		entries = append(entries, registry.Entry{Key: e.space.Sole(name), Value: []byte(d.id), Leased: true})
	}
	defer d.wait.holder.Store(nil)
	for watch := make(soleWatch); ; {
		err := e.putWhenFree(ctx, &d.wait, entries...)
		var taken *discovery.TakenError
		switch {
		case errors.Is(err, discovery.ErrGuard), errors.As(err, &taken) && taken.Key == e.space.Sole(name):
		case err == nil:
			d.listed.Store(&urls)
			return nil
		default:
			return err
		}
		if err := e.awaitSole(ctx, d, watch); err != nil {
			return err
		}
	}
}

// senderEntry is the key that says where members find a sender. A sole sender's
// mark keeps others out for as long as its session lives; whoever is there already
// keeps a sole sender out. So it is too when the key is put back.
func (e *Engine) senderEntry(d *Destination, urls []string) registry.Entry {
	alone := discovery.Absent(e.space.Sole(d.cfg.Name))
	if d.cfg.SoleSender {
		alone = discovery.AbsentUnder(e.space.Senders(d.cfg.Name))
	}
	return registry.Entry{
		Key: e.space.Sender(d.cfg.Name, d.id), Leased: true, Guard: []discovery.Guard{alone},
		Value: marshal(&pb.Sender{
			Id: d.id, Urls: urls, Incarnation: d.incarnation, Host: e.host, SinceUnixMs: d.since.UnixMilli(),
		}),
	}
}

// moveSender writes where members find a sender now.
func (e *Engine) moveSender(ctx context.Context, d *Destination) error {
	urls := d.URLs()
	err := e.keeper.Put(ctx, e.senderEntry(d, urls))
	if err == nil {
		d.listed.Store(&urls)
	}
	return err
}

// removeSender takes a sender's keys away. The groups stay, for the next sender
// and for as long as their KeepFor says.
func (e *Engine) removeSender(ctx context.Context, d *Destination) error {
	name := d.cfg.Name
	return e.keeper.Remove(ctx, e.space.Sender(name, d.id), e.space.Secret(name, d.id), e.space.Sole(name))
}

// groupKeys are a group's keys.
func (e *Engine) groupKeys(dest, group string) pipegroup.Keys {
	return pipegroup.Keys{
		Meta: e.space.GroupMeta(dest, group), Deserted: e.space.Deserted(dest, group), Members: e.space.Members(dest, group),
	}
}

// writeMember agrees on the group's settings and keeps the member's key.
func (e *Engine) writeMember(ctx context.Context, m *Member) error {
	if m.written.Load() {
		return nil
	}
	cfg := m.in.cfg
	group := e.groupKeys(cfg.Destination, cfg.Group)
	agree := func(meta *pb.GroupMeta) error {
		have, err := messages.GroupSettingsOf(meta.Mode, meta.Policy, meta.KeepForMs)
		if err != nil {
			return err
		}
		return have.Differ(cfg.group())
	}
	meta, err := e.groups.Attend(ctx, group, marshal(cfg.group().Meta()), agree)
	if err != nil {
		return err
	}
	member := &pb.Member{
		Id: cfg.ID, Incarnation: m.incarnation, Host: e.host,
		SinceUnixMs: time.Now().UnixMilli(), Window: uint32(cfg.Window),
	}
	err = e.putWhenFree(ctx, &m.wait,
		registry.Entry{Key: e.space.Member(cfg.Destination, cfg.Group, cfg.ID), Value: marshal(member), Leased: true})
	if err != nil {
		return err
	}
	e.groups.Hold(group, cfg.ID, meta)
	_, err = e.groups.Attend(ctx, group, meta, agree)
	return err
}

// removeMember takes the member's key away. The group stays, for its other
// members and for as long as its KeepFor says.
func (e *Engine) removeMember(ctx context.Context, m *Member) error {
	cfg := m.in.cfg
	group := e.groupKeys(cfg.Destination, cfg.Group)
	err := errors.Join(
		e.groups.Release(ctx, group, cfg.ID),
		e.keeper.Remove(ctx, e.space.Member(cfg.Destination, cfg.Group, cfg.ID)),
	)
	if err != nil {
		return err
	}
	// One that was refused was never in, and prolongs nothing.
	_, err = e.groups.Desert(ctx, group, m.written.Load())
	return err
}

// secret reads a sender's token.
func (e *Engine) secret(ctx context.Context, dest, id string) ([]byte, error) {
	kv, exists, err := discovery.Get(ctx, e.etcd.Control, e.space.Secret(dest, id))
	if err != nil {
		return nil, fmt.Errorf("read the sender's secret: %w", err)
	}
	if !exists {
		return nil, fmt.Errorf("sender %q has no secret in etcd (any more): %w", id, messages.ErrUnavailable)
	}
	return kv.Value, nil
}

func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // every string in it was validated
	}
	return b
}
