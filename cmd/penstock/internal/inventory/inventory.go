package inventory

// Destinations, their senders, groups and members; topics.

import (
	"time"

	"google.golang.org/protobuf/proto"

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

type Destination struct {
	Name    string   `json:"name"`
	Sole    string   `json:"sole_sender,omitempty"` // the id of the only sender allowed
	Senders []Sender `json:"senders"`
	Groups  []*Group `json:"groups"`
}

type Sender struct {
	ID    string    `json:"id"`
	URLs  []string  `json:"urls"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Plain bool      `json:"plain,omitempty"`
}

type Group struct {
	Name   string `json:"name"`
	Mode   string `json:"mode,omitempty"`
	OnFull string `json:"on_full,omitempty"`
	// KeepFor is negative for ever.
	KeepFor int64 `json:"keep_for_ms,omitempty"`
	// Deserted is since when nobody is in, by the clock of the host that found it
	// so. etcd counts KeepFor from there.
	Deserted *time.Time `json:"deserted,omitempty"`
	Members  []Member   `json:"members"`
}

type Member struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Since  time.Time `json:"since"`
	Window uint32    `json:"window"`
}

// inventoryOf reads a listing, which is sorted by key.
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

// take adds one key and tells whether its value decodes.
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
