package main

// What the tab key offers.

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Promise: the tab key offers names and the words of flags.
func TestCompletion(t *testing.T) {
	t.Parallel()
	offered := func(args ...string) []string {
		out, _ := perform(t, cli.ExitDone, "", append([]string{"__complete"}, args...)...)
		var names []string
		for l := range strings.Lines(out) {
			if l = strings.TrimSpace(l); l != "" && l[0] != ':' {
				names = append(names, l)
			}
		}
		return names
	}
	perform(t, cli.ExitDone, "one\n", "put", "audit", "--create")
	perform(t, cli.ExitDone, "", "sub", "audit", "export", "--count", "1")
	perform(t, cli.ExitDone, "", "schedule", "add", "nightly", "audit", "@daily")
	member := begin(t, nil, nil, "recv", "orders", "billing")
	member.says(noSender)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"orders", []string{"send", ""}},
		{"orders", []string{"recv", "o"}},
		{"billing", []string{"recv", "orders", ""}},
		{"orders", []string{"rm", ""}},
		{"orders", []string{"describe", ""}},
		{"billing", []string{"rm", "orders", "b"}},
		{"orders", []string{"token", "ls", ""}},
		{"billing", []string{"token", "rotate", "orders", ""}},
		{"billing", []string{"token", "revoke", "orders", ""}},
		{"audit", []string{"put", ""}},
		{"audit", []string{"sub", ""}},
		{"audit", []string{"read", ""}},
		{"earliest latest", []string{"read", "audit", "--from", ""}},
		{"export", []string{"sub", "audit", ""}},
		{"export", []string{"group", "reset", "audit", "e"}},
		{"export", []string{"group", "delete", "audit", ""}},
		{"nightly", []string{"schedule", "show", ""}},
		{"latest skip all", []string{"schedule", "add", "x", "--missed", ""}},
		{"at-least-once at-most-once failover key-affinity", []string{"recv", "orders", "billing", "--mode", ""}},
		{"block drop-oldest error", []string{"recv", "orders", "billing", "--on-full", ""}},
		{"earliest latest", []string{"sub", "audit", "export", "--from", ""}},
		{"s2 zstd none", []string{"topic", "create", "x", "--compression", ""}},
	} {
		got := ""
		for try := 0; got == "" && try < 10; try++ { // etcd has TabPatience to reply, which a busy machine needs for other things
			got = strings.Join(offered(c.args...), " ")
		}
		if got != c.want {
			t.Errorf("%v offers %q, want %q", c.args, got, c.want)
		}
	}
}

// Promise: Tab completes the words of flags without etcd, and waits for an etcd
// that does not answer no longer than cli.TabPatience.
func TestTabDoesNotWait(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tab := func(args ...string) string {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		env := func(name string) string { return map[string]string{"PENSTOCK_ETCD": silent.Addr().String()}[name] }
		run(ctx, append([]string{"__complete"}, args...), strings.NewReader(""), &out, io.Discard, env)
		if took := time.Since(began); took > cli.TabPatience+2*time.Second { // a busy machine
			t.Errorf("%v took %s", args, took)
		}
		return out.String()
	}
	if got := tab("recv", "a", "b", "--mode", ""); !strings.Contains(got, "at-least-once") || !strings.Contains(got, "at-most-once") {
		t.Errorf("--mode offers %q", got)
	}
	for _, args := range [][]string{{"recv", ""}, {"recv", "orders", ""}, {"send", ""}, {"rm", "orders", ""}, {"sub", ""}, {"sub", "audit", ""}} {
		if got := tab(args...); strings.Contains(got, "orders") {
			t.Errorf("%v offers %q", args, got)
		}
	}
}

// Promise: Tab completes destinations and their groups.
func TestTabOffersDestinationsAndGroups(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "-v")
	r.Close()
	recv := begin(t, nil, nil, "recv", "orders", "billing", "-v")
	recv.says("sender_linked")
	send.says("member_linked")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "recv", ""}, "orders\n"},
		{[]string{"__complete", "rm", "orders", ""}, "billing\n"},
	} {
		shows(t, test.want, test.args...)
	}
	w.Close()
	send.ends(cli.ExitDone)
	recv.signal(os.Interrupt)
	recv.ends(cli.ExitDone)
}
