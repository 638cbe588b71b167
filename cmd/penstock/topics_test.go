package main

// Topics, records and consumer groups, from the shell and back.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/cmd/penstock/internal/topics"
)

// subscribed is what sub -v logs when it is in.
const subscribed = "msg=subscribed"

// createTopic makes a topic of so many partitions.
func createTopic(t *testing.T, partitions int) {
	t.Helper()
	perform(t, cli.ExitDone, "", "topic", "create", "audit", "--partitions", fmt.Sprint(partitions))
}

// putLines puts the lines 1 to n.
func putLines(t *testing.T, n int) {
	t.Helper()
	if _, errs := perform(t, cli.ExitDone, numbersTo(n), "put", "audit"); lastLine(errs) != fmt.Sprintf("put %d", n) {
		t.Fatalf("put says %q", errs)
	}
}

func TestTopicLife(t *testing.T) {
	t.Parallel()
	_, errs := perform(t, cli.ExitDone, "", "topic", "ls")
	if !strings.Contains(errs, "no topics") {
		t.Errorf("an empty ls says %q", errs)
	}
	out, _ := perform(t, cli.ExitDone, "", "topic", "create", "audit", "--partitions", "2", "--compression", "none", "--json")
	var made, found inventory.Topic
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "audit" || made.Partitions != 2 || made.Compression != "none" || made.ID == "" {
		t.Errorf("create prints %s: %v", out, err)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "topic", "create", "audit"); !strings.Contains(errs, "--if-absent") {
		t.Errorf("a second create says %q", errs)
	}
	out, _ = perform(t, cli.ExitDone, "", "topic", "create", "audit", "--partitions", "9", "--if-absent", "--json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || found != made {
		t.Errorf("--if-absent prints %+v, want %+v: %v", found, made, err)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "topic", "create", "ab"); !strings.Contains(errs, `"ab"`) {
		t.Errorf("a short name: %q", errs)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "topic", "update", "audit", "--partitions", "1"); !strings.Contains(errs, "1") {
		t.Errorf("fewer partitions: %q", errs)
	}
	out, _ = perform(t, cli.ExitDone, "", "topic", "update", "audit", "--partitions", "3", "--compression", "zstd")
	if !strings.Contains(out, "partitions 3  compression zstd") {
		t.Errorf("update prints %q", out)
	}
	perform(t, cli.ExitDone, "a\nb\n", "put", "audit", "--partition", "1")
	perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "1", "--partitions", "1")

	out, _ = perform(t, cli.ExitDone, "", "topic", "ls")
	golden(t, "topic_ls.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "topic", "describe", "audit")
	golden(t, "topic_describe.txt", out)
	out, _ = perform(t, cli.ExitDone, "", "topic", "describe", "audit", "--json")
	var detail topics.Detail
	if err := json.Unmarshal([]byte(out), &detail); err != nil || detail.Records != 2 || len(detail.Groups) != 1 || detail.Groups[0].Lag != 1 || detail.Revision == 0 {
		t.Errorf("describe --json prints %s: %v", out, err)
	}
	out, _ = perform(t, cli.ExitDone, "", "ls")
	if !strings.HasPrefix(out, "topic audit  id ") {
		t.Errorf("ls prints %q", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "__complete", "sub", "")
	if !strings.HasPrefix(out, "audit\n") {
		t.Errorf("sub completes with %q", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "__complete", "group", "describe", "audit", "")
	if !strings.HasPrefix(out, "billing\n") {
		t.Errorf("group describe completes with %q", out)
	}

	out, errs = perform(t, cli.ExitDone, "", "topic", "delete", "audit")
	if out != "" || !strings.Contains(errs, "deleted audit") {
		t.Errorf("delete prints %q and says %q", out, errs)
	}
	for _, args := range [][]string{
		{"topic", "describe", "audit"}, {"topic", "delete", "audit"}, {"topic", "update", "audit", "--partitions", "4"},
		{"group", "ls", "audit"}, {"group", "describe", "audit", "billing"}, {"group", "reset", "audit", "billing", "--to", "earliest"},
		{"put", "audit"}, {"sub", "audit", "billing"},
	} {
		if _, errs := perform(t, cli.ExitFailed, "", args...); !strings.Contains(errs, "no such topic") {
			t.Errorf("%v says %q", args, errs)
		}
	}
	for _, args := range [][]string{{"group", "pause", "orders", "billing", "--for", "1m"}, {"group", "resume", "orders", "billing"}} {
		if _, errs := perform(t, cli.ExitFailed, "", args...); !strings.Contains(errs, "needs --destination") {
			t.Errorf("%v says %q", args, errs)
		}
	}
}

func TestPutAndSub(t *testing.T) {
	t.Parallel()
	const n = 20_000
	createTopic(t, 4)
	early := begin(t, nil, nil, "sub", "audit", "early", "--count", fmt.Sprint(n), "-v")
	early.says(subscribed)
	putLines(t, n)
	for _, p := range []*process{early, begin(t, nil, nil, "sub", "audit", "late", "--count", fmt.Sprint(n))} {
		out, _ := p.ends(cli.ExitDone)
		exactly(t, n, out)
	}
	out, _ := perform(t, cli.ExitDone, "", "group", "ls", "audit")
	if out != "early\nlate\n" {
		t.Errorf("group ls prints %q", out)
	}
	for _, group := range []string{"early", "late"} {
		out, _ := perform(t, cli.ExitDone, "", "group", "describe", "audit", group, "--json")
		var g topics.GroupView
		if err := json.Unmarshal([]byte(out), &g); err != nil || g.Lag != 0 || len(g.Offsets) != 4 || len(g.Members) != 0 || g.Mode != "automatic" {
			t.Errorf("group describe prints %s: %v", out, err)
		}
	}
}

func TestKeysAndFormat(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitDone, "a:1\nb\na:2:3\n", "put", "audit", "--create", "--key-sep", ":", "--header", "from=here", "--header", "n=1")
	out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "plain", "--count", "3", "--format", `%p:%o %k=%v%%\n`)
	if want := "0:0 a=1%\n0:1 =b%\n0:2 a=2:3%\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	out, _ = perform(t, cli.ExitDone, "", "sub", "audit", "json", "--count", "1", "--json")
	var l topics.RecordLine
	if err := json.Unmarshal([]byte(out), &l); err != nil || *l.Key != "a" || *l.Value != "1" || len(l.Headers) != 2 || *l.Headers[0].Value != "here" ||
		l.Fence == 0 || l.Attempt != 1 || time.Since(l.Time).Abs() > time.Hour {
		t.Errorf("printed %s: %v", out, err)
	}
}

