package inventory

// An inventory as people read it.

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/pb"
)

// Print writes the inventory as indented lines, one thing a line.
func (inv *Inventory) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range inv.Destinations {
		d.rows(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, t := range inv.Topics {
		fmt.Fprintf(tw, "topic %s\n", t)
	}
	return tw.Flush()
}

// Print writes the destination as indented lines, one thing a line.
func (d *Destination) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	d.rows(tw)
	return tw.Flush()
}

func (d *Destination) rows(w io.Writer) {
	fmt.Fprintf(w, "%s\n", d.Name)
	for _, s := range d.Senders {
		note := ""
		if d.Sole == s.ID {
			note = "\tsole"
		}
		if s.Zone != "" {
			note += "\tzone " + cli.Clean(s.Zone)
		}
		if len(s.PlainURLs) > 0 {
			note += "\tplain " + cli.Clean(strings.Join(s.PlainURLs, ","))
		}
		if s.Version != "" {
			note += "\t" + cli.Clean(s.Version)
		}
		fmt.Fprintf(w, "  sender %s\t%s\t%s\tlevel %d\tsince %s%s\n", s.ID, cli.Clean(strings.Join(s.URLs, ",")), cli.Clean(s.Host), s.Level, s.Since.Format(time.RFC3339), note)
	}
	for _, g := range d.Groups {
		settings := "settings gone"
		if g.Mode != "" {
			settings = fmt.Sprintf("%s\ton full %s\tkeep %s", g.Mode, g.OnFull, keepFor(g.KeepFor))
		}
		if g.Deserted != nil {
			settings += "\tno members since " + g.Deserted.Format(time.RFC3339)
		}
		if g.PausedUntil != nil {
			settings += "\tpaused until " + g.PausedUntil.Format(time.RFC3339)
		}
		if g.KeptUntil != nil {
			settings += "\tuntil " + g.KeptUntil.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "  group %s\t%s\n", g.Name, settings)
		for _, m := range g.Members {
			note := ""
			if m.Zone != "" {
				note = "\tzone " + cli.Clean(m.Zone)
			}
			fmt.Fprintf(w, "    member %s\twindow %d\t%s\tlevel %d\tsince %s%s\n", m.ID, m.Window, cli.Clean(m.Host), m.Level, m.Since.Format(time.RFC3339), note)
		}
	}
}

func keepFor(ms int64) string {
	if ms < 0 {
		return "forever"
	}
	return pb.Milliseconds(ms).String()
}
