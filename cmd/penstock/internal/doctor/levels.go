package doctor

// Releases that differ: the levels of senders and members.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages/pb"
)

// judgeLevels looks for releases that differ, by what they can do on the wire, and for
// those that a process of this release has no links with.
func judgeLevels(inv *inventory.Inventory, levels pb.Levels) check {
	who := make(map[pb.Level][]string)
	for _, d := range inv.Destinations {
		for _, s := range d.Senders {
			name := "sender " + d.Name + "/" + s.ID
			if s.Version != "" {
				name += " (" + cli.Clean(s.Version) + ")"
			}
			who[pb.Level(s.Level)] = append(who[pb.Level(s.Level)], name)
		}
		for _, g := range d.Groups {
			for _, m := range g.Members {
				who[pb.Level(m.Level)] = append(who[pb.Level(m.Level)], "member "+d.Name+"/"+g.Name+"/"+m.ID)
			}
		}
	}
	seen := slices.Sorted(maps.Keys(who))
	c := check{Name: "levels", Status: verdictOK, Found: fmt.Sprintf("nobody is registered; this command is of level %d", levels.Own)}
	if len(seen) == 0 {
		return c
	}
	low, high := seen[0], seen[len(seen)-1]
	switch {
	case low < levels.Oldest:
		c.Status, c.Found = verdictFail, fmt.Sprintf("of level %d: %s; this release has links with level %d and later", low, some(who[low]), levels.Oldest)
		c.Do = "upgrade these before others get this release: see docs/upgrading.md"
	case low < high:
		c.Status, c.Found = verdictWarn, fmt.Sprintf("levels %d to %d; of level %d: %s", low, high, low, some(who[low]))
		c.Do = fmt.Sprintf("their links do without what level %d brings: upgrade them", high)
	case low < levels.Own:
		c.Status, c.Found = verdictWarn, fmt.Sprintf("all are of level %d, this release has level %d", low, levels.Own)
		c.Do = "upgrade them: see docs/upgrading.md for what they do without"
	case high > levels.Own:
		c.Found = fmt.Sprintf("all are of level %d; this command is older, of level %d", high, levels.Own)
	default:
		c.Found = fmt.Sprintf("all are of level %d", low)
	}
	return c
}

// some names the first of many.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
