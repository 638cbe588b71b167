package inventory

// Destinations, their senders, groups and members; topics.

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/destinations"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
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
	ID   string   `json:"id"`
	URLs []string `json:"urls"`
	// PlainURLs are where stock nanomsg peers find it.
	PlainURLs []string `json:"plain_urls,omitempty"`
	// Identities are the names of which its certificate has one, on encrypted URLs.
	Identities []string  `json:"identities,omitempty"`
	Host       string    `json:"host"`
	Since      time.Time `json:"since"`
	// Version is the release of Penstock that it runs.
	Version string `json:"version,omitempty"`
	// Level is what that release can do on the wire.
	Level uint32 `json:"level"`
	// Zone is where it runs, as it was told.
	Zone string `json:"zone,omitempty"`
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
	// KeptUntil is when etcd removes it, where that was asked for.
	KeptUntil *time.Time `json:"kept_until,omitempty"`
	// PausedUntil is when its pause ends.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	Members     []Member   `json:"members"`
}

// Member is a member of a group.
type Member struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Since  time.Time `json:"since"`
	Window int       `json:"window"`
	// TLS is whether its links are encrypted: preferred, required, or empty.
	TLS string `json:"tls,omitempty"`
	// Level is what its release can do on the wire.
	Level uint32 `json:"level"`
	// Zone is where it runs, as it was told.
	Zone string `json:"zone,omitempty"`
}

// Of reads a listing, which is sorted by key.
func Of(space keys.Space, kvs []discovery.KV) *Inventory {
	all, unreadable := destinations.Of(space, kvs)
	inv := &Inventory{Destinations: []*Destination{}, Topics: []Topic{}, Unreadable: unreadable}
	for _, d := range all {
		if v := DestinationOf(d); len(v.Senders)+len(v.Groups) > 0 || v.Sole != "" {
			inv.Destinations = append(inv.Destinations, v)
		}
	}
	return inv
}

// DestinationOf returns a destination as people and programs see it.
func DestinationOf(d penstock.DestinationInfo) *Destination {
	v := &Destination{Name: d.Name, Sole: d.Sole, Senders: []Sender{}, Groups: []*Group{}}
	for _, s := range d.Senders {
		v.Senders = append(v.Senders, Sender{ID: s.ID, URLs: s.URLs, PlainURLs: s.PlainURLs, Identities: s.Identities, Host: s.Host, Since: s.Since, Version: s.Version, Level: s.Level, Zone: s.Zone})
	}
	for _, g := range d.Groups {
		group := &Group{
			Name: g.Name, Mode: string(g.Mode), OnFull: string(g.Policy), KeepFor: messages.KeepForMs(g.KeepFor),
			Deserted: given(g.Deserted), KeptUntil: given(g.KeptUntil), PausedUntil: given(g.PausedUntil), Members: []Member{},
		}
		for _, m := range g.Members {
			group.Members = append(group.Members, Member{ID: m.ID, Host: m.Host, Since: m.Since, Window: m.Window, TLS: m.TLS, Level: m.Level, Zone: m.Zone})
		}
		v.Groups = append(v.Groups, group)
	}
	return v
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Destination returns the destination of that name; empty where there is none.
func (inv *Inventory) Destination(name string) *Destination {
	for _, d := range inv.Destinations {
		if d.Name == name {
			return d
		}
	}
	return &Destination{Name: name, Senders: []Sender{}, Groups: []*Group{}}
}
