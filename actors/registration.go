package actors

// The engine's keys in etcd: who sends, who is a member, which groups there are.

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
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

// writeSender puts a sender's keys into etcd and keeps them there. A sole
// sender's mark keeps others out for as long as its session lives; whoever is
// there already keeps a sole sender out.
func (e *Engine) writeSender(ctx context.Context, d *Destination) error {
	if d.written.Load() {
		return nil
	}
	name := d.out.name
	sender := discovery.Entry{
		Key: e.space.Sender(name, d.id), Leased: true,
		Value: marshal(&pb.Sender{
			Id: d.id, Urls: []string{d.url}, Incarnation: d.incarnation, Host: e.host, SinceUnixMs: time.Now().UnixMilli(),
		}),
		Guard: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(e.space.Sole(name)), "=", 0)},
	}
	secret := discovery.Entry{
		Key: e.space.Secret(name, d.id), Leased: true,
		Value: marshal(&pb.Secret{Token: d.token, Incarnation: d.incarnation}),
	}
	entries := []discovery.Entry{sender, secret}
	if d.out.cfg.SoleSender {
		entries[0].Guard = []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(e.space.Senders(name)), "=", 0).WithPrefix()}
		entries = append(entries, discovery.Entry{Key: e.space.Sole(name), Value: []byte(d.id), Leased: true})
	}
	err := e.keeper.PutAll(ctx, entries)
	var taken *discovery.TakenError
	if errors.Is(err, discovery.ErrGuard) || errors.As(err, &taken) && taken.Key == e.space.Sole(name) {
		return messages.ErrDestinationTaken
	}
	return err
}

// removeSender takes a sender's keys away; the last one takes the groups along
// that nobody is in. Members that live wait for the next sender.
func (e *Engine) removeSender(ctx context.Context, d *Destination) error {
	name := d.out.name
	if err := e.keeper.Remove(ctx, e.space.Sender(name, d.id), e.space.Secret(name, d.id), e.space.Sole(name)); err != nil {
		return err
	}
	return e.dropOrphans(ctx, name)
}

