package pipes_test

// A unix socket that is not everybody's.

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a member that runs as another user may not connect to a unix socket whose mode does
// not let it; it takes the sender's next URL, and says why. It connects where the mode lets it.
func TestIPCOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	t.Parallel()
	const nobody = 65534
	for name, c := range map[string]struct{ mode, at, why string }{
		"not let": {"0600", "127.0.0.1:", "user 65534"},
		"let":     {"0666", "/", "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, l, file := penstocktest.Space(t), harness.NewLedger(), freeFile(t)
			if err := os.Chmod(filepath.Dir(file), 0o755); err != nil { // so that it is the socket that denies
				t.Fatal(err)
			}
			rt := harness.Runtime(t, ns)
			orders := harness.Register(t, rt, "orders", penstock.ListenOn("tcp://127.0.0.1:0 ipc://"+file+"?mode="+c.mode))
			m := spawn(t, childSpec{
				Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing", Member: "m",
				Window: window, Links: true,
				attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
				exe:  "/proc/self/exe", // the way to this program may be closed to others
			}, l)
			m.awaitReady(t)
			harness.Send(t, orders, 0, 100)
			l.Await(t, "its messages", func(harness.Tally) bool { return l.Has(0, 100) })
			if got := <-m.linked; !strings.HasPrefix(got, c.at) || !strings.Contains(got, c.why) {
				t.Errorf("linked %s, want %s, as %s", got, c.at, c.why)
			}
		})
	}
}
