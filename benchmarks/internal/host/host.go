// Package host finds out what a suite runs on, for its results.
package host

import (
	"bufio"
	"context"
	"debug/buildinfo"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Machine is this machine. What the system does not show is empty.
func Machine() results.Machine {
	m := results.Machine{Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(kernel))
	}
	if kib, ok := strings.CutSuffix(field("/proc/meminfo", "MemTotal"), " kB"); ok {
		if n, err := strconv.ParseUint(strings.TrimSpace(kib), 10, 64); err == nil {
			m.Memory = n << 10
		}
	}
	return m
}

// Load is how many processes want to run, on average of the last minute; 0 where the
// system does not say.
func Load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return n
}

// field is what the first line "name : value" of a file has, or empty.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Commit is the one that the working directory is at, empty when git does not say,
// and whether files that it tracks differ from it.
func Commit(ctx context.Context) (short string, modified bool) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=9", "HEAD").Output()
	if err != nil {
		return "", false
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output()
	return strings.TrimSpace(string(out)), err == nil && len(changed) > 0
}

// Versions are those of the modules that this program was built with and that a
// result depends on.
func Versions() map[string]string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return map[string]string{}
	}
	return versions(info)
}

// VersionsOf are those of another program that Go built; none when it cannot be read.
func VersionsOf(program string) map[string]string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return map[string]string{}
	}
	return versions(info)
}

func versions(info *debug.BuildInfo) map[string]string {
	out := map[string]string{}
	for _, m := range info.Deps {
		for _, prefix := range []string{
			"go.nanomsg.org/", "go.etcd.io/etcd/", "github.com/nats-io/nats", "google.golang.org/grpc", "github.com/asynkron/",
			"github.com/pebbe/zmq4", "github.com/gomodule/redigo",
		} {
			if strings.HasPrefix(m.Path, prefix) {
				out[m.Path] = m.Version
			}
		}
	}
	return out
}
