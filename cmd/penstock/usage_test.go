package main

// What the command line refuses, and what it prints of itself.

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"sned"}, "did you mean send?"},
		{[]string{"frobnicate"}, `no command "frobnicate"`},
		{[]string{"send"}, `see "penstock send --help"`},
		{[]string{"recv", "a"}, "recv DEST GROUP"},
		{[]string{"ls", "--nope"}, "--nope"},
		{[]string{"recv", "a", "b", "--count", "x"}, "--count"},
		{[]string{"recv", "a", "b", "--count", "-1"}, "--count"},
		{[]string{"recv", "a", "b", "--keep-for", "-1s"}, "--keep-for"},
		{[]string{"recv", "a", "b", "--keep-for", "soon"}, "forever"},
		{[]string{"recv", "a", "b", "--keep-for", "0"}, "--keep-for"},
		{[]string{"recv", "a", "b", "--window", "0"}, "--window"},
		{[]string{"send", "a", "--max-line", "0"}, "--max-line"},
		{[]string{"send", "a", "--timeout", "-1s"}, "--timeout"},
		{[]string{"send", "a", "--far-above", "10"}, "say where this command runs, as in --zone"},
		{[]string{"send", "a", "--far-above", "10", "--zone", ""}, "without --zone"},
		{[]string{"send", "a", "--plain-on-full", "error"}, "without --plain"},
		{[]string{"send", "a", "--plain", "tcp://:0", "--plain-on-full", "never"}, "never"},
		{[]string{"send", "a", "--plain", "nonsense"}, "nonsense"},
		{[]string{"send", "a", "--plain", "tls+tcp://:0"}, "plain peers are not encrypted"},
		{[]string{"send", "a", "--plain", "inproc://a"}, "no part of this process"},
		{[]string{"recv", "a", "b", "--plain-url", "nonsense"}, "nonsense"},
		{[]string{"recv", "a", "b", "--plain-url", "wss://host:1/a"}, "plain peers are not encrypted"},
		{[]string{"recv", "a", "b", "--plain-url", "tcp://h:1,tcp://h:1"}, "given twice"},
		{[]string{"recv", "a", "b", "--plain-url", "tcp://h:1", "--mode", "failover"}, "keep no order"},
		{[]string{"send", "a", "--listen", "tcp://:0?advertise=$PENSTOCK_NOT_SET"}, "PENSTOCK_NOT_SET is not set"},
		{[]string{"send", "a", "--listen", "tcp://:0?advertise="}, "advertise is empty"},
		{[]string{"ls", "--prefix", "nope"}, "nope"},
		{[]string{"doctor", "--prefix", "nope"}, "nope"},
		{[]string{"ls", "--etcd-user", "root"}, "ETCDCTL_PASSWORD"},
		{[]string{"ls", "--etcd", "nonsense::"}, `"nonsense::"`},
		{[]string{"doctor", "--etcd", "http://"}, "host:port"},
		{[]string{"send", "orders", "--etcd", "127.0.0.1:2379,localhost"}, `"localhost"`},
		{[]string{"topic", "ls", "--etcd", "/run/etcd.sock"}, "unix://path"},
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), c.args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" }); code != cli.ExitUsage {
			t.Errorf("%v: %d", c.args, code)
		}
		if !strings.Contains(errs.String(), c.says) {
			t.Errorf("%v says %q, want %q in it", c.args, errs.String(), c.says)
		}
	}
}

func TestTopicUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"topic", "craete"}, "did you mean create?"},
		{[]string{"topic", "frobnicate"}, `no command "frobnicate"`},
		{[]string{"group", "rest"}, "did you mean reset?"},
		{[]string{"topic", "create"}, "topic create NAME"},
		{[]string{"topic", "create", "audit", "--partitions", "0"}, "0 partitions"},
		{[]string{"topic", "create", "audit", "--partitions", "1025"}, "1025 partitions"},
		{[]string{"topic", "create", "audit", "--compression", "gzip"}, "gzip"},
		{[]string{"topic", "create", "audit", "--max-record-bytes", "2000000"}, "2000000"},
		{[]string{"put", "audit", "--partition", "-2"}, "--partition -2"},
		{[]string{"put", "audit", "--header", "x"}, "name=value"},
		{[]string{"put", "audit", "--timeout", "-1s"}, "--timeout"},
		{[]string{"sub", "audit"}, "sub TOPIC GROUP"},
		{[]string{"sub", "audit", "billing", "--count", "-1"}, "--count"},
		{[]string{"sub", "audit", "billing", "--from", "soon"}, "--from"},
		{[]string{"sub", "audit", "billing", "--format", "%x"}, "--format"},
		{[]string{"sub", "audit", "billing", "--format", "%v", "--json"}, "json"},
		{[]string{"sub", "audit", "billing", "--partitions", "one"}, "--partitions"},
		{[]string{"group", "reset", "audit", "billing"}, "--to is missing"},
		{[]string{"topic", "latest", "audit"}, "topic latest NAME KEY"},
		{[]string{"topic", "latest", "audit", ""}, "the key is empty"},
		{[]string{"topic", "table", "a"}, `"a"`},
		{[]string{"group", "reset", "audit", "billing", "--to", "-1"}, "--to"},
		{[]string{"demo", "--topics", "--messages", "0"}, "--messages"},
	} {
		usage(t, c.args, c.says)
	}
}

