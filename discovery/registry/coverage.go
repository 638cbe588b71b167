package registry

// Which prefixes need a watch for the keys that are kept, and since when: what
// Run has to look at follows from there. All of it is guarded by the
// registry's lock.

import (
	"cmp"
	"slices"
	"strings"
)

// collection is one of the Collections.
type collection struct {
	prefix string
	keys   int // kept keys under it and under no longer one
	// from is the revision of the first look at one of them since Run last began
	// to look at everything; 0 when there was none. Whatever happened to them
	// after it, a watch must see.
	from int64
}

// look notes that a key was seen as of a revision.
func (g *collection) look(revision int64) {
	if g != nil && g.from == 0 {
		g.from = revision
	}
}

// leave takes a key out. Without any, the next one's revision counts.
func (g *collection) leave() {
	if g.keys--; g.keys == 0 {
		g.from = 0
	}
}

// coverage are all, the longest prefix first.
type coverage []*collection

func newCoverage(prefixes []string) coverage {
	var out coverage
	for _, p := range slices.Compact(slices.Sorted(slices.Values(prefixes))) {
		out = append(out, &collection{prefix: p})
	}
	slices.SortStableFunc(out, func(a, b *collection) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return out
}

// of returns the collection of a key, nil for none.
func (gs coverage) of(key string) *collection {
	i := slices.IndexFunc(gs, func(g *collection) bool { return strings.HasPrefix(key, g.prefix) })
	if i < 0 {
		return nil
	}
	return gs[i]
}

// todo is what Run has to look at.
type todo struct {
	all  bool
	keys map[string]struct{}
}

func (t *todo) add(key string) {
	if t.keys == nil {
		t.keys = map[string]struct{}{}
	}
	t.keys[key] = struct{}{}
}
