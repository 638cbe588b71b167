package main

// Signals, and when they come.

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// heldInput is a standard input that has some lines and does not end.
func heldInput(t *testing.T, lines string) io.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	if _, err := w.WriteString(lines); err != nil {
		t.Fatal(err)
	}
	return r
}

// Promise: one wish to end that comes as several signals, as timeout(1) and
// terminals send it, ends every command in order.
func TestSignalsAtOnceAreOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string
		lines string
		ready string
		code  cli.ExitCode
		says  string
	}{
		{"recv", []string{"recv", "nobody", "billing"}, "", noSender, cli.ExitDone, ""},
		{"sub", []string{"sub", "audit", "idle", "-v"}, "", "msg=partition_claimed", cli.ExitDone, "msg=unsubscribed"},
		{"send", []string{"send", "orders", "--listen", "tcp://127.0.0.1:0"}, "one\n", "no group of orders", cli.ExitIncomplete, "sent 0 acked 0"},
		{"put", []string{"put", "audit"}, "one\n", "", cli.ExitIncomplete, "put 1"},
		{"serve", []string{"serve", "--dir", "", "--listen", "127.0.0.1:0", "-v"}, "", "serving client traffic", cli.ExitDone, ""},
		{"demo", []string{"demo", "--keep", "--messages", "100"}, "", "still running", cli.ExitDone, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "sub" || c.name == "put" {
				perform(t, cli.ExitDone, "", "topic", "create", "audit")
			}
			p := begin(t, heldInput(t, c.lines), nil, c.args...)
			if c.name == "put" { // it says nothing while all is well
				perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "1")
			} else {
				p.says(c.ready)
			}
			p.signal(syscall.SIGTERM)
			p.signal(os.Interrupt)
			p.signal(syscall.SIGTERM)
			if _, errs := p.ends(c.code); !strings.Contains(errs, c.says) {
				t.Errorf("does not say %q: %s", c.says, errs)
			}
		})
	}
}

// Promise: a signal a while after the first one ends a command that is not
// through with its drain.
func TestLaterSignalForces(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitDone, strings.Repeat("x", 200<<10), "put", "audit", "--create")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := begin(t, nil, w, "sub", "audit", "billing")
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil { // more than the pipe takes is on its way
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		t.Fatal("ended with a record in hand")
	case <-time.After(signalApart + time.Second/2):
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(cli.DrainFor / 2):
		t.Fatal("the second signal did not end it")
	}
	if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want by the signal", p.cmd.ProcessState)
	}
}

func TestSignalBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("terminated")
	cancel(signal)
	for _, args := range [][]string{{"recv", "orders", "billing"}, {"send", "orders"}, {"ls"}, {"serve", "--dir", t.TempDir()}, {"demo"}} {
		if code := run(ctx, args, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" }); code != cli.ExitIncomplete {
			t.Errorf("%v: %d", args, code)
		}
	}
}
