package main

// What ls, actors and doctor print, against testdata.

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/look"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var masks = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "ID"},
	{regexp.MustCompile(`\bid [a-z2-7]{16}\b`), "id ID"}, // of a topic
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDR"},
	{regexp.MustCompile(`in \d[\d.]*[mµ]?s\b`), "in TOOK"},
	{regexp.MustCompile(`(?m)^warn(  .* in TOOK); .*$`), "ok$1"}, // a machine may be slow
	{regexp.MustCompile(`"warn",(\s+"found": ".*in TOOK"),\s+"do": ".*"`), `"ok",$1`},
	{regexp.MustCompile(`[\d.]+ MiB`), "N MiB"},
	{regexp.MustCompile(`#\d+`), "#N"},
	{regexp.MustCompile(`(\d+ {2,}\d+ {2,})[\d.]+[mµ]?s {2,}\S+( {2,}TIME)`), "${1}TOOK  MEAN$2"}, // of an actor
	{regexp.MustCompile(`/run\d+`), ""},
	{regexp.MustCompile(`"age_ms": \d+`), `"age_ms": AGE`},
	{regexp.MustCompile(`(?m)(ID +\d+ +\S+ +)\d+s$`), "${1}AGE"},              // of a token
	{regexp.MustCompile(`(?m)^(\d+( +\d+){2} +[1-9]\d*) +\d+$`), "$1  BYTES"}, // of a partition: how it was batched decides
	{regexp.MustCompile(`(\S) {2,}`), "$1  "},                                 // columns follow the width of what was masked
}

func masked(s string) string {
	if host, err := os.Hostname(); err == nil {
		s = regexp.MustCompile(`(^|[ "])`+regexp.QuoteMeta(host)+`($|[ "])`).ReplaceAllString(s, "${1}HOST${2}")
	}
	for _, m := range masks {
		s = m.re.ReplaceAllString(s, m.with)
	}
	return s
}

// golden compares masked output with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = masked(got)
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, cli.ExitDone, "", "ls")
	if !strings.Contains(errs, "nothing to show under /TestLook") {
		t.Errorf("an empty ls says %q", errs)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0", "--sole", "-v")
	r.Close()
	send.says("destination_registered")
	recv := begin(t, nil, nil, "recv", "orders", "billing", "--window", "64", "--keep-for", "forever", "--diagnostics", "127.0.0.1:0", "-v")
	addr := strings.TrimPrefix(recv.says("diagnostics at"), "diagnostics at ")
	recv.says("sender_linked")
	send.says("member_linked")

	out := shows(t, "member ", "ls")
	golden(t, "ls.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "ls", "--json")
	golden(t, "ls.json", out)
	out, _ = perform(t, cli.ExitDone, "", "actors", addr)
	golden(t, "actors.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "token", "ls", "orders")
	golden(t, "token_ls.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "token", "ls", "orders", "--json")
	golden(t, "token_ls.json", out)
	out, _ = perform(t, cli.ExitDone, "", "actors", addr, "--json")
	var tree struct {
		Actors []look.ActorInfo `json:"actors"`
	}
	if err := json.Unmarshal([]byte(out), &tree); err != nil || len(tree.Actors) < 4 {
		t.Errorf("actors --json: %v: %s", err, out)
	}
	out, _ = perform(t, cli.ExitDone, "", "doctor", "--listen", "tcp://127.0.0.1:0")
	golden(t, "doctor.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "doctor", "--listen", "tcp://127.0.0.1:0", "--json")
	golden(t, "doctor.json", out)

	w.Close()
	send.ends(cli.ExitDone)
}

func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, cli.ExitFailed, "", "doctor", "--etcd", "127.0.0.1:1", "--etcd-timeout", "500ms")
	if !strings.Contains(errs, "something is wrong") {
		t.Errorf("says %q", errs)
	}
	// A port that is somebody else's: it takes the connection and says nothing
	// that a sender would.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("220 mail.example ESMTP\r\n"))
			c.Close()
		}
	}()
	defer func() {
		l.Close()
		<-done
	}()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	send := begin(t, r, nil, "send", "orders", "--listen", "tcp://127.0.0.1:0?advertise=127.0.0.1:"+port, "-v")
	r.Close()
	send.says("destination_registered")
	out, _ := perform(t, cli.ExitFailed, "", "doctor")
	if line := lastLine(out); !strings.HasPrefix(line, "fail  sender orders/") || !strings.Contains(line, "no sender") {
		t.Errorf("the last line is %q", line)
	}
	w.Close()
	send.ends(cli.ExitDone)
}

func TestActorsOfNobody(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, cli.ExitFailed, "", "actors", "127.0.0.1:1")
	if !strings.Contains(errs, "--diagnostics 127.0.0.1:1") {
		t.Errorf("says %q", errs)
	}
	perform(t, cli.ExitUsage, "", "actors", "nonsense")
	perform(t, cli.ExitUsage, "", "recv", "orders", "billing", "--diagnostics", "0.0.0.0:0")
}

func TestActorsOverAUnixSocket(t *testing.T) {
	t.Parallel()
	at := "unix://" + filepath.Join(t.TempDir(), "d.sock")
	recv := begin(t, nil, nil, "recv", "orders", "billing", "--diagnostics", at)
	recv.says(noSender)
	out, _ := perform(t, cli.ExitDone, "", "actors", at)
	if !strings.Contains(out, "member/orders/billing") {
		t.Errorf("printed %q", out)
	}
}
