package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noSender is what recv says when it has joined before there is a sender.
const noSender = "has no sender yet"

func TestEveryGroupGetsEveryLine(t *testing.T) {
	t.Parallel()
	const n = 5000
	var groups []*process
	for _, g := range []string{"billing", "audit", "shipping"} {
		p := begin(t, nil, nil, "recv", "orders", g, "--count", fmt.Sprint(n))
		p.says(noSender)
		groups = append(groups, p)
	}
	out, errs := perform(t, exitDone, numbersTo(n), "send", "orders", "--listen", "tcp://127.0.0.1:0", "--timeout", "30s")
	if want := fmt.Sprintf("sent %d acked %d", n, n); lastLine(errs) != want || out != "" {
		t.Errorf("send says %q and prints %q, want %q last", errs, out, want)
	}
	for _, p := range groups {
		if out, _ := p.ends(exitDone); out != numbersTo(n) {
			t.Errorf("%s printed %d bytes that are not the lines sent", p.cmd.Args[3], len(out))
		}
	}
}

func TestMembersShareAGroup(t *testing.T) {
	t.Parallel()
	a := begin(t, nil, nil, "recv", "orders", "billing")
	b := begin(t, nil, nil, "recv", "orders", "billing")
	a.says(noSender)
	b.says(noSender)
	perform(t, exitDone, numbersTo(1000), "send", "orders", "--listen", "tcp://127.0.0.1:0")
	a.signal(syscall.SIGTERM)
	b.signal(syscall.SIGTERM)
	first, _ := a.ends(exitDone)
	second, _ := b.ends(exitDone)
	exactly(t, 1000, first, second)
}

// exactly checks that outputs together are the lines 1 to n, each once.
func exactly(t *testing.T, n int, outputs ...string) {
	t.Helper()
	all := strings.Fields(strings.Join(outputs, ""))
	want := strings.Fields(numbersTo(n))
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("got %d lines, %d distinct, want the %d sent, once each", len(all), len(slices.Compact(all)), n)
	}
}

func TestCountTakesNoMore(t *testing.T) {
	t.Parallel()
	first := begin(t, nil, nil, "recv", "orders", "billing", "--count", "10")
	first.says(noSender)
	send := begin(t, strings.NewReader(numbersTo(100)), nil, "send", "orders", "--listen", "tcp://127.0.0.1:0")
	ten, _ := first.ends(exitDone)
	if ten != numbersTo(10) {
		t.Errorf("printed %q, want the first ten lines", ten)
	}
	rest := begin(t, nil, nil, "recv", "orders", "billing", "--count", "90")
	ninety, _ := rest.ends(exitDone)
	exactly(t, 100, ten, ninety)
	if _, errs := send.ends(exitDone); lastLine(errs) != "sent 100 acked 100" {
		t.Errorf("send says %q", errs)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	if out, _ := perform(t, exitDone, "", "recv", "orders", "billing", "--idle", "200ms"); out != "" {
		t.Errorf("printed %q", out)
	}
	_, errs := perform(t, exitIncomplete, "", "recv", "orders", "billing", "--idle", "200ms", "--count", "1")
	if !strings.Contains(errs, "got 0 of 1 messages (idle)") {
		t.Errorf("says %q", errs)
	}
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "2", "--json")
	p.says(noSender)
	perform(t, exitDone, "a <b>\n\xff\n", "send", "orders", "--listen", "tcp://127.0.0.1:0")
	out, _ := p.ends(exitDone)
	want := `{"value":"a \u003cb\u003e","attempt":1,"sender":"ID","seq":1}
{"value_base64":"/w==","attempt":1,"sender":"ID","seq":2}
`
	if got := masked(out); got != want {
		t.Errorf("printed %s, want %s", got, want)
	}
}

func TestClosedOutputGivesBack(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := begin(t, nil, w, "recv", "orders", "billing")
	w.Close()
	r.Close()
	p.says(noSender)
	send := begin(t, strings.NewReader(numbersTo(50)), nil, "send", "orders", "--listen", "tcp://127.0.0.1:0")
	if _, errs := p.ends(exitFailed); !strings.Contains(errs, "broken pipe") {
		t.Errorf("says %q", errs)
	}
	rest, _ := perform(t, exitDone, "", "recv", "orders", "billing", "--count", "50")
	exactly(t, 50, rest)
	send.ends(exitDone)
}

func TestSignalDrainsRecv(t *testing.T) {
	t.Parallel()
	const n = 20_000
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := begin(t, nil, w, "recv", "orders", "billing")
	w.Close()
	p.says(noSender)
	send := begin(t, strings.NewReader(numbersTo(n)), nil, "send", "orders", "--listen", "tcp://127.0.0.1:0")
	in := bufio.NewReader(r)
	head, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	tail, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	p.ends(exitDone)
	rest := begin(t, nil, nil, "recv", "orders", "billing")
	send.ends(exitDone)
	rest.signal(syscall.SIGINT)
	others, _ := rest.ends(exitDone)
	exactly(t, n, head, string(tail), others)
}

