package main

// The released program beside this one: `make test-upgrade` builds it and runs this.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// released names the released program, for TestUpgrade.
const released = "PENSTOCK_RELEASED"

// reader is a process whose lines are read as they come.
type reader struct {
	*process
	mu    sync.Mutex
	lines map[string]int
	more  chan struct{} // has room for one: there was a line
	over  chan struct{}
}

func readOf(t *testing.T, program string, args ...string) *reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	x := &reader{lines: make(map[string]int), more: make(chan struct{}, 1), over: make(chan struct{})}
	x.process = beginOf(t, program, nil, w, args...)
	_ = w.Close() // it has its own
	go func() {
		defer close(x.over)
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			x.mu.Lock()
			x.lines[in.Text()]++
			x.mu.Unlock()
			select {
			case x.more <- struct{}{}:
			default:
			}
		}
	}()
	return x
}

// gets waits until n lines have come that begin with prefix.
func (x *reader) gets(prefix string, n int) {
	x.t.Helper()
	late := time.After(patience)
	for {
		got := 0
		x.mu.Lock()
		for line := range x.lines {
			if strings.HasPrefix(line, prefix) {
				got++
			}
		}
		x.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-x.more:
		case <-x.over:
			x.t.Fatalf("ended with %d lines of %q, waiting for %d: %s", got, prefix, n, strings.Join(x.stderr, "\n"))
		case <-late:
			x.t.Fatalf("got %d lines of %q, waiting for %d", got, prefix, n)
		}
	}
}

// leaves ends it in order, after what it has in hand.
func (x *reader) leaves(into map[string]int) {
	x.t.Helper()
	x.signal(syscall.SIGTERM)
	x.ends(cli.ExitDone)
	<-x.over
	for line, n := range x.lines {
		into[line] += n
	}
}

// feed writes numbered lines into a process, until told to stop.
type feed struct {
	w    *io.PipeWriter
	stop chan struct{}
	done chan int
}

func feedTo(prefix string) (*feed, io.Reader) {
	r, w := io.Pipe()
	f := &feed{w: w, stop: make(chan struct{}), done: make(chan int, 1)}
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-f.stop:
				f.done <- n
				return
			case <-tick.C:
			}
			if _, err := fmt.Fprintf(w, "%s%d\n", prefix, n); err != nil {
				f.done <- n
				return
			}
		}
	}()
	return f, r
}

// ends closes the input and returns how many lines there were.
func (f *feed) ends() int {
	close(f.stop)
	n := <-f.done
	_ = f.w.Close()
	return n
}

// Promise: the released program and this one serve each other, as sender and as member,
// under load, while one after the other is replaced; nothing is lost. ls and doctor say
// which levels there are.
func TestUpgrade(t *testing.T) {
	old := os.Getenv(released)
	if old == "" {
		t.Skipf("no %s: `make test-upgrade` builds the released program and runs this", released)
	}
	for name, scheme := range map[string]string{"tcp": "tcp", "tls": "tls+tcp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upgrade(t, old, scheme)
		})
	}
}

func upgrade(t *testing.T, old, scheme string) {
	const some = 50 // lines that show that a link works
	flags := func(_ string, args ...string) []string { return args }
	requires := []string{"--window", "64"}
	if scheme == "tls+tcp" {
		ca := carriertest.NewCA(t)
		flags = func(name string, args ...string) []string {
			f := ca.Issue(t, time.Hour, name)
			return append(args, "--link-cacert", f.CA, "--link-cert", f.Cert, "--link-key", f.Key)
		}
		requires = append(requires, "--link-require-tls")
	}
	member := func(program string) *reader {
		return readOf(t, program, flags("billing.example", append([]string{"recv", "orders", "billing"}, requires...)...)...)
	}
	sender := func(program, prefix string) (*feed, *process) {
		f, r := feedTo(prefix)
		return f, beginOf(t, program, r, nil, flags("orders.example", "send", "orders", "--listen", scheme+"://127.0.0.1:0")...)
	}
	got := make(map[string]int)

	oldMember := member(old)
	first, oldSender := sender(old, "old ")
	oldMember.gets("old ", some)
	newMember := member(binary) // the member is replaced
	newMember.gets("old ", some)
	listing := shows(t, "member", "ls")
	if !strings.Contains(listing, "level 0") || !strings.Contains(listing, fmt.Sprint("level ", pb.LevelNow)) {
		t.Errorf("ls shows\n%s", listing)
	}
	if out, _ := perform(t, cli.ExitDone, "", flags("doctor.example", "doctor")...); !strings.Contains(out, fmt.Sprintf("levels 0 to %d; of level 0: ", pb.LevelNow)) {
		t.Errorf("doctor says\n%s", out)
	}
	oldMember.leaves(got)

	second, newSender := sender(binary, "new ") // the sender is replaced
	newMember.gets("new ", some)
	sent := map[string]int{"old ": first.ends()}
	oldSender.ends(cli.ExitDone)
	again := member(old) // and the member goes back
	again.gets("new ", some)
	newMember.leaves(got)
	sent["new "] = second.ends()
	newSender.ends(cli.ExitDone)
	again.leaves(got)

	lost, repeated := 0, 0
	for prefix, n := range sent {
		for i := range n {
			switch times := got[fmt.Sprintf("%s%d", prefix, i)]; {
			case times == 0:
				lost++
			case times > 1:
				repeated++
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d lines of %v were lost", lost, sent)
	}
	t.Logf("sent %v, lost %d, repeated %d", sent, lost, repeated)
}
