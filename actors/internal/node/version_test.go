package node

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	ours := func(version string, by *debug.Module) *debug.Module {
		return &debug.Module{Path: modulePath, Version: version, Replace: by}
	}
	for name, tt := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"nothing is known": {nil, ""},
		"a checkout":       {&debug.BuildInfo{Main: *ours("(devel)", nil)}, ""},
		"our own command":  {&debug.BuildInfo{Main: *ours("v1.2.3", nil)}, "v1.2.3"},
		"a service":        {&debug.BuildInfo{Deps: []*debug.Module{{Path: "x", Version: "v9"}, ours("v1.2.3", nil)}}, "v1.2.3"},
		"replaced":         {&debug.BuildInfo{Deps: []*debug.Module{ours("v1.2.3", &debug.Module{Path: "../here"})}}, ""},
		"without us":       {&debug.BuildInfo{Deps: []*debug.Module{{Path: "x", Version: "v9"}}}, ""},
	} {
		if got := versionIn(tt.info); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
