// Package examples_test runs the examples as what they are: programs.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// patience is how long a program may take for anything on a busy machine.
const patience = time.Minute

var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "penstock-examples-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	build := exec.Command("go", "build", "-o", binaries+string(filepath.Separator), "./main", "./destination", "./group", "./service", "./topic", "./stream", "./actors", "./transfer", "./tls", "./retries", "./table", "./order")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the examples:", err)
		return 1
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// program is a running example.
type program struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	out    *lines
	errOut *lines
	ended  chan error
}

// start runs an example; what is left of it at the end of the test is killed.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, out: newLines(), errOut: newLines(), ended: make(chan error, 1)}
	p.cmd = exec.Command(filepath.Join(binaries, name), args...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.out.read(stdout) })
	reading.Go(func() { p.errOut.read(stderr) })
	over := make(chan struct{})
	go func() {
		defer close(over)
		reading.Wait()
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-over
		if t.Failed() {
			t.Logf("%s %v on stderr:\n%s", name, args, strings.Join(p.errOut.all(), "\n"))
		}
	})
	return p
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// succeeds waits for the end, which must be a good one.
func (p *program) succeeds() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Fatalf("%s: %v", p.name, err)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
}

// lines is what a program has printed so far.
type lines struct {
	mu   sync.Mutex
	text []string
	more chan struct{} // closed and replaced by each line
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		l.text = append(l.text, s.Text())
		close(l.more)
		l.more = make(chan struct{})
		l.mu.Unlock()
	}
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

// await answers the first line that matches.
func (l *lines) await(t *testing.T, what string, match func(string) bool) string {
	t.Helper()
	late := time.After(patience)
	for seen := 0; ; {
		l.mu.Lock()
		text, more := l.text[seen:], l.more
		l.mu.Unlock()
		if i := slices.IndexFunc(text, match); i >= 0 {
			return text[i]
		}
		seen += len(text)
		select {
		case <-more:
		case <-late:
			t.Fatalf("no %s in %q", what, l.all())
		}
	}
}

func (l *lines) awaitText(t *testing.T, text string) string {
	t.Helper()
	return l.await(t, text, func(line string) bool { return strings.Contains(line, text) })
}

func etcd(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv.Endpoint()
}

