package node

// Which release of this module a program was built from.

import (
	"runtime/debug"
	"slices"
	"sync"
)

const modulePath = "github.com/penstock-io/penstock"

// Version is the version of this module in this program, for people; empty when it was
// built from a checkout.
var Version = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	return versionIn(info)
})

func versionIn(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	all := append(slices.Clone(info.Deps), &info.Main)
	i := slices.IndexFunc(all, func(m *debug.Module) bool { return m.Path == modulePath })
	if i < 0 || all[i].Version == "(devel)" {
		return ""
	}
	if r := all[i].Replace; r != nil {
		return r.Version
	}
	return all[i].Version
}
