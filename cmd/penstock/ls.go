package main

// What etcd shows: destinations, their senders, groups and members; topics.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

type ls struct {
	*app
	json bool
}

func (a *app) lsCommand() *cobra.Command {
	c := ls{app: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List destinations, senders, groups, members and topics",
		Long: `Ls reads etcd and nothing else: it shows who registered and whose lease has not
run out. A process that died is shown until then. Topics are listed after the
destinations; "penstock topic describe" shows what is in one.

Where etcd's roles do not let it read everything, it shows what they do and says
what is left out; without any right it ends with code 5.

With --json times are in RFC 3339 and UTC; keep_for_ms is -1 for a group that is
kept for ever.`,
		Example: `  penstock ls
  penstock ls --json | jq -r '.destinations[].name'`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.etcd.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *ls) run(ctx context.Context) error {
	s, client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	space := keys.Space(s.prefix)
	if err := space.Validate(); err != nil {
		return err
	}
	listing, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	inv, err := readInventory(listing, client, s.user, space)
	if err != nil {
		return explain(ctx, err, s.endpoints)
	}
	for _, what := range inv.Denied {
		c.say("warning: not everything is shown: %s", clean(what))
	}
	for _, key := range inv.Unreadable {
		c.say("warning: %s does not decode", clean(key))
	}
	if c.json {
		return printJSON(c.out, inv)
	}
	if len(inv.Destinations)+len(inv.Topics) == 0 {
		c.say("nothing to show under %s", s.prefix)
	}
	return inv.print(c.out)
}

// inventory is everything under a prefix, for people and programs.
type inventory struct {
	Destinations []*destination `json:"destinations"`
	Topics       []topicView    `json:"topics"`
	// Unreadable are keys whose value does not decode.
	Unreadable []string `json:"unreadable,omitempty"`
	// Denied says which keys etcd's roles do not let us read.
	Denied []string `json:"denied,omitempty"`
}

// readInventory reads destinations and topics, or as many of them as user may.
// Where that is none at all the error is etcd's refusal.
func readInventory(ctx context.Context, client *clientv3.Client, user string, space keys.Space) (*inventory, error) {
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
	inv := inventoryOf(space, dests)
	inv.takeTopics(space, topics)
	for _, e := range []error{err, noDests, terr, noTopics} {
		if e != nil {
			inv.Denied = append(inv.Denied, e.Error())
		}
	}
	return inv, nil
}

type destination struct {
	Name    string   `json:"name"`
	Sole    string   `json:"sole_sender,omitempty"` // the id of the only sender allowed
	Senders []sender `json:"senders"`
	Groups  []*group `json:"groups"`
}

type sender struct {
	ID    string    `json:"id"`
	URLs  []string  `json:"urls"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Plain bool      `json:"plain,omitempty"`
}

type group struct {
	Name   string `json:"name"`
	Mode   string `json:"mode,omitempty"`
	OnFull string `json:"on_full,omitempty"`
	// KeepFor is negative for ever.
	KeepFor int64 `json:"keep_for_ms,omitempty"`
	// Deserted is since when nobody is in, by the clock of the host that found it
	// so. etcd counts KeepFor from there.
	Deserted *time.Time `json:"deserted,omitempty"`
	Members  []member   `json:"members"`
}

type member struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Since  time.Time `json:"since"`
	Window uint32    `json:"window"`
}

// inventoryOf reads a listing, which is sorted by key.
func inventoryOf(space keys.Space, kvs []discovery.KV) *inventory {
	inv := &inventory{Destinations: []*destination{}, Topics: []topicView{}}
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
func (inv *inventory) take(k keys.Key, value []byte) bool {
	switch k.Kind {
	case keys.KindSole:
		inv.destination(k.Dest).Sole = string(value)
	case keys.KindSender:
		var p pb.Sender
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		d := inv.destination(k.Dest)
		d.Senders = append(d.Senders, sender{ID: k.ID, URLs: p.Urls, Host: p.Host, Since: since(p.SinceUnixMs), Plain: p.Plain})
	case keys.KindGroupMeta:
		var p pb.GroupMeta
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		g := inv.destination(k.Dest).group(k.Group)
		g.Mode, g.OnFull, g.KeepFor = dashed(p.Mode.String()), dashed(p.Policy.String()), p.KeepForMs
	case keys.KindDeserted:
		at, err := time.Parse(time.RFC3339Nano, string(value))
		if err != nil {
			return false
		}
		at = at.UTC()
		inv.destination(k.Dest).group(k.Group).Deserted = &at
	case keys.KindMember:
		var p pb.Member
		if proto.Unmarshal(value, &p) != nil {
			return false
		}
		g := inv.destination(k.Dest).group(k.Group)
		g.Members = append(g.Members, member{ID: k.ID, Host: p.Host, Since: since(p.SinceUnixMs), Window: p.Window})
	}
	return true
}

func (inv *inventory) destination(name string) *destination {
	for _, d := range inv.Destinations {
		if d.Name == name {
			return d
		}
	}
	d := &destination{Name: name, Senders: []sender{}, Groups: []*group{}}
	inv.Destinations = append(inv.Destinations, d)
	return d
}

func (d *destination) group(name string) *group {
	for _, g := range d.Groups {
		if g.Name == name {
			return g
		}
	}
	g := &group{Name: name, Members: []member{}}
	d.Groups = append(d.Groups, g)
	return g
}

// dashed is a name of the wire's as options spell it.
func dashed(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }

func since(unixMs int64) time.Time { return pb.Time(unixMs).UTC() }

func keepFor(ms int64) string {
	if ms < 0 {
		return "forever"
	}
	return pb.Milliseconds(ms).String()
}

// print writes the inventory as indented lines, one thing a line.
func (inv *inventory) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range inv.Destinations {
		fmt.Fprintf(tw, "%s\n", d.Name)
		for _, s := range d.Senders {
			note := ""
			if d.Sole == s.ID {
				note = "\tsole"
			}
			if s.Plain {
				note += "\tplain"
			}
			fmt.Fprintf(tw, "  sender %s\t%s\t%s\tsince %s%s\n", s.ID, clean(strings.Join(s.URLs, ",")), clean(s.Host), s.Since.Format(time.RFC3339), note)
		}
		for _, g := range d.Groups {
			settings := "settings gone"
			if g.Mode != "" {
				settings = fmt.Sprintf("%s\ton full %s\tkeep %s", g.Mode, g.OnFull, keepFor(g.KeepFor))
			}
			if g.Deserted != nil && len(g.Members) == 0 {
				settings += "\tno members since " + g.Deserted.Format(time.RFC3339)
			}
			fmt.Fprintf(tw, "  group %s\t%s\n", g.Name, settings)
			for _, m := range g.Members {
				fmt.Fprintf(tw, "    member %s\twindow %d\t%s\tsince %s\n", m.ID, m.Window, clean(m.Host), m.Since.Format(time.RFC3339))
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, t := range inv.Topics {
		fmt.Fprintf(tw, "topic %s\n", t)
	}
	return tw.Flush()
}