func TestMainExample(t *testing.T) {
	p := start(t, "main")
	p.succeeds()
	want := []string{"hello", "how are you?", "goodbye"}
	if got := p.out.all(); !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

// number is n of "tick n", or 0.
func number(line string) (n int) {
	_, _ = fmt.Sscanf(line, "tick %d", &n) // anything else is no tick
	return n
}

func atLeast(n int) func(string) bool { return func(line string) bool { return number(line) >= n } }

func TestDestinationAndGroup(t *testing.T) {
	endpoint := etcd(t)
	join := func(group string) *program {
		p := start(t, "group", "-etcd", endpoint, "-group", group)
		p.errOut.awaitText(t, "waiting for messages")
		return p
	}
	// The auditor comes before its destination, and gets everything.
	auditor := join("audit")
	ticks := start(t, "destination", "-etcd", endpoint, "-every", "5ms")
	auditor.out.await(t, "tick 20", atLeast(20))

	// Two printers share; one of them is killed. Nothing goes missing.
	one, two := join("printers"), join("printers")
	one.out.await(t, "tick", atLeast(1))
	two.out.await(t, "tick", atLeast(1))
	one.signal(syscall.SIGKILL)
	now := number(auditor.out.all()[len(auditor.out.all())-1])
	two.out.await(t, "tick after the death", atLeast(now+20))

	ticks.signal(syscall.SIGTERM)
	ticks.succeeds() // so every group has acked everything
	for _, p := range []*program{auditor, two} {
		p.signal(syscall.SIGTERM)
		p.succeeds()
	}

	audited := auditor.out.all()
	for i, line := range audited {
		if number(line) != i+1 {
			t.Fatalf("line %d of the auditor is %q", i+1, line)
		}
	}
	printed := make(map[int]bool)
	first := len(audited)
	for _, line := range append(one.out.all(), two.out.all()...) {
		printed[number(line)] = true
		first = min(first, number(line))
	}
	for n := first; n <= len(audited); n++ {
		if !printed[n] {
			t.Errorf("no printer got tick %d of %d..%d", n, first, len(audited))
		}
	}
}

func TestService(t *testing.T) {
	endpoint := etcd(t)
	p := start(t, "service", "-etcd", endpoint, "-http", "127.0.0.1:0")
	var ready struct{ HTTP string }
	if err := json.Unmarshal([]byte(p.errOut.awaitText(t, `"msg":"ready"`)), &ready); err != nil {
		t.Fatal(err)
	}
	url := "http://" + ready.HTTP + "/orders"

	post := func(body string) int {
		t.Helper()
		resp, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	const tea, milk = `{"id":"a1","item":"tea","quantity":2}`, `{"id":"b2","item":"milk","quantity":1}`
	for _, body := range []string{milk, tea} {
		if code := post(body); code != http.StatusAccepted {
			t.Fatalf("POST %s answered %d", body, code)
		}
	}
	if code := post(`{"item":"nothing"}`); code != http.StatusBadRequest {
		t.Errorf("an order without an id answered %d", code)
	}

	list := func() string {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimSpace(body))
	}
	want := "[" + tea + "," + milk + "]"
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); list() != want; {
		select {
		case <-again.C: // handling goes on behind the answer of POST
		case <-late:
			t.Fatalf("GET answers %s, want %s", list(), want)
		}
	}

	p.signal(syscall.SIGTERM)
	p.succeeds()
	p.errOut.awaitText(t, `"msg":"draining"`)
}