func TestSubGoesOnWhereItsGroupIs(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	putLines(t, 100)
	first, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "10")
	rest, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "90", "--from", "latest")
	if first+rest != numbersTo(100) {
		t.Errorf("printed %q and then %q", first, rest)
	}
}

func TestConsumersShareAGroup(t *testing.T) {
	t.Parallel()
	const n = 5000
	createTopic(t, 4)
	a := begin(t, nil, nil, "sub", "audit", "billing", "-v")
	a.says(subscribed)
	b := begin(t, nil, nil, "sub", "audit", "billing", "-v")
	b.says("partition_claimed")
	var keyed strings.Builder // so that they go to all partitions
	for i := range n {
		fmt.Fprintf(&keyed, "%d:%d\n", i, i+1)
	}
	perform(t, cli.ExitDone, keyed.String(), "put", "audit", "--key-sep", ":")
	lagless(t)
	a.signal(syscall.SIGTERM)
	first, _ := a.ends(cli.ExitDone)
	b.signal(syscall.SIGINT)
	second, _ := b.ends(cli.ExitDone)
	if first == "" || second == "" {
		t.Errorf("one printed %d bytes, the other %d", len(first), len(second))
	}
	exactly(t, n, first, second)
}

// lagless waits until the group billing has committed everything.
func lagless(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		out, _ := perform(t, cli.ExitDone, "", "group", "describe", "audit", "billing", "--json")
		var g topics.GroupView
		if err := json.Unmarshal([]byte(out), &g); err != nil {
			t.Fatal(err)
		}
		if g.Lag == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the group still lags: %s", out)
		}
	}
}