func TestSignalDrainsSend(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "10")
	p.says(noSender)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // the input does not end
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0")
	r.Close()
	if _, err := io.WriteString(w, numbersTo(10)); err != nil {
		t.Fatal(err)
	}
	p.ends(exitDone)
	send.signal(syscall.SIGINT)
	if _, errs := send.ends(exitIncomplete); lastLine(errs) != "sent 10 acked 10" || !strings.Contains(errs, "stopped reading after 10 lines") {
		t.Errorf("says %q", errs)
	}
}

func TestSendWaitsForAGroup(t *testing.T) {
	t.Parallel()
	send := begin(t, strings.NewReader("one\n"), nil, "send", "orders")
	send.says("waiting: no group of orders has joined yet")
	send.signal(syscall.SIGTERM)
	if _, errs := send.ends(exitIncomplete); lastLine(errs) != "sent 0 acked 0" || !strings.Contains(errs, "stopped at line 1") {
		t.Errorf("says %q", errs)
	}
}

func TestSendTellsWhatWasNotAcked(t *testing.T) {
	t.Parallel()
	perform(t, exitDone, "", "recv", "orders", "billing", "--idle", "100ms") // leaves the group behind
	_, errs := perform(t, exitIncomplete, "one\ntwo\n", "send", "orders", "--timeout", "10s")
	if lastLine(errs) != "sent 2 acked 0" || !strings.Contains(errs, "has not acked 2 messages") {
		t.Errorf("says %q", errs)
	}
}

func TestSendRefusesLongLines(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "1")
	p.says(noSender)
	_, errs := perform(t, exitFailed, "fits\nfits not at all\nnever\n", "send", "orders", "--max-line", "8")
	if !strings.Contains(errs, "line 2 is longer than 8 bytes") || lastLine(errs) != "sent 1 acked 1" {
		t.Errorf("says %q", errs)
	}
	if out, _ := p.ends(exitDone); out != "fits\n" {
		t.Errorf("recv printed %q", out)
	}
}

func TestSoleSender(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	first := begin(t, r, nil, "send", "orders", "--sole", "-v")
	r.Close()
	first.says("destination_registered")
	_, errs := perform(t, exitFailed, "one\n", "send", "orders", "--timeout", "20s")
	if !strings.Contains(errs, "another sender") {
		t.Errorf("says %q", errs)
	}
	w.Close()
	first.ends(exitDone)
}

func TestSendFile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/lines"
	long := strings.Repeat("x", 200_000) // more than any buffer on the way
	if err := os.WriteFile(file, []byte(long+"\n\nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "3")
	p.says(noSender)
	perform(t, exitDone, "", "send", "orders", file)
	if out, _ := p.ends(exitDone); out != long+"\n\nlast\n" {
		t.Errorf("printed %d bytes: %.40q", len(out), out)
	}
	_, errs := perform(t, exitFailed, "", "send", "orders", file+".not")
	if !strings.Contains(errs, "no such file") {
		t.Errorf("says %q", errs)
	}
}

func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--mode", "at-most-once")
	p.says(noSender)
	_, errs := perform(t, exitFailed, "", "recv", "orders", "billing", "--idle", "1s")
	if !strings.Contains(errs, "group exists with other settings") {
		t.Errorf("says %q", errs)
	}
	perform(t, exitDone, numbersTo(100), "send", "orders")
	p.signal(syscall.SIGTERM)
	out, _ := p.ends(exitDone)
	exactly(t, 100, out)
}

func TestSignalBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("terminated")
	cancel(signal)
	for _, args := range [][]string{{"recv", "orders", "billing"}, {"send", "orders"}, {"ls"}, {"serve", "--dir", t.TempDir()}, {"demo"}} {
		if code := run(ctx, args, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" }); code != exitIncomplete {
			t.Errorf("%v: %d", args, code)
		}
	}
}

func TestNoEtcd(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"ls"}, {"recv", "orders", "billing"}, {"send", "orders"}} {
		args = append(args, "--etcd", "127.0.0.1:1,127.0.0.1:2", "--etcd-timeout", "500ms")
		_, errs := perform(t, exitUnreachable, "", args...)
		for _, part := range []string{"no etcd answers at 127.0.0.1:1,127.0.0.1:2", `"penstock serve"`} {
			if !strings.Contains(errs, part) {
				t.Errorf("%s: %q lacks %q", args[0], errs, part)
			}
		}
	}
	// Also where time ran out before the patience with etcd did.
	perform(t, exitUnreachable, "", "send", "orders", "--etcd", "127.0.0.1:1", "--timeout", "500ms")
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := begin(t, nil, nil, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "-v")
	p.says("ready to serve client requests")
	_, errs := perform(t, exitFailed, "", "serve", "--dir", dir, "--listen", "127.0.0.1:0")
	if !strings.Contains(errs, "in use") {
		t.Errorf("a second one on the same directory says %q", errs)
	}
	_, errs = perform(t, exitFailed, "", "serve", "--dir", "", "--listen", endpoint)
	if !strings.Contains(errs, endpoint) || !strings.Contains(errs, "--listen") {
		t.Errorf("a second one on the same address says %q", errs)
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if out, _ := p.ends(exitDone); !strings.HasPrefix(out, "ready http://127.0.0.1:") {
		t.Errorf("printed %q", out)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %s to stop", took)
	}
	if _, errs := perform(t, exitUsage, "", "serve", "--listen", "nonsense"); !strings.Contains(errs, "nonsense") {
		t.Errorf("says %q", errs)
	}
}