func TestTLSExample(t *testing.T) {
	p := start(t, "tls")
	p.succeeds()
	want := []string{"shipping.example gets no link", "billing.example got an order"}
	if got := p.out.all(); !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

func TestTransferExample(t *testing.T) {
	p := start(t, "transfer")
	p.succeeds()
	got := p.out.all()
	slices.Sort(got) // the partitions of the payments come in any order
	want := []string{"all accounts together have 30", "bakery got 10, now 10", "bakery got 10, now 20", "grocer got 10, now 10"}
	if !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

func TestTableExample(t *testing.T) {
	p := start(t, "table")
	p.succeeds()
	want := []string{
		"2 prices",
		"EURUSD is 1.08",
		"EURUSD is 1.09 now",
		"EURDEM has no price",
		"the table begins with EURUSD 1.09",
		"EURUSD went from 1.09 to 1.10",
	}
	if got := p.out.all(); !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

func TestRetriesExample(t *testing.T) {
	p := start(t, "retries")
	p.succeeds()
	want := []string{
		"shipped tea at attempt 1",
		"shipped milk at attempt 2",
		"shipped salt at attempt 1",
		"dead letter bread, 3 attempts: the hall is closed",
		"dead letter nothing, 1 attempts: there is no such thing: rejected",
		"shipped bread at attempt 1",
	}
	if got := p.out.all(); !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

// Promise: the changes of each account are handled in their order, though a member leaves.
func TestOrderExample(t *testing.T) {
	p := start(t, "order")
	p.succeeds()
	var want []string
	for a := range 5 {
		want = append(want, fmt.Sprintf("account-%d is at change 40, out of order: 0", a))
	}
	if got := p.out.all(); !slices.Equal(got, want) {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

func TestTopicExample(t *testing.T) {
	p := start(t, "topic")
	p.succeeds()
	got := p.out.all()
	// Records of one partition come in their order, partitions in any.
	var records []string
	others := slices.DeleteFunc(slices.Clone(got), func(line string) bool {
		if strings.HasPrefix(line, "got ") {
			records = append(records, line)
			return true
		}
		return false
	})
	wantOthers := []string{
		"created fruits with 3 partitions",
		"cannot create it again",
		"put apple=0 kg at 1/0",
		"put banana=1 kg at 1/1",
		"put cherry=2 kg at 2/0",
		"put fig=3 kg at 1/2",
		"put apple=4 kg at 1/3",
		"put grape=5 kg at 0/0",
		"put cherry=6 kg at 2/1",
		"cook owns partitions [0 1 2]",
		"partition 0: committed 1 of 1",
		"partition 1: committed 4 of 4",
		"partition 2: committed 2 of 2",
		"pantry lags 0 records",
		"unsubscribed",
		"updated: 5 partitions",
		"deleted; nothing can be put any more",
	}
	if !slices.Equal(others, wantOthers) {
		t.Errorf("it printed %q, want %q", others, wantOthers)
	}
	wantRecords := []string{
		"got grape=5 kg from 0/0",
		"got apple=0 kg from 1/0",
		"got banana=1 kg from 1/1",
		"got fig=3 kg from 1/2",
		"got apple=4 kg from 1/3",
		"got cherry=2 kg from 2/0",
		"got cherry=6 kg from 2/1",
	}
	partition := func(line string) string {
		return line[strings.LastIndexByte(line, ' '):strings.LastIndexByte(line, '/')]
	}
	slices.SortStableFunc(records, func(a, b string) int { return strings.Compare(partition(a), partition(b)) })
	if !slices.Equal(records, wantRecords) {
		t.Errorf("it got %q, want %q", records, wantRecords)
	}
}

// The last record is one after which a member commits: that commit and the end
// race, and the record is committed all the same.
func TestStreamEndsInACommit(t *testing.T) {
	p := start(t, "stream", "-partitions", "1", "-count", "200", "-every", "1ms")
	p.succeeds()
	if want := []string{"put 200, handled 200, out of turn 0, lag 0"}; !slices.Equal(p.out.all(), want) {
		t.Errorf("it printed %q, want %q", p.out.all(), want)
	}
}

func TestStream(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		end  func(p *program)
	}{
		"counted":     {[]string{"-count", "3000"}, func(*program) {}},
		"interrupted": {nil, func(p *program) { p.signal(syscall.SIGINT) }},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "stream", append(tc.args, "-every", "1ms")...)
			p.errOut.awaitText(t, "one handled 100,")
			p.errOut.awaitText(t, "two handled 100,")
			p.signal(syscall.SIGINT)
			p.errOut.awaitText(t, "one has left")
			p.errOut.awaitText(t, "partitions [0 1 2 3]")
			tc.end(p)
			p.succeeds()
			var put, handled, strange, lag int
			last := p.out.awaitText(t, "put ")
			if _, err := fmt.Sscanf(last, "put %d, handled %d, out of turn %d, lag %d", &put, &handled, &strange, &lag); err != nil {
				t.Fatalf("%q: %v", last, err)
			}
			if put < 300 || handled != put || strange != 0 || lag != 0 {
				t.Error(last)
			}
		})
	}
}

// Billing crashes at every 100th delivery and is stopped once: no order is lost.
func TestActors(t *testing.T) {
	for name, args := range map[string][]string{
		"an etcd of its own": nil,
		"an etcd elsewhere":  {"-etcd", etcd(t), "-orders", "3000"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "actors", args...)
			p.succeeds()
			var published, charged, crashes, dismissals int
			last := p.out.awaitText(t, "published ")
			if _, err := fmt.Sscanf(last, "published %d, charged %d, crashed %d, dismissed %d", &published, &charged, &crashes, &dismissals); err != nil {
				t.Fatalf("%q: %v", last, err)
			}
			if published < 1000 || charged != published || crashes < published/100 || dismissals != 1 {
				t.Error(last)
			}
		})
	}
}
