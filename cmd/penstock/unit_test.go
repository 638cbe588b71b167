package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want exitCode
	}{
		{nil, exitDone},
		{errors.New("any"), exitFailed},
		{io.ErrClosedPipe, exitFailed},
		{usagef("no"), exitUsage},
		{fmt.Errorf("join: %w", penstock.ErrInvalid), exitUsage},
		{&unreachableError{[]string{"a"}, penstock.ErrUnavailable}, exitUnreachable},
		{fmt.Errorf("%w: %w", penstock.ErrUnavailable, context.DeadlineExceeded), exitUnreachable},
		{fmt.Errorf("flush: %w", context.DeadlineExceeded), exitIncomplete},
		{context.Canceled, exitIncomplete},
		{incompletef("half"), exitIncomplete},
		{&penstock.AbandonedError{Messages: 1}, exitIncomplete},
		{errors.Join(incompletef("half"), penstock.ErrUnavailable), exitIncomplete},
		{fmt.Errorf("list: %w", penstock.ErrDenied), exitDenied},
		{&saidError{usagef("no")}, exitUsage},
		{penstock.ErrTooLarge, exitFailed},
		{penstock.ErrDestinationTaken, exitFailed},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestSettle(t *testing.T) {
	environment := map[string]string{
		"ETCDCTL_ENDPOINTS": "ctl:1,ctl:2", "ETCDCTL_USER": "ctl:pass:word", "ETCDCTL_CACERT": "ctl.pem", "PENSTOCK_PREFIX": "/env",
	}
	for name, c := range map[string]struct {
		flags etcdFlags
		env   map[string]string
		want  etcdSettings
	}{
		"nothing": {want: etcdSettings{endpoints: []string{"127.0.0.1:2379"}, prefix: "/penstock"}},
		"etcdctl": {env: environment, want: etcdSettings{
			endpoints: []string{"ctl:1", "ctl:2"}, cacert: "ctl.pem", user: "ctl", password: "pass:word", prefix: "/env",
		}},
		"ours before etcdctl's": {
			env:  map[string]string{"PENSTOCK_ETCD": "ours:1", "ETCDCTL_ENDPOINTS": "ctl:1"},
			want: etcdSettings{endpoints: []string{"ours:1"}, prefix: "/penstock"},
		},
		"flags before all": {
			env:   environment,
			flags: etcdFlags{endpoints: "flag:1, flag:2,", cacert: "flag.pem", cert: "c", key: "k", user: "flag:x", prefix: "/flag"},
			want: etcdSettings{
				endpoints: []string{"flag:1", "flag:2"}, cacert: "flag.pem", cert: "c", key: "k",
				user: "flag", password: "x", prefix: "/flag",
			},
		},
		"password apart": {
			flags: etcdFlags{user: "flag"}, env: map[string]string{"ETCDCTL_PASSWORD": "word"},
			want: etcdSettings{endpoints: []string{"127.0.0.1:2379"}, user: "flag", password: "word", prefix: "/penstock"},
		},
		"password without user": {
			env:  map[string]string{"ETCDCTL_PASSWORD": "word"},
			want: etcdSettings{endpoints: []string{"127.0.0.1:2379"}, prefix: "/penstock"},
		},
	} {
		c.flags.timeout, c.want.timeout = time.Second, time.Second
		got, err := c.flags.settle(func(k string) string { return c.env[k] })
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestSettleFaults(t *testing.T) {
	for name, f := range map[string]etcdFlags{
		"comma":    {endpoints: ","},
		"address":  {endpoints: "127.0.0.1:2379,nonsense::"},
		"user":     {endpoints: "http://root:hunter2@127.0.0.1:2379"},
		"cert":     {cert: "c"},
		"key":      {key: "k"},
		"password": {user: ":hunter2"},
		"timeout":  {timeout: -1},
	} {
		if f.timeout == 0 {
			f.timeout = time.Second
		}
		_, err := f.settle(func(string) string { return "" })
		if codeOf(err) != exitUsage || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigReadsFiles(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func(string) (string, error) { t.Error("asked for a password"); return "", nil }
	for _, s := range []etcdSettings{{cacert: junk}, {cacert: junk + ".not"}, {cert: junk, key: junk}} {
		if _, err := s.config(never); codeOf(err) != exitUsage {
			t.Errorf("%+v: %v", s, err)
		}
	}
	cfg, err := etcdSettings{endpoints: []string{"https://etcd:2379"}}.config(never)
	if err != nil || cfg.TLS == nil {
		t.Errorf("https: %v, %v", cfg.TLS, err)
	}
	cfg, err = etcdSettings{endpoints: []string{"etcd:2379"}, user: "u"}.config(func(user string) (string, error) { return user + "-word", nil })
	if err != nil || cfg.TLS != nil || cfg.Password != "u-word" {
		t.Errorf("password asked for: %+v, %v", cfg, err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, args := range [][]string{{"ls"}, {"doctor"}, {"recv", "a", "b"}, {"ls", "-vv"}} {
		var out bytes.Buffer
		args = append(args, "--etcd", "127.0.0.1:1", "--etcd-user", "root:hunter2", "--etcd-timeout", "200ms")
		if code := run(t.Context(), args, strings.NewReader(""), &out, &out, func(string) string { return "" }); code == exitDone {
			t.Errorf("%v succeeded", args)
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%v prints the password: %s", args, out.String())
		}
	}
}

func TestHelpOfEveryCommand(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no short text", cmd.CommandPath())
		}
		var out bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, os.Getenv); code != exitDone {
			t.Errorf("%v: %d", args, code)
		}
		for _, part := range []string{"Examples:", "Usage:", "Exit codes:", "3  etcd cannot be reached"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("help of %q lacks %q", cmd.CommandPath(), part)
			}
		}
	}
	walk((&app{}).root())
}

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
		{[]string{"ls", "--prefix", "nope"}, "nope"},
		{[]string{"doctor", "--prefix", "nope"}, "nope"},
		{[]string{"ls", "--etcd-user", "root"}, "ETCDCTL_PASSWORD"},
		{[]string{"ls", "--etcd", "nonsense::"}, `"nonsense::"`},
		{[]string{"doctor", "--etcd", "http://"}, "host:port"},
		{[]string{"send", "orders", "--etcd", "127.0.0.1:2379,localhost"}, `"localhost"`},
		{[]string{"topic", "ls", "--etcd", "/run/etcd.sock"}, "unix://path"},
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), c.args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" }); code != exitUsage {
			t.Errorf("%v: %d", c.args, code)
		}
		if !strings.Contains(errs.String(), c.says) {
			t.Errorf("%v says %q, want %q in it", c.args, errs.String(), c.says)
		}
	}
}

