package main

// Messages of pipes, from the shell and back.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
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
	out, errs := perform(t, cli.ExitDone, numbersTo(n), "send", "orders", "--listen", "tcp://127.0.0.1:0", "--timeout", "30s")
	if want := fmt.Sprintf("sent %d acked %d", n, n); lastLine(errs) != want || out != "" {
		t.Errorf("send says %q and prints %q, want %q last", errs, out, want)
	}
	for _, p := range groups {
		if out, _ := p.ends(cli.ExitDone); out != numbersTo(n) {
			t.Errorf("%s printed %d bytes that are not the lines sent", p.cmd.Args[3], len(out))
		}
	}
}

// A sender that requires groups waits for them, and says for which.
func TestSendRequiresGroups(t *testing.T) {
	t.Parallel()
	billing := begin(t, nil, nil, "recv", "orders", "billing", "--count", "10")
	billing.says(noSender)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "--require", "billing,audit")
	r.Close()
	io.WriteString(w, numbersTo(10))
	w.Close()
	send.says("groups of orders that it requires are missing: audit")
	audit := begin(t, nil, nil, "recv", "orders", "audit", "--count", "10")
	for _, p := range []*process{billing, audit} {
		if out, _ := p.ends(cli.ExitDone); out != numbersTo(10) {
			t.Errorf("%v printed %q", p.cmd.Args, out)
		}
	}
	send.ends(cli.ExitDone)
}

func TestMembersShareAGroup(t *testing.T) {
	t.Parallel()
	a := begin(t, nil, nil, "recv", "orders", "billing")
	b := begin(t, nil, nil, "recv", "orders", "billing")
	a.says(noSender)
	b.says(noSender)
	perform(t, cli.ExitDone, numbersTo(1000), "send", "orders", "--listen", "tcp://127.0.0.1:0")
	a.signal(syscall.SIGTERM)
	b.signal(syscall.SIGTERM)
	first, _ := a.ends(cli.ExitDone)
	second, _ := b.ends(cli.ExitDone)
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
	ten, _ := first.ends(cli.ExitDone)
	if ten != numbersTo(10) {
		t.Errorf("printed %q, want the first ten lines", ten)
	}
	rest := begin(t, nil, nil, "recv", "orders", "billing", "--count", "90")
	ninety, _ := rest.ends(cli.ExitDone)
	exactly(t, 100, ten, ninety)
	if _, errs := send.ends(cli.ExitDone); lastLine(errs) != "sent 100 acked 100" {
		t.Errorf("send says %q", errs)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	if out, _ := perform(t, cli.ExitDone, "", "recv", "orders", "billing", "--idle", "200ms"); out != "" {
		t.Errorf("printed %q", out)
	}
	_, errs := perform(t, cli.ExitIncomplete, "", "recv", "orders", "billing", "--idle", "200ms", "--count", "1")
	if !strings.Contains(errs, "got 0 of 1 messages (idle)") {
		t.Errorf("says %q", errs)
	}
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "2", "--json")
	p.says(noSender)
	perform(t, cli.ExitDone, "a <b>\n\xff\n", "send", "orders", "--listen", "tcp://127.0.0.1:0")
	out, _ := p.ends(cli.ExitDone)
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
	if _, errs := p.ends(cli.ExitFailed); !strings.Contains(errs, "broken pipe") {
		t.Errorf("says %q", errs)
	}
	rest, _ := perform(t, cli.ExitDone, "", "recv", "orders", "billing", "--count", "50")
	exactly(t, 50, rest)
	send.ends(cli.ExitDone)
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
	p.ends(cli.ExitDone)
	rest := begin(t, nil, nil, "recv", "orders", "billing")
	send.ends(cli.ExitDone)
	rest.signal(syscall.SIGINT)
	others, _ := rest.ends(cli.ExitDone)
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
	p.ends(cli.ExitDone)
	send.signal(syscall.SIGINT)
	if _, errs := send.ends(cli.ExitIncomplete); lastLine(errs) != "sent 10 acked 10" || !strings.Contains(errs, "stopped reading after 10 lines") {
		t.Errorf("says %q", errs)
	}
}

func TestSendWaitsForAGroup(t *testing.T) {
	t.Parallel()
	send := begin(t, strings.NewReader("one\n"), nil, "send", "orders")
	send.says("waiting: no group of orders has joined yet")
	send.signal(syscall.SIGTERM)
	if _, errs := send.ends(cli.ExitIncomplete); lastLine(errs) != "sent 0 acked 0" || !strings.Contains(errs, "stopped at line 1") {
		t.Errorf("says %q", errs)
	}
}

func TestSendTellsWhatWasNotAcked(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitDone, "", "recv", "orders", "billing", "--idle", "100ms") // leaves the group behind
	_, errs := perform(t, cli.ExitIncomplete, "one\ntwo\n", "send", "orders", "--timeout", "10s")
	if lastLine(errs) != "sent 2 acked 0" || !strings.Contains(errs, "has not acked 2 messages") {
		t.Errorf("says %q", errs)
	}
}

