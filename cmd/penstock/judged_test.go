package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// silent is an address where whoever connects is never answered.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Promise: names and flags are judged before etcd is waited for.
func TestUsageIsJudgedBeforeEtcdIsWaitedFor(t *testing.T) {
	t.Parallel()
	etcd := silent(t)
	began := time.Now()
	for _, args := range [][]string{
		{"recv", "a", "b", "--mode", "exactly-once"},
		{"recv", "a", "b", "--on-full", "explode"},
		{"recv", "a", "b", "--window", "9999999"},
		{"recv", "a", "b", "--keep-for", "1ms"},
		{"recv", "a", "b", "--diagnostics", "10.0.0.1:1"},
		{"recv", "a/b", "c"},
		{"recv", "a", "-"},
		{"send", "a b"},
		{"send", "a", "--listen", "ftp://x"},
		{"send", "a", "--max-line", "99999999"},
		{"put", "x"},
		{"put", "audit", "--partition", "1024"},
		{"put", "audit", "--partition", "-2"},
		{"put", "audit", "--header", "x"},
		{"sub", "a/b", "c"},
		{"sub", "audit", "."},
		{"sub", "audit", "c", "--partitions", "-1"},
		{"sub", "audit", "c", "--partitions", "1,1"},
		{"sub", "audit", "c", "--from", "soon"},
		{"topic", "create", "x"},
		{"topic", "create", "audit", "--partitions", "0"},
		{"topic", "update", "x", "--partitions", "3"},
		{"topic", "update", "audit", "--partitions", "2000"},
		{"topic", "update", "audit", "--compression", "rar"},
		{"topic", "update", "audit", "--max-record-bytes", "99999999"},
		{"topic", "describe", "a b"},
		{"topic", "delete", "/"},
		{"group", "ls", "?"},
		{"group", "describe", "audit", "a/b"},
		{"group", "reset", "audit", "a/b", "--to", "latest"},
		{"group", "reset", "audit", "b", "--to", "latest", "--partitions", "5000"},
		{"rm", "a/b", "c"},
		{"rm", "a", "c d"},
		{"ls", "--prefix", "x"},
		{"ls", "--etcd", "http://[fe80::1%25eth0]:2379"},
		{"ls", "--etcd", "[fe80::1%eth0]:2379"},
		{"actors", "nowhere"},
		{"help", "nosuch"},
		{"help", "topic", "nosuch"},
	} {
		if args[0] != "help" && args[0] != "actors" && !strings.Contains(strings.Join(args, " "), "--etcd ") {
			args = append(args, "--etcd", etcd)
		}
		var errs bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" }); code != exitUsage {
			t.Errorf("%v: %d, want %d: %s", args, code, exitUsage, errs.String())
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s, so something waited", took)
	}
	for _, args := range [][]string{{"help"}, {"help", "topic"}, {"help", "topic", "create"}} {
		var out bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, func(string) string { return "" }); code != exitDone || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%v: %d %s", args, code, out.String())
		}
	}
}

// Promise: the tab key offers names and the words of flags.
func TestCompletion(t *testing.T) {
	t.Parallel()
	offered := func(args ...string) []string {
		out, _ := perform(t, exitDone, "", append([]string{"__complete"}, args...)...)
		var names []string
		for l := range strings.Lines(out) {
			if l = strings.TrimSpace(l); l != "" && l[0] != ':' {
				names = append(names, l)
			}
		}
		return names
	}
	perform(t, exitDone, "one\n", "put", "audit", "--create")
	perform(t, exitDone, "", "sub", "audit", "export", "--count", "1")
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
		{"billing", []string{"rm", "orders", "b"}},
		{"audit", []string{"put", ""}},
		{"audit", []string{"sub", ""}},
		{"export", []string{"sub", "audit", ""}},
		{"export", []string{"group", "reset", "audit", "e"}},
		{"at-least-once at-most-once", []string{"recv", "orders", "billing", "--mode", ""}},
		{"block drop-oldest error", []string{"recv", "orders", "billing", "--on-full", ""}},
		{"earliest latest", []string{"sub", "audit", "export", "--from", ""}},
		{"s2 zstd none", []string{"topic", "create", "x", "--compression", ""}},
	} {
		if got := strings.Join(offered(c.args...), " "); got != c.want {
			t.Errorf("%v offers %q, want %q", c.args, got, c.want)
		}
	}
}