func TestVersionInEveryWay(t *testing.T) {
	var outs []string
	for _, args := range [][]string{{"version"}, {"--version"}} {
		var out bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &out, io.Discard, func(string) string { return "" }); code != exitDone {
			t.Errorf("%v: %d", args, code)
		}
		outs = append(outs, out.String())
	}
	if outs[0] != outs[1] || !strings.HasPrefix(outs[0], "penstock ") {
		t.Errorf("%q", outs)
	}
}

func TestParseKeepFor(t *testing.T) {
	for in, want := range map[string]time.Duration{"forever": penstock.Forever, "90s": 90 * time.Second, "1m0s": time.Minute} {
		if got, err := parseKeepFor(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

// linesOf reads everything.
func linesOf(r io.Reader, max int) (lines []string, err error) {
	in := newLineReader(r, max)
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(line))
	}
}

func TestLineReader(t *testing.T) {
	big := strings.Repeat("y", 150_000)
	for _, c := range []struct {
		in   string
		max  int
		want []string
		err  error
	}{
		{"", 9, nil, nil},
		{"\n", 9, []string{""}, nil},
		{"a\nb", 9, []string{"a", "b"}, nil},
		{"a\r\n\nb\n", 9, []string{"a\r", "", "b"}, nil},
		{big + "\nz", 150_000, []string{big, "z"}, nil},
		{"abc\nabcd\n", 3, []string{"abc"}, penstock.ErrTooLarge},
		{"abc", 3, []string{"abc"}, nil},
		{big, 149_999, nil, penstock.ErrTooLarge},
	} {
		got, err := linesOf(strings.NewReader(c.in), c.max)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%.20q: %d lines, %v", c.in, len(got), err)
		}
	}
	broken := io.MultiReader(strings.NewReader("one\ntw"), failingReader{})
	if got, err := linesOf(broken, 9); len(got) != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken stream: %v, %v", got, err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 3)
	f.Add([]byte("\r\n\x00\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, max int) {
		max = max&0xff + 1
		var want []string
		tooLong := false
		for l := range bytes.SplitSeq(bytes.TrimSuffix(in, []byte("\n")), []byte("\n")) {
			if tooLong = len(l) > max; tooLong {
				break
			}
			want = append(want, string(l))
		}
		if len(in) == 0 {
			want = nil
		}
		got, err := linesOf(bytes.NewReader(in), max)
		if !slices.Equal(got, want) || errors.Is(err, penstock.ErrTooLarge) != tooLong {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	})
}

func TestReportsSurviveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := report{rapid.IntRange(0, demoMost).Draw(t, "number"), rapid.Bool().Draw(t, "again")}
		line := string(appendReport(nil, r))
		if got, err := parseReport(strings.TrimSuffix(line, "\n")); err != nil || got != r {
			t.Fatalf("%q: %+v, %v, want %+v", line, got, err, r)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add("12 again")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseReport(line)
		if err == nil && r.number < 0 {
			t.Errorf("%q: %+v", line, r)
		}
	})
}

func TestTallyCountsAsItsReportsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.IntRange(1, 50).Draw(t, "messages")
		reports := rapid.SliceOf(rapid.IntRange(0, messages-1)).Draw(t, "reports")
		began := time.Unix(1000, 0)
		a := newTally(messages)
		for i, n := range reports {
			if err := a.add(report{n, i%3 == 0}, began.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		distinct := slices.Clone(reports)
		slices.Sort(distinct)
		distinct = slices.Compact(distinct)
		want := groupResult{
			Delivered: len(reports), Distinct: len(distinct), Duplicates: len(reports) - len(distinct),
			Lost: messages - len(distinct), Redelivered: (len(reports) + 2) / 3, PerSecond: float64(len(distinct)),
		}
		if got := a.result(messages, began); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
	if err := newTally(3).add(report{number: 3}, time.Time{}); err == nil {
		t.Error("a message that was never sent was counted")
	}
}

func TestDemoText(t *testing.T) {
	lines, err := demoLines("")
	if err != nil || len(lines) < 30 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, n := range []int{0, 7, len(lines), 12345} {
		got, err := numberOf(numbered(lines, n))
		if err != nil || got != n {
			t.Errorf("%d is read as %d, %v", n, got, err)
		}
	}
	for _, bad := range []string{"", "x 1", "-1 a", "99999999999 a"} {
		if n, err := numberOf([]byte(bad)); err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	m := penstock.Message{
		Key: []byte("k"), Value: []byte("line\nbreak"), Time: time.Unix(1, 5).UTC(),
		Headers: []penstock.Header{{Name: "h", Value: []byte("v")}, {Name: "b", Value: []byte{0xfe}}},
	}
	d := penstock.Delivery{Payload: messages.PayloadOf(&m), Sender: "s", Seq: 7, Attempt: 2, Redelivered: true}
	want := `{"key":"k","value":"line\nbreak","headers":[{"name":"h","value":"v"},{"name":"b","value_base64":"/g=="}],` +
		`"attempt":2,"redelivered":true,"sender":"s","seq":7,"time":"1970-01-01T00:00:01.000000005Z"}` + "\n"
	if got := string(appendJSON(nil, &d)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(appendJSON(nil, &penstock.Delivery{})); got != `{"value":"","attempt":0,"sender":"","seq":0}`+"\n" {
		t.Errorf("an empty one: %s", got)
	}
}

func TestJudgements(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, c := range map[string]struct {
		got  check
		want verdict
		says string
	}{
		"version":           {judgeVersion("e", "3.7.1"), verdictOK, "3.7.1"},
		"newer":             {judgeVersion("e", "4.0.0-rc.1"), verdictOK, ""},
		"older":             {judgeVersion("e", "3.6.12"), verdictFail, "upgrade"},
		"older by a digit":  {judgeVersion("e", "3.7.0"), verdictFail, "upgrade"},
		"no version":        {judgeVersion("e", "new"), verdictWarn, "not understood"},
		"leader":            {judgeLeader("e", 1, false), verdictOK, ""},
		"no leader":         {judgeLeader("e", 0, false), verdictFail, "majority"},
		"learner":           {judgeLeader("e", 1, true), verdictWarn, "learner"},
		"space":             {judgeSpace("e", 79, 10, 100), verdictOK, ""},
		"little space":      {judgeSpace("e", 80, 10, 100), verdictWarn, "compact"},
		"no space":          {judgeSpace("e", 95, 10, 100), verdictFail, "compact"},
		"default quota":     {judgeSpace("e", 1<<30, 0, 0), verdictOK, "2048"},
		"alarms":            {judgeAlarms("e", nil), verdictOK, "none"},
		"full":              {judgeAlarms("e", []string{"memberID:1 alarm:NOSPACE "}), verdictFail, "disarm"},
		"corrupt":           {judgeAlarms("e", []string{"alarm:CORRUPT"}), verdictFail, "restore"},
		"slow":              {judgeAnswer("e", 3*time.Second), verdictWarn, "network"},
		"clock":             {judgeClock("e", 1900*time.Millisecond, nil), verdictOK, ""},
		"clock ahead":       {judgeClock("e", time.Hour, nil), verdictWarn, "1h0m0s ahead"},
		"clock behind":      {judgeClock("e", -time.Hour, nil), verdictWarn, "1h0m0s behind"},
		"clock unknown":     {judgeClock("e", 0, errors.New("no date")), verdictWarn, "no date"},
		"rights":            {judgeRights("/p", "", nil, time.Millisecond), verdictOK, ""},
		"no rights":         {judgeRights("/p", "put", penstock.ErrDenied, 0), verdictFail, "readwrite --prefix=true /p/"},
		"failed probe":      {judgeRights("/p", "put", errors.New("x"), 0), verdictFail, "put: x"},
		"slow disk":         {judgeRights("/p", "", nil, time.Minute), verdictWarn, "slow"},
		"secrets":           {judgeSecrets("/p/secret/", nil), verdictOK, ""},
		"no secrets":        {judgeSecrets("/p/secret/", penstock.ErrDenied), verdictWarn, "not connect"},
		"socket":            {judgeSocket("s", "tcp://a:1", nil), verdictOK, "answers"},
		"dead socket":       {judgeSocket("s", "tcp://a:1", errors.New("refused")), verdictFail, "lease"},
		"stranger":          {judgeSocket("s", "tcp://a:1", errNotSender), verdictFail, "something else"},
		"other transport":   {judgeSocket("s", "ipc://a", errNotTCP), verdictWarn, "not checked"},
		"denied":            {judgeUnreached("etcd", nil, penstock.ErrDenied), verdictFail, "password"},
		"loopback":          {judgeTransport([]string{"127.0.0.1:2379", "http://localhost:1", "unix:///x"}, false), verdictOK, ""},
		"open network":      {judgeTransport([]string{"127.0.0.1:2379", "http://10.0.0.1:2379"}, false), verdictWarn, "10.0.0.1"},
		"open network name": {judgeTransport([]string{"etcd:2379"}, false), verdictWarn, "etcd"},
		"tls":               {judgeTransport([]string{"etcd:2379"}, true), verdictOK, "TLS"},
		"listing":           {judgeListing("/p/", penstock.ErrDenied), verdictFail, "grant"},
		"registry":          {judgeRegistry(&inventory{}, now), verdictOK, "0 destinations"},
		"unreadable":        {judgeRegistry(&inventory{Unreadable: []string{"/k"}}, now), verdictWarn, "/k"},
		"from the future": {judgeRegistry(&inventory{Destinations: []*destination{{
			Name: "orders", Senders: []sender{{ID: "a", Host: "far", Since: now.Add(time.Minute)}},
		}}}, now), verdictWarn, "orders/a on far registered 1m0s from now"},
	} {
		if c.got.Status != c.want || !strings.Contains(c.got.Found+" "+c.got.Do, c.says) {
			t.Errorf("%s: %+v, want %s with %q", name, c.got, c.want, c.says)
		}
		if c.got.Status == verdictFail && c.got.Do == "" && name != "secrets" {
			t.Errorf("%s fails and says nothing to do", name)
		}
	}
}

func TestInventoryTellsWhatDoesNotDecode(t *testing.T) {
	space := keys.Space("/p")
	inv := inventoryOf(space, []discovery.KV{
		{Key: space.Sender("orders", "a"), Value: []byte{0xff}},
		{Key: space.GroupMeta("orders", "g"), Value: []byte{0xff}},
		{Key: space.Member("orders", "g", "m"), Value: []byte{0xff}},
		{Key: space.Deserted("orders", "g"), Value: []byte("yesterday")},
		{Key: "/p/dest/not/ours/at/all/x"},
	})
	if len(inv.Unreadable) != 4 || len(inv.Destinations) != 0 {
		t.Errorf("%+v", inv)
	}
}

func TestInventoryMarksDesertedGroups(t *testing.T) {
	space := keys.Space("/p")
	meta, err := proto.Marshal(&pb.GroupMeta{KeepForMs: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	inv := inventoryOf(space, []discovery.KV{
		{Key: space.Deserted("orders", "g"), Value: []byte("2026-11-22T02:03:04.5Z")},
		{Key: space.GroupMeta("orders", "g"), Value: meta},
	})
	var out strings.Builder
	if err := inv.print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "keep 1m0s  no members since 2026-11-22T02:03:04Z\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q, want %q in it", out.String(), want)
	}
}

func TestCleanKeepsATerminalSafe(t *testing.T) {
	if got := clean("a\x1b[2Jb\nc é"); got != "a�[2Jb�c é" {
		t.Errorf("%q", got)
	}
}