func TestTopicChange(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "nothing to change"},
		{[]string{"--partitions", "0"}, "--partitions 0"},
		{[]string{"--partitions", "-3"}, "--partitions -3"},
		{[]string{"--compression", ""}, "--compression"},
		{[]string{"--partitions", "3", "--max-record-bytes", "0"}, "--max-record-bytes 0"},
	} {
		usage(t, append([]string{"topic", "update", "audit"}, c.args...), c.says)
	}
}

// usage runs a command line that needs no etcd to be refused.
func usage(t *testing.T, args []string, says string) {
	t.Helper()
	var errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" })
	if code != cli.ExitUsage || !strings.Contains(errs.String(), says) {
		t.Errorf("%v: %d, says %q, want %q in it", args, code, errs.String(), says)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, args := range [][]string{{"ls"}, {"doctor"}, {"recv", "a", "b"}, {"ls", "-vv"}} {
		var out bytes.Buffer
		args = append(args, "--etcd", "127.0.0.1:1", "--etcd-user", "root:hunter2", "--etcd-timeout", "200ms")
		if code := run(t.Context(), args, strings.NewReader(""), &out, &out, func(string) string { return "" }); code == cli.ExitDone {
			t.Errorf("%v succeeded", args)
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%v prints the password: %s", args, out.String())
		}
	}
}

// Certificates and an endpoint in plain text contradict each other, in lists too,
// and for the commands that only look.
func TestCertificatesForPlainText(t *testing.T) {
	for _, endpoints := range []string{"http://127.0.0.1:1", "https://127.0.0.1:1,http://127.0.0.1:2", "127.0.0.1:1,http://127.0.0.1:2"} {
		for _, command := range []string{"doctor", "ls"} {
			var out bytes.Buffer
			code := run(t.Context(), []string{command, "--etcd", endpoints, "--etcd-cacert", "ca.pem"}, strings.NewReader(""), &out, &out, func(string) string { return "" })
			if code != cli.ExitUsage || !strings.Contains(out.String(), "plain text") || !strings.Contains(out.String(), `"http://127.0.0.1:`) {
				t.Errorf("%s %s: %d, %s", command, endpoints, code, out.String())
			}
		}
	}
}

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
		{"read"},
		{"read", "a/b"},
		{"read", "audit", "--from", "soon"},
		{"read", "audit", "--count", "-1"},
		{"read", "audit", "--partition", "-2"},
		{"read", "audit", "--json", "--format", "%v"},
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
		{"group", "delete", "audit", "a/b"},
		{"group", "pause", "audit", "a/b", "--for", "1m"},
		{"group", "pause", "a/b", "c", "--destination", "--for", "1m"},
		{"group", "pause", "audit", "b"},
		{"group", "pause", "audit", "b", "--for", "-1m"},
		{"group", "pause", "audit", "b", "--until", "soon"},
		{"group", "pause", "audit", "b", "--for", "1m", "--until", "2100-01-01T00:00:00Z"},
		{"group", "resume", "audit", "a/b"},
		{"token", "ls", "a/b"},
		{"token", "rotate", "a/b"},
		{"token", "rotate", "orders", "a/b"},
		{"token", "rotate", "orders", "billing", "--grace", "10ms"},
		{"token", "revoke", "orders", "/"},
		{"group", "reset", "audit", "b", "--to", "latest", "--partitions", "5000"},
		{"rm", "a/b", "c"},
		{"rm", "a", "c d"},
		{"rm", "a/b"},
		{"send", "a", "--require", "b,c/d"},
		{"describe", "a/b"},
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
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" }); code != cli.ExitUsage {
			t.Errorf("%v: %d, want %d: %s", args, code, cli.ExitUsage, errs.String())
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s, so something waited", took)
	}
	for _, args := range [][]string{{"help"}, {"help", "topic"}, {"help", "topic", "create"}} {
		var out bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, func(string) string { return "" }); code != cli.ExitDone || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%v: %d %s", args, code, out.String())
		}
	}
}
