package members

// A member's key in etcd and its group's settings, and the secrets of senders.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// writeKeys agrees on the group's settings and keeps the member's key.
func (m *Member) writeKeys(ctx context.Context) error {
	if m.written.Load() {
		return nil
	}
	cfg := m.cfg
	group := pipegroup.At(m.node.Keys, cfg.Destination, cfg.Group)
	meta, err := m.node.Groups.Attend(ctx, group, node.Marshal(cfg.group().Meta()), cfg.agree)
	if err != nil {
		return err
	}
	member := &pb.Member{
		Id: cfg.ID, Incarnation: m.incarnation, Host: m.node.Host,
		SinceUnixMs: time.Now().UnixMilli(), Window: uint32(cfg.Window), Tls: m.links.Level(), Level: uint32(pb.LevelNow), Zone: m.node.Zone,
	}
	err = m.node.PutWhenFree(ctx, &m.wait,
		registry.Entry{Key: m.node.Keys.Member(cfg.Destination, cfg.Group, cfg.ID), Value: node.Marshal(member), Leased: true})
	if err != nil {
		return err
	}
	m.node.Groups.Hold(group, cfg.ID, meta)
	_, err = m.node.Groups.Attend(ctx, group, meta, cfg.agree)
	return err
}

// agree judges the settings of a group that is there.
func (c *Config) agree(meta *pb.GroupMeta) error {
	have, err := messages.GroupSettingsOf(meta.Mode, meta.Policy, meta.KeepForMs)
	if err != nil {
		return err
	}
	return have.Differ(c.group())
}

// removeKeys takes the member's key away. The group stays, for its other
// members and for as long as its KeepFor says.
func (m *Member) removeKeys(ctx context.Context) error {
	cfg := m.cfg
	group := pipegroup.At(m.node.Keys, cfg.Destination, cfg.Group)
	err := errors.Join(
		m.node.Groups.Release(ctx, group, cfg.ID),
		m.node.Registry.Remove(ctx, m.node.Keys.Member(cfg.Destination, cfg.Group, cfg.ID)),
	)
	if err != nil {
		return err
	}
	// One that was refused was never in, and prolongs nothing.
	_, err = m.node.Groups.Desert(ctx, group, m.written.Load())
	return err
}

// How long a member waits for the token of its group, which a sender writes when it hears
// of the group, and how soon it looks again.
const (
	tokenWait  = time.Second
	tokenFirst = 5 * time.Millisecond
)

// secretOf reads a sender's token: that of the group, else the one for all groups, which
// is all that older senders have.
func secretOf(ctx context.Context, n *node.Node, dest, group string, sender *pb.Sender) ([]byte, error) {
	if pb.Level(sender.Level) >= pb.LevelProofs {
		for again, until := tokenFirst, time.Now().Add(tokenWait); ; again *= 2 {
			value, err := read(ctx, n, n.Keys.GroupSecret(dest, group, sender.Id))
			if value != nil {
				return value, nil
			}
			if errors.Is(err, messages.ErrDenied) || time.Now().After(until) {
				break
			}
			if err != nil {
				return nil, err
			}
			select {
			case <-time.After(again):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	value, err := read(ctx, n, n.Keys.Secret(dest, sender.Id))
	if err == nil && value == nil {
		err = fmt.Errorf("sender %q has no secret in etcd (any more): %w", sender.Id, messages.ErrUnavailable)
	}
	return value, err
}

// read reads a token; nil where there is none.
func read(ctx context.Context, n *node.Node, key string) ([]byte, error) {
	kv, exists, err := discovery.Get(ctx, n.Etcd.Control, key)
	if err != nil {
		return nil, fmt.Errorf("read the sender's secret: %w", err)
	}
	if !exists {
		return nil, nil
	}
	return kv.Value, nil
}
