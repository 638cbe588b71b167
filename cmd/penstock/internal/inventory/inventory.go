package inventory

// Destinations, their senders, groups and members; topics.

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Inventory is everything under a prefix, for people and programs.
type Inventory struct {
	Destinations []*Destination `json:"destinations"`
	Topics       []Topic        `json:"topics"`
	// Unreadable are keys whose value does not decode.
	Unreadable []string `json:"unreadable,omitempty"`
	// Denied says which keys etcd's roles do not let us read.
	Denied []string `json:"denied,omitempty"`
}

// Read reads destinations and topics, or as many of them as user may. Where that is
// none at all the error is etcd's refusal, which wraps penstock.ErrDenied.
func Read(ctx context.Context, client *clientv3.Client, user string, space keys.Space) (*Inventory, error) {
	dests, noDests, err := readable(ctx, client, user, space.Dests())
	if err != nil && !errors.Is(err, penstock.ErrDenied) {
		return nil, err
	}
	topics, noTopics, terr := readable(ctx, client, user, space.Topics())
	if terr != nil && !errors.Is(terr, penstock.ErrDenied) {
		return nil, terr
	}
	if err != nil && terr != nil {
		return nil, err
	}
	inv := Of(space, dests)
	inv.TakeTopics(space, topics)
	for _, e := range []error{err, noDests, terr, noTopics} {
		if e != nil {
			inv.Denied = append(inv.Denied, e.Error())
		}
	}
	return inv, nil
}

// Destination is a destination of pipes.
type Destination struct {
	Name    string   `json:"name"`
	Sole    string   `json:"sole_sender,omitempty"` // the id of the only sender allowed
	Senders []Sender `json:"senders"`
	Groups  []*Group `json:"groups"`
}

// Sender is a process that sends to a destination.
type Sender struct {
	ID    string    `json:"id"`
	URLs  []string  `json:"urls"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Plain bool      `json:"plain,omitempty"`
}

// Group is a group of a destination. Its settings are empty where only members or
// the mark of its desertion were found.
type Group struct {
	Name   string `json:"name"`
	Mode   string `json:"mode,omitempty"`
	OnFull string `json:"on_full,omitempty"`
	// KeepFor is in milliseconds; -1 is forever.
	KeepFor int64 `json:"keep_for_ms,omitempty"`
	// Deserted is since when nobody is in, by the clock of the host that found it
	// so. etcd counts KeepFor from there.
	Deserted *time.Time `json:"deserted,omitempty"`
	Members  []Member   `json:"members"`
}

// Member is a member of a group.
type Member struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Since  time.Time `json:"since"`
	Window uint32    `json:"window"`
}

// Of reads a listing, which is sorted by key.
func Of(space keys.Space, kvs []discovery.KV) *Inventory {
	inv := &Inventory{Destinations: []*Destination{}, Topics: []Topic{}}
	for _, kv := range kvs {
		k, ok := space.Parse(kv.Key)
		if !ok {
			continue
		}
		if !inv.take(k, kv.Value) {
			inv.Unreadable = append(inv.Unreadable, kv.Key)
		}
	}
	return inv
}

// take adds one key and reports whether its value decodes.
func (inv *Inventory) take(k keys.Key, value []byte) bool {
	switch k.Kind {
	case keys.KindSole:
		inv.Destination(k.Dest).Sole = string(value)
	case keys.KindSender:
		var p pb.Sender
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		d := inv.Destination(k.Dest)
		d.Senders = append(d.Senders, Sender{ID: k.ID, URLs: p.Urls, Host: p.Host, Since: since(p.SinceUnixMs), Plain: p.Plain})
	case keys.KindGroupMeta:
		var p pb.GroupMeta
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		g := inv.Destination(k.Dest).group(k.Group)
		g.Mode, g.OnFull, g.KeepFor = dashed(p.Mode.String()), dashed(p.Policy.String()), p.KeepForMs
	case keys.KindDeserted:
		at, err := time.Parse(time.RFC3339Nano, string(value))
		if err != nil {
			return false
		}
		at = at.UTC()
		inv.Destination(k.Dest).group(k.Group).Deserted = &at
	case keys.KindMember:
		var p pb.Member
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		g := inv.Destination(k.Dest).group(k.Group)
		g.Members = append(g.Members, Member{ID: k.ID, Host: p.Host, Since: since(p.SinceUnixMs), Window: p.Window})
	}
	return true
}

// Destination returns the destination of that name, which it adds where there is
// none.
func (inv *Inventory) Destination(name string) *Destination {
	for _, d := range inv.Destinations {
		if d.Name == name {
			return d
		}
	}
	d := &Destination{Name: name, Senders: []Sender{}, Groups: []*Group{}}
	inv.Destinations = append(inv.Destinations, d)
	return d
}

func (d *Destination) group(name string) *Group {
	for _, g := range d.Groups {
		if g.Name == name {
			return g
		}
	}
	g := &Group{Name: name, Members: []Member{}}
	d.Groups = append(d.Groups, g)
	return g
}
