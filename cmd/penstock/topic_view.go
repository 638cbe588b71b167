package main

// Topics and their groups as people and programs see them.

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// topicView is a topic's settings.
type topicView struct {
	Name           string    `json:"name"`
	ID             string    `json:"id"`
	Partitions     int       `json:"partitions"`
	Compression    string    `json:"compression"`
	MaxRecordBytes int       `json:"max_record_bytes"`
	Created        time.Time `json:"created"`
}

func viewTopic(i penstock.TopicInfo) topicView {
	return topicView{
		Name: i.Name, ID: i.ID, Partitions: i.Config.Partitions, Compression: string(i.Config.Compression),
		MaxRecordBytes: i.Config.MaxRecordBytes, Created: i.Created.UTC(),
	}
}

// String is the topic as a row of columns.
func (t topicView) String() string {
	return fmt.Sprintf("%s\tid %s\tpartitions %d\tcompression %s\trecords to %d bytes\tcreated %s",
		t.Name, clean(t.ID), t.Partitions, clean(t.Compression), t.MaxRecordBytes, t.Created.Format(time.RFC3339))
}

// topicDetail is all about a topic.
type topicDetail struct {
	topicView
	Revision int64         `json:"revision"`
	Records  int64         `json:"records"`
	Bytes    int64         `json:"bytes"`
	Offsets  []offsetsView `json:"offsets"`
	Groups   []groupView   `json:"groups"`
}

type offsetsView struct {
	Partition int    `json:"partition"`
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Records   int64  `json:"records"`
	Bytes     int64  `json:"bytes"`
	Error     string `json:"error,omitempty"`
}

func viewDescription(d penstock.TopicDescription) topicDetail {
	v := topicDetail{topicView: viewTopic(d.TopicInfo), Revision: d.Revision, Offsets: []offsetsView{}, Groups: []groupView{}}
	for _, p := range d.Partitions {
		v.Offsets = append(v.Offsets, offsetsView{p.Partition, p.Start, p.End, p.End - p.Start, p.Bytes, reason(p.Err)})
		v.Records += p.End - p.Start
		v.Bytes += p.Bytes
	}
	for _, g := range d.Groups {
		v.Groups = append(v.Groups, viewGroup(g))
	}
	return v
}

func (v topicDetail) print(w io.Writer) error {
	tw := columns(w)
	fmt.Fprintln(tw, v.topicView)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(tw, "partition\tstart\tend\trecords\tbytes")
	for _, o := range v.Offsets {
		if o.Error != "" {
			fmt.Fprintf(tw, "%d\t%s\n", o.Partition, clean(o.Error))
			continue
		}
		fmt.Fprintf(tw, "%d\t%d\t%d\t%d\t%d\n", o.Partition, o.Start, o.End, o.Records, o.Bytes)
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

// groupView is a consumer group.
type groupView struct {
	Topic      string            `json:"topic"`
	Group      string            `json:"group"`
	Mode       string            `json:"mode"`
	Generation int64             `json:"generation"`
	Lag        int64             `json:"lag"`
	Members    []consumerView    `json:"members"`
	Offsets    []groupOffsetView `json:"offsets"`
	Error      string            `json:"error,omitempty"`
}

type consumerView struct {
	ID         string    `json:"id"`
	Host       string    `json:"host"`
	Since      time.Time `json:"since"`
	Partitions []int     `json:"partitions"`
}

type groupOffsetView struct {
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

func viewGroup(g penstock.GroupInfo) groupView {
	v := groupView{
		Topic: g.Topic, Group: g.Group, Mode: string(g.Mode), Generation: g.Generation, Lag: g.Lag,
		Members: []consumerView{}, Offsets: []groupOffsetView{}, Error: reason(g.Err),
	}
	for _, m := range g.Members {
		if m.Partitions == nil {
			m.Partitions = []int{}
		}
		v.Members = append(v.Members, consumerView{m.ID, m.Host, m.Since.UTC(), m.Partitions})
	}
	for _, p := range g.Partitions {
		v.Offsets = append(v.Offsets, viewGroupOffset(p))
	}
	return v
}

func viewGroupOffset(p messages.GroupPartition) groupOffsetView {
	v := groupOffsetView{Partition: p.Partition, Start: p.Start, End: p.End, Lag: p.Lag, Owner: p.Owner, Fence: p.Fence, Error: reason(p.Err)}
	if p.Committed >= 0 {
		v.Committed = &p.Committed
	}
	return v
}

func (g groupView) print(w io.Writer) error {
	tw := columns(w)
	fmt.Fprintf(tw, "group %s of %s  %s  generation %d  lag %d\n", clean(g.Group), g.Topic, dash(clean(g.Mode)), g.Generation, g.Lag)
	for _, m := range g.Members {
		fmt.Fprintf(tw, "  member %s\t%s\tsince %s\tpartitions %s\n", clean(m.ID), clean(m.Host), m.Since.Format(time.RFC3339), dash(numberList(m.Partitions)))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if g.Error != "" {
		fmt.Fprintf(w, "  %s\n", clean(g.Error))
	}
	fmt.Fprintln(tw, "  partition\tstart\tend\tcommitted\tlag\towner")
	for _, o := range g.Offsets {
		if o.Error != "" {
			fmt.Fprintf(tw, "  %d\t%s\n", o.Partition, clean(o.Error))
			continue
		}
		committed := ""
		if o.Committed != nil {
			committed = fmt.Sprint(*o.Committed)
		}
		fmt.Fprintf(tw, "  %d\t%d\t%d\t%s\t%d\t%s\n", o.Partition, o.Start, o.End, dash(committed), o.Lag, dash(clean(o.Owner)))
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
