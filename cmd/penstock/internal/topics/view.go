package topics

// Topics and their groups as people and programs see them.

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages"
)

// Detail is all about a topic.
type Detail struct {
	inventory.Topic
	Revision int64         `json:"revision"`
	Records  int64         `json:"records"`
	Bytes    int64         `json:"bytes"`
	Delayed  int64         `json:"delayed,omitempty"` // records that wait to be delivered
	Offsets  []OffsetsView `json:"offsets"`
	Groups   []GroupView   `json:"groups"`
}

// OffsetsView is one partition.
type OffsetsView struct {
	Partition int   `json:"partition"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	Records   int64 `json:"records"`
	Bytes     int64 `json:"bytes"`
	// Delayed is how many records wait to be delivered, NextDue when the first of them is.
	Delayed int64      `json:"delayed,omitempty"`
	NextDue *time.Time `json:"next_due,omitempty"`
	Error   string     `json:"error,omitempty"`
}

func viewDescription(d penstock.TopicDescription) Detail {
	v := Detail{Topic: inventory.TopicOf(d.TopicInfo), Revision: d.Revision, Offsets: []OffsetsView{}, Groups: []GroupView{}}
	for _, p := range d.Partitions {
		o := OffsetsView{Partition: p.Partition, Start: p.Start, End: p.End, Records: p.End - p.Start, Bytes: p.Bytes, Delayed: p.Delayed, Error: reason(p.Err)}
		if p.Delayed > 0 {
			o.NextDue = &p.NextDue
			v.Delayed += p.Delayed
		}
		v.Offsets = append(v.Offsets, o)
		v.Records += p.End - p.Start
		v.Bytes += p.Bytes
	}
	for _, g := range d.Groups {
		v.Groups = append(v.Groups, viewGroup(g))
	}
	return v
}

func (v Detail) print(w io.Writer) error {
	tw := cli.Table(w)
	fmt.Fprintln(tw, v.Topic)
	if err := tw.Flush(); err != nil {
		return err
	}
	columns := "partition\tstart\tend\trecords\tbytes"
	if v.Delayed > 0 {
		columns += "\tdelayed\tnext due"
	}
	fmt.Fprintln(tw, columns)
	for _, o := range v.Offsets {
		if o.Error != "" {
			fmt.Fprintf(tw, "%d\t%s\n", o.Partition, cli.Clean(o.Error))
			continue
		}
		fmt.Fprintf(tw, "%d\t%d\t%d\t%d\t%d", o.Partition, o.Start, o.End, o.Records, o.Bytes)
		if o.NextDue != nil {
			fmt.Fprintf(tw, "\t%d\t%s", o.Delayed, o.NextDue.Format(time.RFC3339))
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, g := range v.Groups {
		if err := g.print(w); err != nil {
			return err
		}
	}
	return nil
}

// GroupView is a consumer group.
type GroupView struct {
	Topic      string `json:"topic"`
	Group      string `json:"group"`
	Mode       string `json:"mode"`
	Generation int64  `json:"generation"`
	Lag        int64  `json:"lag"`
	// PausedUntil is when the group's pause ends.
	PausedUntil *time.Time        `json:"paused_until,omitempty"`
	Members     []ConsumerView    `json:"members"`
	Offsets     []GroupOffsetView `json:"offsets"`
	Error       string            `json:"error,omitempty"`
}

// ConsumerView is one member of a group.
type ConsumerView struct {
	ID         string    `json:"id"`
	Host       string    `json:"host"`
	Since      time.Time `json:"since"`
	Partitions []int     `json:"partitions"`
}

// GroupOffsetView is how far a group is in one partition.
type GroupOffsetView struct {
	Partition int   `json:"partition"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
	// Committed is null where nothing was ever committed.
	Committed *int64 `json:"committed"`
	// Lag is -1 where the error says why it is not known.
	Lag   int64  `json:"lag"`
	Owner string `json:"owner,omitempty"`
	Fence int64  `json:"fence,omitempty"`
	Error string `json:"error,omitempty"`
}

func viewGroup(g penstock.GroupInfo) GroupView {
	v := GroupView{
		Topic: g.Topic, Group: g.Group, Mode: string(g.Mode), Generation: g.Generation, Lag: g.Lag,
		Members: []ConsumerView{}, Offsets: []GroupOffsetView{}, Error: reason(g.Err),
	}
	if !g.PausedUntil.IsZero() {
		v.PausedUntil = &g.PausedUntil
	}
	for _, m := range g.Members {
		if m.Partitions == nil {
			m.Partitions = []int{}
		}
		v.Members = append(v.Members, ConsumerView{m.ID, m.Host, m.Since.UTC(), m.Partitions})
	}
	for _, p := range g.Partitions {
		v.Offsets = append(v.Offsets, viewGroupOffset(p))
	}
	return v
}

func viewGroupOffset(p messages.GroupPartition) GroupOffsetView {
	v := GroupOffsetView{Partition: p.Partition, Start: p.Start, End: p.End, Lag: p.Lag, Owner: p.Owner, Fence: p.Fence, Error: reason(p.Err)}
	if p.Committed >= 0 {
		v.Committed = &p.Committed
	}
	return v
}

func (g GroupView) print(w io.Writer) error {
	tw := cli.Table(w)
	paused := ""
	if g.PausedUntil != nil {
		paused = "  paused until " + g.PausedUntil.Format(time.RFC3339)
	}
	fmt.Fprintf(tw, "group %s of %s  %s  generation %d  lag %d%s\n", cli.Clean(g.Group), g.Topic, dash(cli.Clean(g.Mode)), g.Generation, g.Lag, paused)
	for _, m := range g.Members {
		fmt.Fprintf(tw, "  member %s\t%s\tsince %s\tpartitions %s\n", cli.Clean(m.ID), cli.Clean(m.Host), m.Since.Format(time.RFC3339), dash(numberList(m.Partitions)))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if g.Error != "" {
		for line := range strings.SplitSeq(g.Error, "\n") { // one for each key that was passed over
			fmt.Fprintf(w, "  %s\n", cli.Clean(line))
		}
	}
	fmt.Fprintln(tw, "  partition\tstart\tend\tcommitted\tlag\towner")
	for _, o := range g.Offsets {
		if o.Error != "" {
			fmt.Fprintf(tw, "  %d\t%s\n", o.Partition, cli.Clean(o.Error))
			continue
		}
		committed := ""
		if o.Committed != nil {
			committed = fmt.Sprint(*o.Committed)
		}
		fmt.Fprintf(tw, "  %d\t%d\t%d\t%s\t%d\t%s\n", o.Partition, o.Start, o.End, dash(committed), o.Lag, dash(cli.Clean(o.Owner)))
	}
	return tw.Flush()
}

// reason is what an error says, empty without one.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// dash stands for nothing in a table.
func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}

// numberList is numbers with commas between them.
func numberList(numbers []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
}
