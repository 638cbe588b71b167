package harness

// Machines with other networks than the one the tests run on: each such test runs again
// in a process with a network of its own, which has no way out.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// networkEnv says that this process has a network of its own.
const networkEnv = "PENSTOCK_FAULT_NETWORK"

// ownNetworkBegins readies a network of this process's own, if it has one, before anything
// listens.
func ownNetworkBegins() {
	if os.Getenv(networkEnv) == "" {
		return
	}
	err := syscall.Sethostname([]byte("nowhere.invalid"))
	if out, iperr := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); iperr != nil {
		err = errors.Join(err, iperr, errors.New(string(out)))
	}
	if err != nil {
		_, _ = os.Stderr.WriteString("network: " + err.Error() + "\n")
		os.Exit(1)
	}
}

// ownNetwork is what gives a process a network and a host name of its own; who is not root
// becomes root of a namespace of users.
func ownNetwork() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	return attr
}

// OwnNetwork reports whether this process has a network of its own, with the loopback
// alone. Where it has not, it runs the test again in one that has, and says what came of it.
func OwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(networkEnv) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no program ip (iproute2)")
	}
	probe := exec.Command("ip", "link", "set", "lo", "up")
	probe.SysProcAttr = ownNetwork()
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("a network of its own is not permitted: %v %s", err, out)
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(Context(t), exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+Patience.String())
	again.Env = append(os.Environ(), networkEnv+"=1")
	again.SysProcAttr = ownNetwork()
	again.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// The signal comes with the end of the thread that began the process, and its own
	// children may keep its output open.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	again.WaitDelay = Patience
	out, err := again.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Fatalf("it did not run:\n%s", out)
	}
	return false
}

// IP changes the network, a line of the program ip each.
func IP(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", line, err, out)
		}
	}
}
