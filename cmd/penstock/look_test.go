package main

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
	{regexp.MustCompile(`/run\d+`), ""},
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
	_, errs := perform(t, exitDone, "", "ls")
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

	out, _ := perform(t, exitDone, "", "ls")
	golden(t, "ls.txt", out)
	out, _ = perform(t, exitDone, "", "ls", "--json")
	golden(t, "ls.json", out)
	out, _ = perform(t, exitDone, "", "actors", addr)
	golden(t, "actors.txt", out)
	out, _ = perform(t, exitDone, "", "actors", addr, "--json")
	var tree struct {
		Actors []actorInfo `json:"actors"`
	}
	if err := json.Unmarshal([]byte(out), &tree); err != nil || len(tree.Actors) < 4 {
		t.Errorf("actors --json: %v: %s", err, out)
	}
	out, _ = perform(t, exitDone, "", "doctor")
	golden(t, "doctor.txt", out)
	out, _ = perform(t, exitDone, "", "doctor", "--json")
	golden(t, "doctor.json", out)

	w.Close()
	send.ends(exitDone)
}

func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, exitFailed, "", "doctor", "--etcd", "127.0.0.1:1", "--etcd-timeout", "500ms")
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
	out, _ := perform(t, exitFailed, "", "doctor")
	if line := lastLine(out); !strings.HasPrefix(line, "fail  sender orders/") || !strings.Contains(line, "no sender") {
		t.Errorf("the last line is %q", line)
	}
	w.Close()
	send.ends(exitDone)
}

func TestActorsOfNobody(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, exitFailed, "", "actors", "127.0.0.1:1")
	if !strings.Contains(errs, "--diagnostics 127.0.0.1:1") {
		t.Errorf("says %q", errs)
	}
	perform(t, exitUsage, "", "actors", "nonsense")
	perform(t, exitUsage, "", "recv", "orders", "billing", "--diagnostics", "0.0.0.0:0")
}

func TestActorsOverAUnixSocket(t *testing.T) {
	t.Parallel()
	at := "unix://" + filepath.Join(t.TempDir(), "d.sock")
	recv := begin(t, nil, nil, "recv", "orders", "billing", "--diagnostics", at)
	recv.says(noSender)
	out, _ := perform(t, exitDone, "", "actors", at)
	if !strings.Contains(out, "member/orders/billing") {
		t.Errorf("printed %q", out)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	out, errs := perform(t, exitDone, "", "demo", "--json")
	var res result
	if err := json.Unmarshal([]byte(lastLine(out)), &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if res.Sent != 20_000 || res.lost() != 0 || len(res.Groups) != 2 || res.Killed == nil || res.Killed.Member != "billing/2" {
		t.Errorf("it ends with %s", out)
	}
	for name, g := range res.Groups {
		if g.Distinct != res.Sent || g.Delivered-g.Distinct != g.Duplicates || g.PerSecond <= 0 {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if audit := res.Groups["audit"]; audit.Duplicates != 0 {
		t.Errorf("nobody of audit died, and it has %d duplicates", audit.Duplicates)
	}
	if !strings.Contains(errs, "killed member billing/2 (pid ") {
		t.Errorf("says %q", errs)
	}
}

func TestDemoOfAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("one line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := perform(t, exitDone, "", "demo", file, "--messages", "100")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "killed member billing/2 (pid ") ||
		!strings.HasPrefix(lines[1], "billing  delivered ") || !strings.HasPrefix(lines[2], "audit    delivered 100  distinct 100  duplicates 0  lost 0") {
		t.Errorf("printed %s", out)
	}
	perform(t, exitFailed, "", "demo", file+".not")
	perform(t, exitUsage, "", "demo", "--messages", "0")
}