func TestClosedOutputCommitsNothing(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	putLines(t, 50)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p := begin(t, nil, w, "sub", "audit", "billing")
	w.Close()
	if _, errs := p.ends(cli.ExitFailed); !strings.Contains(errs, "broken pipe") {
		t.Errorf("says %q", errs)
	}
	all, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "50")
	exactly(t, 50, all)
}

func TestSignalDrainsSub(t *testing.T) {
	t.Parallel()
	const n = 50_000
	createTopic(t, 4)
	putLines(t, n)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := begin(t, nil, w, "sub", "audit", "billing")
	w.Close()
	in := bufio.NewReader(r)
	head, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	<-time.After(500 * time.Millisecond) // it waits for its reader, and nothing tells that it has heard
	tail, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	p.ends(cli.ExitDone)
	rest, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "5s")
	if rest == "" {
		t.Error("nothing was left: the signal came too late to tell anything")
	}
	exactly(t, n, head, string(tail), rest)
}

func TestSubWithoutAReader(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	long := strings.Repeat("x", 500_000) + "\n" // more than a pipe holds
	perform(t, cli.ExitDone, long, "put", "audit")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := begin(t, nil, w, "sub", "audit", "billing")
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil { // the write that does not end has begun
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	if _, errs := p.ends(cli.ExitFailed); !strings.Contains(errs, "the output takes nothing") {
		t.Errorf("says %q", errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "1"); out != long {
		t.Errorf("%d bytes are printed again, want %d", len(out), len(long))
	}
}

func TestSubIdle(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "200ms"); out != "" {
		t.Errorf("printed %q", out)
	}
	putLines(t, 3)
	out, errs := perform(t, cli.ExitIncomplete, "", "sub", "audit", "billing", "--idle", "5s", "--count", "4")
	if out != numbersTo(3) || !strings.Contains(errs, "got 3 of 4 records (idle)") {
		t.Errorf("printed %q and says %q", out, errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "200ms"); out != "" {
		t.Errorf("printed %q again", out)
	}
}

func TestSubFrom(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	putLines(t, 10)
	for i, c := range []struct{ from, want, end string }{
		{"earliest", numbersTo(10), "--count=10"}, {"latest", "", "--idle=300ms"}, {"8", "9\n10\n", "--count=2"}, {"1h", numbersTo(10), "--count=10"},
		{time.Now().Add(time.Hour).Format(time.RFC3339), "", "--idle=300ms"},
	} {
		if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", fmt.Sprint("group", i), c.end, "--from", c.from); out != c.want {
			t.Errorf("from %s: %q, want %q", c.from, out, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	if out, _ := perform(t, cli.ExitDone, "", "read", "audit"); out != "" {
		t.Errorf("of nothing it prints %q", out)
	}
	perform(t, cli.ExitDone, numbersTo(5), "put", "audit", "--partition", "0")
	perform(t, cli.ExitDone, "a:6\nb:7\n", "put", "audit", "--partition", "1", "--key-sep", ":")
	hour := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--partition", "0"}, numbersTo(5)},
		{[]string{"--partition", "0", "--from", "3"}, "4\n5\n"},
		{[]string{"--partition", "0", "--from", "5"}, ""},
		{[]string{"--partition", "0", "--from", "1", "--count", "2"}, "2\n3\n"},
		{[]string{"--partition", "1", "--from", "1h", "--format", `%p:%o %k=%v\n`}, "1:0 a=6\n1:1 b=7\n"},
		{[]string{"--from", "latest"}, ""},
		{[]string{"--from", hour}, ""},
		{[]string{"--partition", "0", "--count", "9"}, numbersTo(5)},
	} {
		if out, _ := perform(t, cli.ExitDone, "", append([]string{"read", "audit"}, c.args...)...); out != c.want {
			t.Errorf("%v prints %q, want %q", c.args, out, c.want)
		}
	}
	out, _ := perform(t, cli.ExitDone, "", "read", "audit")
	exactly(t, 7, out)
	out, _ = perform(t, cli.ExitDone, "", "read", "audit", "--partition", "1", "--count", "1", "--json")
	var l topics.ReadLine
	if err := json.Unmarshal([]byte(out), &l); err != nil || *l.Key != "a" || *l.Value != "6" || l.Partition != 1 || l.Offset != 0 || time.Since(l.Time).Abs() > time.Hour {
		t.Errorf("printed %s: %v", out, err)
	}
	if out, _ := perform(t, cli.ExitDone, "", "group", "ls", "audit"); out != "" {
		t.Errorf("reading made the groups %q", out)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "read", "audit", "--from", "4"); !strings.Contains(errs, "out of range") {
		t.Errorf("an offset that one has not: %q", errs)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "read", "audit", "--partition", "2"); !strings.Contains(errs, "audit has 2") {
		t.Errorf("a partition that is none: %q", errs)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "read", "other"); !strings.Contains(errs, "penstock topic create") {
		t.Errorf("no topic: %q", errs)
	}
}

func TestReadFollows(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	putLines(t, 5)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := begin(t, nil, w, "read", "audit", "--follow")
	w.Close()
	in := bufio.NewReader(r)
	line := func() string {
		t.Helper()
		text, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var got strings.Builder
	for range 5 {
		got.WriteString(line())
	}
	exactly(t, 5, got.String())
	perform(t, cli.ExitDone, "6\n", "put", "audit")
	if text := line(); text != "6\n" {
		t.Errorf("then comes %q", text)
	}
	all.signal(syscall.SIGTERM)
	all.ends(cli.ExitDone)

	counted := begin(t, nil, nil, "read", "audit", "--follow", "--count", "7")
	perform(t, cli.ExitDone, "7\n", "put", "audit")
	out, _ := counted.ends(cli.ExitDone)
	exactly(t, 7, out)
}

func TestGroupReset(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	perform(t, cli.ExitDone, numbersTo(10), "put", "audit", "--partition", "0")
	perform(t, cli.ExitDone, numbersTo(4), "put", "audit", "--partition", "1")
	live := begin(t, nil, nil, "sub", "audit", "billing", "-v")
	live.says(subscribed)
	lagless(t)
	if _, errs := perform(t, cli.ExitFailed, "", "group", "reset", "audit", "billing", "--to", "earliest"); !strings.Contains(errs, "use --force") {
		t.Errorf("a reset of a live group says %q", errs)
	}
	out, _ := perform(t, cli.ExitDone, "", "group", "reset", "audit", "billing", "--to", "8", "--partitions", "0", "--force")
	if want := "partition  from  to\n0          10    8\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	lagless(t)
	live.signal(syscall.SIGTERM)
	out, _ = live.ends(cli.ExitDone)
	if got := strings.Count(out, "\n"); got != 16 {
		t.Errorf("printed %d lines, want 14 and 2 again", got)
	}

	out, errs := perform(t, cli.ExitDone, "", "group", "reset", "audit", "billing", "--to", "earliest", "--dry-run", "--json")
	if want := `{"topic":"audit","group":"billing","dry_run":true,"changes":[{"partition":0,"from":10,"to":0},{"partition":1,"from":4,"to":0}]}`; compact(t, out) != want {
		t.Errorf("printed %s, want %s; says %q", out, want, errs)
	}
	if out, _ = perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "300ms"); out != "" {
		t.Errorf("the dry run moved the group: %q", out)
	}
	perform(t, cli.ExitDone, "", "group", "reset", "audit", "billing", "--to", "earliest")
	out, _ = perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "14")
	exactly(t, 10, strings.Replace(out, numbersTo(4), "", 1))
	if _, errs := perform(t, cli.ExitFailed, "", "sub", "audit", "billing", "--partitions", "0"); !strings.Contains(errs, "--partitions") {
		t.Errorf("the other mode: %q", errs)
	}
	for _, more := range [][]string{nil, {"--dry-run"}, {"--force"}} {
		_, errs := perform(t, cli.ExitFailed, "", append([]string{"group", "reset", "audit", "billign", "--to", "earliest"}, more...)...)
		if !strings.Contains(errs, "no such group") {
			t.Errorf("a reset of no group says %q", errs)
		}
	}
	if out, _ := perform(t, cli.ExitDone, "", "group", "ls", "audit"); out != "billing\n" {
		t.Errorf("the groups are %q", out)
	}
	perform(t, cli.ExitDone, "", "group", "reset", "audit", "planned", "--to", "latest", "--create")
	if out, _ := perform(t, cli.ExitDone, "", "group", "ls", "audit"); out != "billing\nplanned\n" {
		t.Errorf("the groups are %q", out)
	}
	if _, errs := perform(t, cli.ExitUsage, "", "group", "reset", "audit", "billing", "--to", "0", "--partitions", "7"); !strings.Contains(errs, "7") {
		t.Errorf("an unknown partition: %q", errs)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "group", "reset", "audit", "billing", "--to", "99"); !strings.Contains(errs, "out of range") {
		t.Errorf("beyond the end: %q", errs)
	}
}

// compact is JSON without its spaces.
func compact(t *testing.T, s string) string {
	t.Helper()
	var v json.RawMessage
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGroupDelete(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	putLines(t, 3)
	live := begin(t, nil, nil, "sub", "audit", "billing", "-v")
	live.says(subscribed)
	lagless(t)
	if _, errs := perform(t, cli.ExitFailed, "", "group", "delete", "audit", "billing"); !strings.Contains(errs, "has members: stop them first") {
		t.Errorf("with a member it says %q", errs)
	}
	live.signal(syscall.SIGTERM)
	live.ends(cli.ExitDone)
	if _, errs := perform(t, cli.ExitDone, "", "group", "delete", "audit", "billing"); !strings.Contains(errs, "deleted group billing of audit") {
		t.Errorf("says %q", errs)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "group", "delete", "audit", "billing", "--json"); !strings.Contains(errs, "no such group") {
		t.Errorf("a second time it says %q", errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "3"); out != numbersTo(3) {
		t.Errorf("the next group of its name gets %q", out)
	}
}

// A table without keys says why, and a tombstone is no empty line.
func TestTopicWithoutKeys(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	table := func(want string, args ...string) {
		t.Helper()
		out, said := perform(t, cli.ExitDone, "", append([]string{"topic", "table", "audit"}, args...)...)
		if out != "" || !strings.Contains(said, want) {
			t.Errorf("table prints %q, and says %q, want %q", out, said, want)
		}
	}
	table("has no records")
	perform(t, cli.ExitDone, "one\n", "put", "audit")
	table("were put without")
	perform(t, cli.ExitDone, "plums\n", "put", "audit", "--tombstone")
	table("no keys left")
	table(`no key that begins with "p"`, "--keys", "p")
	if out, _ := perform(t, cli.ExitDone, "", "read", "audit"); out != "one\ntombstone of plums\n" {
		t.Errorf("read prints %q", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "read", "audit", "--format", `%k=%v\n`); out != "=one\nplums=\n" {
		t.Errorf("read prints %q", out)
	}
}

// Promise: table and latest print the newest record of each key, and of one; --watch prints
// what changes, until a signal.
func TestTopicTable(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	put := func(text string, args ...string) {
		perform(t, cli.ExitDone, text, append([]string{"put", "audit"}, args...)...)
	}
	put("pears 1\napples 1\nplums 1\napples 2\n", "--key-sep", " ")
	put("plums\n", "--tombstone")
	if out, _ := perform(t, cli.ExitDone, "", "topic", "table", "audit"); out != "apples\t2\npears\t1\n" {
		t.Errorf("table prints %q", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "table", "audit", "--keys", "p"); out != "pears\t1\n" {
		t.Errorf("table of keys prints %q", out)
	}
	out, _ := perform(t, cli.ExitDone, "", "topic", "table", "audit", "--keys", "apples", "--json")
	var l topics.TableLine
	if err := json.Unmarshal([]byte(out), &l); err != nil || *l.Key != "apples" || *l.Value != "2" || *l.Offset != 1 && *l.Offset != 2 || l.Deleted {
		t.Errorf("table --json prints %s: %v", out, err)
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "latest", "audit", "apples"); out != "2\n" {
		t.Errorf("latest prints %q", out)
	}
	for _, key := range []string{"plums", "figs"} {
		if out, errs := perform(t, cli.ExitFailed, "", "topic", "latest", "audit", key); out != "" || !strings.Contains(errs, "no record") {
			t.Errorf("latest of %s prints %q and says %q", key, out, errs)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := begin(t, nil, w, "topic", "table", "audit", "--keys", "apples", "--watch")
	w.Close()
	printed := bufio.NewScanner(r)
	next := func(want string) {
		t.Helper()
		if !printed.Scan() || printed.Text() != want {
			t.Errorf("--watch prints %q, want %q: %v", printed.Text(), want, printed.Err())
		}
	}
	next("apples\t2")
	put("apples 3\n", "--key-sep", " ")
	next("apples\t3")
	put("apples\n", "--tombstone")
	next("apples\tdeleted")
	p.signal(syscall.SIGINT)
	p.ends(cli.ExitDone)
}

func TestSignalDrainsPut(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // the input does not end
	p := begin(t, r, nil, "put", "audit", "-v")
	r.Close()
	if _, err := io.WriteString(w, numbersTo(10)); err != nil {
		t.Fatal(err)
	}
	perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "10")
	p.signal(syscall.SIGINT)
	if _, errs := p.ends(cli.ExitIncomplete); lastLine(errs) != "put 10" || !strings.Contains(errs, "stopped reading after 10 lines") {
		t.Errorf("says %q", errs)
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	perform(t, cli.ExitDone, "", "topic", "create", "audit", "--max-record-bytes", "100")
	_, errs := perform(t, cli.ExitFailed, "fits\n"+strings.Repeat("x", 200)+"\nnever\n", "put", "audit")
	if lastLine(errs) != "put 1" || !strings.Contains(errs, "line 2") || !strings.Contains(errs, "too large") {
		t.Errorf("a large line: %q", errs)
	}
	_, errs = perform(t, cli.ExitUsage, "a\n", "put", "audit", "--partition", "1")
	if !strings.Contains(errs, "--partition 1: audit has 1") {
		t.Errorf("an unknown partition: %q", errs)
	}
	if _, errs = perform(t, cli.ExitUsage, "a\n", "put", "other", "--create", "--partition", "7"); !strings.Contains(errs, "one partition") {
		t.Errorf("a partition that it would not make: %q", errs)
	}
	_, errs = perform(t, cli.ExitFailed, "a\n", "put", "other")
	if !strings.Contains(errs, "penstock topic create") {
		t.Errorf("no topic: %q", errs)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "put", "audit", t.TempDir()+"/not"); !strings.Contains(errs, "no such file") {
		t.Errorf("no file: %q", errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "5s"); out != "fits\n" {
		t.Errorf("the topic has %q", out)
	}
}

func TestTopicDeletedUnderPut(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := begin(t, r, nil, "put", "audit", "-v")
	r.Close()
	io.WriteString(w, "one\n")
	perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "1")
	perform(t, cli.ExitDone, "", "topic", "delete", "audit")
	io.WriteString(w, "two\n")
	if _, errs := p.ends(cli.ExitFailed); lastLine(errs) != "put 1" || !strings.Contains(errs, "topic was deleted") {
		t.Errorf("says %q", errs)
	}
}

func TestGroupPause(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	putLines(t, 10)
	perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "5")
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	_, errs := perform(t, cli.ExitDone, "", "group", "pause", "audit", "billing", "--until", until.Format(time.RFC3339))
	if !strings.Contains(errs, "group billing of audit is paused until ") {
		t.Errorf("pause says %q", errs)
	}
	out, _ := perform(t, cli.ExitDone, "", "group", "describe", "audit", "billing")
	if !strings.Contains(out, "paused until "+until.Format(time.RFC3339)) {
		t.Errorf("describe prints %q", out)
	}
	var g topics.GroupView
	out, _ = perform(t, cli.ExitDone, "", "group", "describe", "audit", "billing", "--json")
	if err := json.Unmarshal([]byte(out), &g); err != nil || g.PausedUntil == nil || !g.PausedUntil.Equal(until) {
		t.Errorf("describe --json prints %q: %v", out, err)
	}
	out, _ = perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--idle", "500ms")
	if out != "" {
		t.Errorf("a paused group printed %q", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "group", "resume", "audit", "billing", "--json")
	if !strings.Contains(out, `"paused_until":null`) && !strings.Contains(out, `"paused_until": null`) {
		t.Errorf("resume prints %q", out)
	}
	perform(t, cli.ExitDone, "", "sub", "audit", "billing", "--count", "5")

	recv := begin(t, nil, nil, "recv", "orders", "billing")
	recv.says(noSender)
	perform(t, cli.ExitDone, "", "group", "pause", "orders", "billing", "--destination", "--for", "1h")
	out, _ = perform(t, cli.ExitDone, "", "ls")
	if !strings.Contains(out, "paused until ") {
		t.Errorf("ls prints %q", out)
	}
	perform(t, cli.ExitDone, "", "group", "resume", "orders", "billing", "--destination")
	if _, errs := perform(t, cli.ExitFailed, "", "group", "pause", "orders", "nobody", "--destination", "--for", "1h"); !strings.Contains(errs, "no such group") {
		t.Errorf("pause of no group says %q", errs)
	}
}

// Promise: a put with a producer's name that is given again puts what is missing, and a
// topic loses its window of ids by the word for no limit.
func TestPutAgainWithAProducer(t *testing.T) {
	t.Parallel()
	createTopic(t, 2)
	perform(t, cli.ExitUsage, "", "topic", "update", "audit", "--dedupe-window", "never")
	if _, errs := perform(t, cli.ExitUsage, "1\n", "put", "audit", "--producer", "till"); !strings.Contains(errs, "--dedupe-window 1h") {
		t.Errorf("without a window: %s", errs)
	}
	perform(t, cli.ExitDone, "", "topic", "update", "audit", "--dedupe-window", "1h")
	perform(t, cli.ExitDone, numbersTo(5), "put", "audit", "--producer", "till")
	_, errs := perform(t, cli.ExitDone, numbersTo(8), "put", "audit", "--producer", "till")
	if !strings.Contains(errs, "5 of them were in the topic before") || lastLine(errs) != "put 8" {
		t.Errorf("put again says %s", errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "read", "audit"); strings.Count(out, "\n") != 8 {
		t.Errorf("the topic has\n%s", out)
	}
	out, _ := perform(t, cli.ExitDone, "", "topic", "update", "audit", "--dedupe-window", "none", "--json")
	if strings.Contains(out, "3600") {
		t.Errorf("the window stays: %s", out)
	}
}
