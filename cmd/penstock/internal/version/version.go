package version

// What a build says of itself.

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Command returns the command version. A stamp that is not empty takes the place of
// the version that Go recorded.
func Command(a *cli.App, stamp string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Long: `Version prints the version of this program, the version of Go it was built with
and its platform. With --json it also prints the version of the module and the
commit; a field that the build does not know is an empty string.`,
		Example: `  penstock version
  penstock version --json | jq -r .commit`,
		Args: cli.Between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				info, _ := debug.ReadBuildInfo()
				return cli.PrintJSON(a.Out, buildOf(info, stamp))
			}
			_, err := fmt.Fprintln(a.Out, "penstock", Line(stamp))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one object")
	return cmd
}

// build is what is known of how this program was made.
type build struct {
	Version  string `json:"version"`
	Module   string `json:"module"`
	Release  string `json:"module_version"` // "(devel)" outside a tagged commit
	Commit   string `json:"commit"`
	Time     string `json:"commit_time"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func buildOf(info *debug.BuildInfo, stamp string) build {
	b := build{Version: describe(info, stamp), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info == nil {
		return b
	}
	b.Module, b.Release = info.Main.Path, info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// Line returns the version, that of Go, and the platform.
func Line(stamp string) string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("%s %s %s/%s", describe(info, stamp), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// describe names a build: its stamp, its version, else its commit.
func describe(info *debug.BuildInfo, stamp string) string {
	if stamp != "" {
		return stamp
	}
	if info == nil {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if len(commit) >= 12 {
		return "devel-" + commit[:12] + dirty
	}
	return "devel"
}
