package doctor

// Which versions of etcd Penstock is tested with.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// release is a version of etcd: major, minor, patch.
type release [3]int

func (r release) String() string { return fmt.Sprintf("%d.%d.%d", r[0], r[1], r[2]) }

// supported are the release lines that are tested, each from the release on that
// keeps roles apart: before it, who may watch one key can watch all that follow,
// or reach others through a transaction.
var supported = []release{{3, 5, 33}, {3, 6, 14}, {3, 7, 1}}

// judgeVersion warns of a version that was not tried. It fails none: what etcd
// cannot do shows where it is done.
func judgeVersion(name, version string) check {
	c := check{Name: name + " version", Status: verdictOK, Found: version}
	r, err := parseRelease(version)
	if err != nil {
		c.Status, c.Found, c.Do = verdictWarn, fmt.Sprintf("%q is not understood", version), "Penstock is tested with etcd "+supportedLines()
		return c
	}
	i := slices.IndexFunc(supported, func(s release) bool { return s[0] == r[0] && s[1] == r[1] })
	switch {
	case i < 0:
		c.Status, c.Found = verdictWarn, version+" was not tried"
		c.Do = "Penstock is tested with etcd " + supportedLines() + ": try this one before you rely on it"
	case r[2] < supported[i][2]:
		c.Status = verdictWarn
		c.Do = fmt.Sprintf("upgrade to %s or newer if roles separate services: before it a right to watch one key shows others", supported[i])
	}
	return c
}

// supportedLines lists the release lines: 3.5, 3.6 and 3.7.
func supportedLines() string {
	names := make([]string, len(supported))
	for i, r := range supported {
		names[i] = fmt.Sprintf("%d.%d", r[0], r[1])
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// parseRelease reads a version of three numbers; what follows a dash or plus
// does not count.
func parseRelease(version string) (r release, err error) {
	if i := strings.IndexAny(version, "-+"); i >= 0 {
		version = version[:i]
	}
	parts := strings.Split(version, ".")
	if len(parts) != len(r) {
		return r, fmt.Errorf("version %q has not three numbers", version)
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return r, fmt.Errorf("version %q: %w", version, err)
		}
		r[i] = int(v)
	}
	return r, nil
}
