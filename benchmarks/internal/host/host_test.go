package host

import (
	"runtime"
	"testing"
)

func TestMachine(t *testing.T) {
	m := Machine()
	if m.Cores < 1 || m.OS != runtime.GOOS || m.Go == "" {
		t.Errorf("%+v", m)
	}
	if runtime.GOOS == "linux" && (m.Kernel == "" || m.Memory < 1<<20) {
		t.Errorf("Linux shows more than %+v", m)
	}
}
