package destinations

// What a listing of keys says of destinations, and how it is read.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// List reads all destinations of a space, sorted by name.
func List(ctx context.Context, client *clientv3.Client, space keys.Space) ([]messages.DestinationInfo, error) {
	kvs, revision, err := discovery.List(ctx, client, space.Dests())
	if err != nil {
		return nil, err
	}
	all, _ := Of(space, kvs)
	for i := range all {
		all[i].Revision = revision
	}
	return all, nil
}

// Describe reads one destination, and asks until when etcd keeps its groups that have no
// members. Errors: messages.ErrNoDestination, and those of discovery.Classify.
func Describe(ctx context.Context, client *clientv3.Client, space keys.Space, name string) (messages.DestinationInfo, error) {
	kvs, revision, err := discovery.List(ctx, client, space.Dest(name))
	if err != nil {
		return messages.DestinationInfo{}, err
	}
	all, _ := Of(space, kvs)
	if len(all) == 0 {
		return messages.DestinationInfo{}, messages.ErrNoDestination
	}
	d := all[0]
	d.Revision = revision
	leases := make(map[string]clientv3.LeaseID)
	for _, kv := range kvs {
		if k, ok := space.Parse(kv.Key); ok && k.Kind == keys.KindDeserted {
			leases[k.Group] = kv.Lease
		}
	}
	for i := range d.Groups {
		g := &d.Groups[i]
		if g.Deserted.IsZero() || leases[g.Name] == 0 {
			continue
		}
		left, err := discovery.LeaseLeft(ctx, client, leases[g.Name])
		if err != nil {
			return messages.DestinationInfo{}, err
		}
		g.KeptUntil = time.Now().Add(left)
	}
	return d, nil
}

// Of reads a listing, sorted by key, into destinations sorted by name. A key whose value
// does not decode is passed over: unreadable has it, and the Err of its destination.
func Of(space keys.Space, kvs []discovery.KV) (all []messages.DestinationInfo, unreadable []string) {
	byName := make(map[string]*building)
	var names []string
	for _, kv := range kvs {
		k, ok := space.Parse(kv.Key)
		if !ok || k.Dest == "" || keys.IsLoans(k.Dest) { // what a runtime uses itself
			continue
		}
		b := byName[k.Dest]
		if b == nil {
			b = &building{groups: make(map[string]*messages.PipeGroupInfo)}
			byName[k.Dest] = b
			names = append(names, k.Dest)
		}
		if !b.take(k, kv.Value) {
			b.unreadable = append(b.unreadable, kv.Key)
			unreadable = append(unreadable, kv.Key)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, byName[name].destination(name))
	}
	return all, unreadable
}

// building is a destination of which keys are being taken.
type building struct {
	info       messages.DestinationInfo
	groups     map[string]*messages.PipeGroupInfo
	order      []string // of the groups
	unreadable []string
}

func (b *building) group(name string) *messages.PipeGroupInfo {
	g := b.groups[name]
	if g == nil {
		g = &messages.PipeGroupInfo{Name: name}
		b.groups[name] = g
		b.order = append(b.order, name)
	}
	return g
}

// take adds one key and reports whether its value decodes.
func (b *building) take(k keys.Key, value []byte) bool {
	switch k.Kind {
	case keys.KindSole:
		b.info.Sole = string(value)
	case keys.KindSender:
		var p pb.Sender
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		if p.Plain { // members do not dial it at all
			p.PlainUrls, p.Urls = append(p.PlainUrls, p.Urls...), nil
		}
		b.info.Senders = append(b.info.Senders, messages.SenderInfo{
			ID: k.ID, URLs: p.Urls, PlainURLs: p.PlainUrls, Identities: p.Identities, Host: p.Host, Since: pb.Time(p.SinceUnixMs).UTC(), Version: p.Version, Level: p.Level, Zone: p.Zone,
		})
	case keys.KindGroupMeta:
		var p pb.GroupMeta
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		s, err := messages.GroupSettingsOf(p.Mode, p.Policy, p.KeepForMs)
		if err != nil { // a later version's: its names are shown
			s.Mode, s.Policy = messages.Mode(dashed(p.Mode)), messages.QueuePolicy(dashed(p.Policy))
		}
		g := b.group(k.Group)
		g.Mode, g.Policy, g.KeepFor = s.Mode, s.Policy, s.KeepFor
	case keys.KindPaused:
		b.group(k.Group).PausedUntil = messages.PauseUntil(value)
	case keys.KindDeserted:
		at, err := time.Parse(time.RFC3339Nano, string(value))
		if err != nil {
			return false
		}
		b.group(k.Group).Deserted = at.UTC()
	case keys.KindMember:
		var p pb.Member
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		g := b.group(k.Group)
		g.Members = append(g.Members, messages.PipeMemberInfo{
			ID: k.ID, Host: p.Host, Since: pb.Time(p.SinceUnixMs).UTC(), Window: int(p.Window), TLS: tlsNames[p.Tls], Level: p.Level, Zone: p.Zone,
		})
	}
	return true
}

func (b *building) destination(name string) messages.DestinationInfo {
	d := b.info
	d.Name = name
	slices.Sort(b.order)
	for _, name := range b.order {
		g := b.groups[name]
		if len(g.Members) > 0 {
			g.Deserted = time.Time{} // the mark is about to go
		}
		d.Groups = append(d.Groups, *g)
	}
	if len(b.unreadable) > 0 {
		d.Err = fmt.Errorf("destination %q: %s: %w", name, strings.Join(b.unreadable, ", "), messages.ErrCorrupt)
	}
	return d
}

// dashed is a name of the wire's as options spell it.
func dashed(name fmt.Stringer) string {
	return strings.ToLower(strings.ReplaceAll(name.String(), "_", "-"))
}

// tlsNames are what links of a member may be, for people.
var tlsNames = map[pb.TLS]string{pb.TLS_TLS_PREFERRED: "preferred", pb.TLS_TLS_REQUIRED: "required"}
