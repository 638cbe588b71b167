package doctor

import (
	"strings"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: releases whose links cannot do all that the newest could are named, with what
// to do, and so are those that this release has no links with.
func TestJudgeLevels(t *testing.T) {
	now := pb.Levels{Oldest: 1, Own: 3}
	for name, c := range map[string]struct {
		sender, member uint32
		want           verdict
		says           string
	}{
		"all of now":      {3, 3, verdictOK, "all are of level 3"},
		"all later":       {4, 4, verdictOK, "this command is older"},
		"an older member": {3, 2, verdictWarn, "of level 2: member orders/billing/m"},
		"an older sender": {2, 3, verdictWarn, "of level 2: sender orders/s (v1)"},
		"all older":       {2, 2, verdictWarn, "this release has level 3"},
		"a member apart":  {3, 0, verdictFail, "of level 0: member orders/billing/m; this release has links with level 1 and later"},
		"later and older": {4, 3, verdictWarn, "levels 3 to 4"},
	} {
		inv := &inventory.Inventory{Destinations: []*inventory.Destination{{
			Name: "orders", Senders: []inventory.Sender{{ID: "s", Version: "v1", Level: c.sender}},
			Groups: []*inventory.Group{{Name: "billing", Members: []inventory.Member{{ID: "m", Level: c.member}}}},
		}}}
		got := judgeLevels(inv, now)
		if got.Status != c.want || !strings.Contains(got.Found, c.says) || (got.Do == "") != (c.want == verdictOK) {
			t.Errorf("%s: %+v, want %s with %q", name, got, c.want, c.says)
		}
	}
	if got := judgeLevels(&inventory.Inventory{}, now); got.Status != verdictOK {
		t.Errorf("nobody there: %+v", got)
	}
	if got := some([]string{"a", "b", "c", "d", "e"}); got != "a, b, c and 2 more" {
		t.Errorf("some are %q", got)
	}
}
