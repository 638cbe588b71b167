package main

// Stock nanomsg peers, from the shell: send --plain, recv --plain-url, and what doctor, ls
// and actors show of them.

import (
	"encoding/json"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// plainHeader is how a nanomsg peer of that protocol begins.
func plainHeader(protocol byte) []byte { return []byte{0, 'S', 'P', 0, 0, protocol, 0, 0} }

// plainly exchanges headers with a stock peer's other side.
func plainly(t *testing.T, c net.Conn, protocol byte) net.Conn {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(plainHeader(protocol)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	return c
}

// plainMessage is a short value as it travels.
func plainMessage(value string) string { return string([]byte{7: byte(len(value))}) + value }

// about are the lines of text with a word in them.
func about(text, word string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, word) {
			lines = append(lines, strings.TrimSpace(line)+"\n")
		}
	}
	return strings.Join(lines, "")
}

// Promise: lines of send go to a stock PULL peer; ls and doctor show the plain listener, and
// doctor says what it lacks, and takes no line.
func TestSendPlain(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "--plain", "tcp://127.0.0.1:0", "-v")
	send.says("destination_registered")
	url := regexp.MustCompile(`"tcp://(127\.0\.0\.1:\d+)"`).FindStringSubmatch(after(shows(t, "plain_urls", "ls", "--json"), "plain_urls"))
	if url == nil {
		t.Fatal("ls --json shows no plain url")
	}
	out, _ := perform(t, cli.ExitDone, "", "doctor")
	golden(t, "doctor_plain.txt", about(out, " plain: "))
	out, _ = perform(t, cli.ExitDone, "", "doctor", "--json")
	var found struct {
		Checks []struct{ Name, Status, Found string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	plain := 0
	for _, c := range found.Checks {
		if strings.HasSuffix(c.Name, " plain") && c.Status == "ok" && strings.Contains(c.Found, url[1]) {
			plain++
		}
	}
	if plain != 1 {
		t.Errorf("doctor --json: %s", out)
	}

	dialled, err := net.Dial("tcp", url[1])
	if err != nil {
		t.Fatal(err)
	}
	c := plainly(t, dialled, 0x51)
	send.says("plain_peer_linked")
	go func() {
		_, _ = io.WriteString(w, "first\nsecond\n")
		_ = w.Close()
	}()
	for _, want := range []string{"first", "second"} {
		got := make([]byte, 8+len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != plainMessage(want) {
			t.Errorf("the peer gets %q, %v", got, err)
		}
	}
	send.ends(cli.ExitDone)
}

// after is what of a text stands behind a word.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	return rest
}

// Promise: recv prints what a stock PUSH peer sends, with its URL as the sender, and actors
// shows the link to it.
func TestRecvPlain(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	url := "tcp://" + ln.Addr().String()
	recv := begin(t, nil, nil, "recv", "orders", "billing", "--plain-url", url, "--json", "--count", "2", "--diagnostics", "127.0.0.1:0", "-v")
	addr := strings.TrimPrefix(recv.says("diagnostics at"), "diagnostics at ")
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := plainly(t, accepted, 0x50)
	recv.says("plain_peer_linked")
	out, _ := perform(t, cli.ExitDone, "", "actors", addr)
	if line := about(out, "plain/"); !strings.Contains(line, "linked") || !strings.Contains(line, "url="+url) {
		t.Errorf("actors prints %s", out)
	}
	for _, value := range []string{"hello", "world"} {
		if _, err := io.WriteString(c, plainMessage(value)); err != nil {
			t.Fatal(err)
		}
	}
	printed, _ := recv.ends(cli.ExitDone)
	for i, line := range strings.Split(strings.TrimSpace(printed), "\n") {
		var m struct{ Sender, Value string }
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Sender != url || i > 1 {
			t.Errorf("line %d: %q: %+v, %v", i, line, m, err)
		}
	}
}

// Promise: the help of send and recv says what of them is about stock peers.
func TestPlainHelp(t *testing.T) {
	t.Parallel()
	var help string
	for _, command := range []string{"send", "recv"} {
		out, _ := perform(t, cli.ExitDone, "", command, "--help")
		help += command + "\n" + about(out, "--plain")
	}
	golden(t, "plain_help.txt", help)
}
