//go:build unix

package main

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Promise: the last line says what was dropped.
func TestSendSaysWhatWasDropped(t *testing.T) {
	t.Parallel()
	member := begin(t, heldInput(t, ""), nil, "recv", "orders", "billing", "--on-full", "drop-oldest", "--window", "1")
	member.says(noSender)
	if err := member.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 70_000 // more than a queue of 65,536 holds
	_, errs := perform(t, cli.ExitFailed, numbersTo(n), "send", "orders", "--listen", "tcp://127.0.0.1:0", "--timeout", "5s")
	last := lastLine(errs)
	if !strings.HasPrefix(last, "sent 70000 acked ") || !strings.Contains(last, " dropped ") {
		t.Errorf("send ends with %q", last)
	}
}

// Promise: what reads to ack or commit fails before it takes anything where
// nobody gets its output; what is thrown away on purpose is taken.
func TestClosedOutputTakesNothing(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitDone, "one\n", "put", "audit", "--create")
	sender := begin(t, strings.NewReader("one\n"), nil, "send", "orders", "--listen", "tcp://127.0.0.1:0")
	sender.says("no group of orders")
	try := func(shell string, want cli.ExitCode, args ...string) {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-c", `exec "$0" "$@" ` + shell, binary}, args...)...)
		cmd.Env = append(clearedEnv(), "PENSTOCK_ETCD="+endpoint, "PENSTOCK_PREFIX="+prefixOf(t))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit); cmd.ProcessState.ExitCode() != int(want) {
			t.Errorf("%s %v: %v, want code %d: %s", shell, args, err, want, errs.String())
		}
		if want != cli.ExitDone && !strings.Contains(errs.String(), "standard output") && !strings.Contains(errs.String(), "write") {
			t.Errorf("%s %v says %q", shell, args, errs.String())
		}
	}
	for _, shell := range []string{">&-", "1< /dev/null", "<&- >&-", "1<> /dev/null"} {
		try(shell, cli.ExitFailed, "recv", "orders", "billing", "--count", "1")
		try(shell, cli.ExitFailed, "sub", "audit", "billing", "--count", "1")
	}
	try("> /dev/full", cli.ExitFailed, "recv", "orders", "billing", "--count", "1")
	try("> /dev/full", cli.ExitFailed, "sub", "audit", "billing", "--count", "1")
	try("> /dev/null", cli.ExitDone, "sub", "audit", "billing", "--count", "1")
	if out, _ := perform(t, cli.ExitDone, "", "recv", "orders", "billing", "--count", "1"); out != "one\n" {
		t.Errorf("got %q: a command without an output took the message", out)
	}
	sender.ends(cli.ExitDone)
}