func TestSendRefusesLongLines(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--count", "1")
	p.says(noSender)
	_, errs := perform(t, cli.ExitFailed, "fits\nfits not at all\nnever\n", "send", "orders", "--max-line", "8")
	if !strings.Contains(errs, "line 2 is longer than 8 bytes") || lastLine(errs) != "sent 1 acked 1" {
		t.Errorf("says %q", errs)
	}
	if out, _ := p.ends(cli.ExitDone); out != "fits\n" {
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
	_, errs := perform(t, cli.ExitFailed, "one\n", "send", "orders", "--timeout", "20s")
	if !strings.Contains(errs, "another sender") {
		t.Errorf("says %q", errs)
	}
	w.Close()
	first.ends(cli.ExitDone)
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
	perform(t, cli.ExitDone, "", "send", "orders", file)
	if out, _ := p.ends(cli.ExitDone); out != long+"\n\nlast\n" {
		t.Errorf("printed %d bytes: %.40q", len(out), out)
	}
	_, errs := perform(t, cli.ExitFailed, "", "send", "orders", file+".not")
	if !strings.Contains(errs, "no such file") {
		t.Errorf("says %q", errs)
	}
}

func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "recv", "orders", "billing", "--mode", "at-most-once")
	p.says(noSender)
	_, errs := perform(t, cli.ExitFailed, "", "recv", "orders", "billing", "--idle", "1s")
	if !strings.Contains(errs, "group exists with other settings") {
		t.Errorf("says %q", errs)
	}
	perform(t, cli.ExitDone, numbersTo(100), "send", "orders")
	p.signal(syscall.SIGTERM)
	out, _ := p.ends(cli.ExitDone)
	exactly(t, 100, out)
}

// A group that is kept forever is removed; an unknown one is an error.
func TestRm(t *testing.T) {
	perform(t, cli.ExitDone, "", "recv", "orders", "old", "--keep-for", "forever", "--idle", "50ms")
	if out, _ := perform(t, cli.ExitDone, "", "ls"); !strings.Contains(out, "group old") {
		t.Errorf("ls prints %q", out)
	}
	if out, errs := perform(t, cli.ExitDone, "", "rm", "orders", "old"); out != "" || !strings.Contains(errs, "removed group old of orders") {
		t.Errorf("rm prints %q and says %q", out, errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "ls"); out != "" {
		t.Errorf("ls prints %q", out)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "rm", "orders", "old", "--json"); !strings.Contains(errs, "no such group") {
		t.Errorf("rm says %q", errs)
	}
	perform(t, cli.ExitUsage, "", "rm")
}

// What remains of a destination is removed once nobody is in, and described until then.
func TestRmOfADestination(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitFailed, "", "describe", "orders")
	perform(t, cli.ExitFailed, "", "rm", "orders")
	for _, group := range []string{"old", "older"} {
		perform(t, cli.ExitDone, "", "recv", "orders", group, "--keep-for", "forever", "--idle", "50ms")
	}
	perform(t, cli.ExitDone, "", "recv", "orders", "brief", "--keep-for", "1h", "--idle", "50ms")
	member := begin(t, nil, nil, "recv", "orders", "billing")
	member.says(noSender)
	out, _ := perform(t, cli.ExitDone, "", "describe", "orders")
	for _, part := range []string{"orders\n", "    member ", "group old ", "keep forever", "no members since", "until 20"} {
		if !strings.Contains(out, part) {
			t.Errorf("describe prints %q without %q", out, part)
		}
	}
	if out, _ := perform(t, cli.ExitDone, "", "describe", "orders", "--json"); !strings.Contains(out, `"kept_until": "20`) {
		t.Errorf("describe --json prints %q", out)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "rm", "orders"); !strings.Contains(errs, " of billing at ") || strings.Contains(errs, "removed") {
		t.Errorf("with a member, rm says %q", errs)
	}
	member.signal(syscall.SIGTERM)
	member.ends(cli.ExitDone)

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sender := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "-v")
	r.Close()
	sender.says("destination_registered")
	if _, errs := perform(t, cli.ExitFailed, "", "rm", "orders"); !strings.Contains(errs, "has a sender") {
		t.Errorf("with a sender, rm says %q", errs)
	}
	w.Close()
	sender.ends(cli.ExitDone)
	if out, errs := perform(t, cli.ExitDone, "", "rm", "orders", "--json"); !strings.Contains(out, `"billing"`) || !strings.Contains(out, `"older"`) {
		t.Errorf("rm prints %q and says %q", out, errs)
	}
	perform(t, cli.ExitFailed, "", "describe", "orders")
}

// Promise: tokens are rotated and revoked from the command line; members link again, and
// token ls says which tokens senders have.
func TestToken(t *testing.T) {
	t.Parallel()
	if _, errs := perform(t, cli.ExitFailed, "", "token", "rotate", "orders"); !strings.Contains(errs, "no such destination") {
		t.Errorf("rotate of nothing says %q", errs)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "-v")
	r.Close()
	send.says("destination_registered")
	recv := begin(t, nil, nil, "recv", "orders", "billing", "-v")
	send.says("member_linked")
	if _, errs := perform(t, cli.ExitFailed, "", "token", "revoke", "orders", "audit"); !strings.Contains(errs, "no such group") {
		t.Errorf("revoke of no group says %q", errs)
	}
	if _, errs := perform(t, cli.ExitDone, "", "token", "rotate", "orders", "billing", "--grace", "1s"); !strings.Contains(errs, "rotated the tokens of orders for group billing: generation 1") {
		t.Errorf("rotate says %q", errs)
	}
	send.says("the token was replaced by a new one")
	send.says("member_linked")
	out, _ := perform(t, cli.ExitDone, "", "token", "revoke", "orders", "billing", "--json")
	if want := `{"destination":"orders","tokens":[{"group":"billing","generation":2}]}`; strings.Join(strings.Fields(out), "") != want {
		t.Errorf("revoke prints %s", out)
	}
	send.says("revoked")
	if _, errs := perform(t, cli.ExitDone, "", "token", "rotate", "orders"); !strings.Contains(errs, "for all groups: generation 1") || !strings.Contains(errs, "for group billing: generation 3") {
		t.Errorf("rotate of all says %q", errs)
	}
	if out := shows(t, "billing ", "token", "ls", "orders"); !strings.Contains(out, "*") {
		t.Errorf("ls prints %q", out)
	}
	recv.signal(os.Interrupt)
	recv.ends(cli.ExitDone)
}
