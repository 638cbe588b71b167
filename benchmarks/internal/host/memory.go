package host

import (
	"fmt"
	"strconv"
	"strings"
)

// RSS is how much memory a process has, in bytes; 0 where the system does not say.
func RSS(pid int) uint64 { return rss(strconv.Itoa(pid)) }

// OwnRSS is that of this process.
func OwnRSS() uint64 { return rss("self") }

func rss(pid string) uint64 {
	kib, ok := strings.CutSuffix(field(fmt.Sprintf("/proc/%s/status", pid), "VmRSS"), " kB")
	n, err := strconv.ParseUint(strings.TrimSpace(kib), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n << 10
}