// dropOrphans removes a destination's groups that have neither members nor a
// sender.
func (e *Engine) dropOrphans(ctx context.Context, name string) error {
	groups, _, err := discovery.List(ctx, e.etcd.Control, e.space.Groups(name))
	if err != nil {
		return err
	}
	for _, kv := range groups {
		if k, ok := e.space.Parse(kv.Key); ok && k.Kind == keys.KindGroupMeta {
			if err := e.dropOrphan(ctx, name, k.Group); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropOrphan removes a group that has neither members nor a sender.
func (e *Engine) dropOrphan(ctx context.Context, dest, group string) error {
	_, err := e.etcd.Control.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(e.space.Senders(dest)), "=", 0).WithPrefix(),
		clientv3.Compare(clientv3.CreateRevision(e.space.Members(dest, group)), "=", 0).WithPrefix(),
	).Then(e.forgetGroup(dest, group)...).Commit()
	return discovery.Classify("remove the group", err)
}

// writeMember agrees on the group's settings and keeps the member's key.
func (e *Engine) writeMember(ctx context.Context, m *Member) error {
	if m.written.Load() {
		return nil
	}
	cfg := m.in.cfg
	key, mine := e.space.GroupMeta(cfg.Destination, cfg.Group), marshal(cfg.group().meta())
	got, created, err := e.createOrGet(ctx, key, mine)
	if err != nil {
		return err
	}
	if !created {
		meta := &pb.GroupMeta{}
		if err := proto.Unmarshal(got, meta); err != nil {
			return fmt.Errorf("%s: %w: %w", key, messages.ErrCorrupt, err)
		}
		have, err := settingsOf(meta.Mode, meta.Policy, meta.KeepForMs)
		if err != nil {
			return err
		}
		if !have.agrees(cfg.group()) {
			return fmt.Errorf("it is %s with queue policy %s, not %s with %s: %w",
				have.Mode, have.Policy, cfg.Mode, cfg.Policy, messages.ErrGroupMode)
		}
	}
	member := &pb.Member{
		Id: cfg.ID, Incarnation: m.incarnation, Host: e.host,
		SinceUnixMs: time.Now().UnixMilli(), Window: uint32(cfg.Window),
	}
	err = e.keeper.PutAll(ctx, []discovery.Entry{
		{Key: key, Value: got},
		{Key: e.space.Member(cfg.Destination, cfg.Group, cfg.ID), Value: marshal(member), Leased: true},
	})
	if err != nil {
		return err
	}
	// After the member's key, so that nobody writes it again.
	_, err = e.etcd.Control.Delete(ctx, e.space.Deserted(cfg.Destination, cfg.Group))
	return discovery.Classify("join the group", err)
}

// removeMember takes the member's key away. The group stays, for its other
// members and for as long as its KeepFor says.
func (e *Engine) removeMember(ctx context.Context, m *Member) error {
	cfg := m.in.cfg
	if e.stats.members(cfg.Destination, cfg.Group) == 1 {
		e.keeper.Forget(e.space.GroupMeta(cfg.Destination, cfg.Group))
	}
	if err := e.keeper.Remove(ctx, e.space.Member(cfg.Destination, cfg.Group, cfg.ID)); err != nil {
		return err
	}
	_, err := e.desertedSince(ctx, cfg.Destination, cfg.Group)
	return err
}

// desertedSince answers since when a group has had no member, and writes it down
// where nobody has: senders that come and go count on from there. It answers
// the zero time when somebody is in.
func (e *Engine) desertedSince(ctx context.Context, dest, group string) (time.Time, error) {
	key, now := e.space.Deserted(dest, group), time.Now()
	resp, err := e.etcd.Control.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(e.space.Members(dest, group)), "=", 0).WithPrefix()).
		Then(clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
			[]clientv3.Op{clientv3.OpPut(key, now.UTC().Format(time.RFC3339Nano))},
			[]clientv3.Op{clientv3.OpGet(key)},
		)).Commit()
	if err != nil {
		return time.Time{}, discovery.Classify("write since when the group has no member", err)
	}
	if !resp.Succeeded {
		return time.Time{}, nil
	}
	inner := resp.Responses[0].GetResponseTxn()
	if inner.Succeeded {
		return now, nil
	}
	since, err := time.Parse(time.RFC3339Nano, string(inner.Responses[0].GetResponseRange().Kvs[0].Value))
	if err != nil || since.After(now) { // another host's clock
		return now, nil
	}
	return since, nil
}

// forgetGroup deletes what is known of a group without members.
func (e *Engine) forgetGroup(dest, group string) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpDelete(e.space.GroupMeta(dest, group)), clientv3.OpDelete(e.space.Deserted(dest, group)),
	}
}

// dropGroup removes a group that nobody is in, and tells whether that was so.
func (e *Engine) dropGroup(ctx context.Context, dest, group string) (gone bool, err error) {
	nobody := clientv3.Compare(clientv3.CreateRevision(e.space.Members(dest, group)), "=", 0).WithPrefix()
	resp, err := e.etcd.Control.Txn(ctx).If(nobody).Then(e.forgetGroup(dest, group)...).Commit()
	if err != nil {
		return false, discovery.Classify("remove the group", err)
	}
	return resp.Succeeded, nil
}

// secret reads a sender's token.
func (e *Engine) secret(ctx context.Context, dest, id string) ([]byte, error) {
	resp, err := e.etcd.Control.Get(ctx, e.space.Secret(dest, id))
	if err != nil {
		return nil, discovery.Classify("read the sender's secret", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, fmt.Errorf("sender %q has no secret in etcd (any more): %w", id, messages.ErrUnavailable)
	}
	return resp.Kvs[0].Value, nil
}

// createOrGet writes key if it is absent, and answers what it holds.
func (e *Engine) createOrGet(ctx context.Context, key string, value []byte) (got []byte, created bool, err error) {
	resp, err := e.etcd.Control.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return nil, false, discovery.Classify("write "+key, err)
	}
	if resp.Succeeded {
		return value, true, nil
	}
	return resp.Responses[0].GetResponseRange().Kvs[0].Value, false, nil
}

func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // every string in it was validated
	}
	return b
}
