package main

// The whole shop as eight processes under load, each of which is ended, killed and, one
// of them, frozen. Then it counts: see README.md.

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

var rounds = flag.Int("rounds", 1, "how often TestChaos restarts everything")

const (
	shoppers = 16                    // clients of the API
	pace     = 10 * time.Millisecond // between two orders of one
	spoiled  = 25                    // each so many orders cannot be billed
)

// No accepted order is lost, billed twice, or counted twice by a projection, while every
// process is restarted, killed and frozen, and etcd is restarted.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes most of a minute")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "shop")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	etcd := penstocktest.Etcd(t)
	rt := penstocktest.Runtime(t, etcd, penstock.Prefix("/penstock"))
	dbFile := filepath.Join(dir, "shop.db")

	byRole := map[string][]*process{}
	var all []*process
	for _, role := range []string{"api", "billing", "audit", "projector"} {
		for i := range 2 {
			addr := fmt.Sprintf("127.0.0.1:%d", penstocktest.FreePort(t))
			p := &process{t: t, name: fmt.Sprint(role, i), addr: addr, log: filepath.Join(dir, fmt.Sprint(role, i, ".log"))}
			p.args = []string{binary, role, "-etcd", etcd.Endpoint(), "-db", dbFile, "-http", addr, "-lease", "3s"}
			byRole[role] = append(byRole[role], p)
			all = append(all, p)
			p.start()
		}
	}
	for _, p := range all {
		p.awaitReady()
	}

	orders := newLoad(byRole["api"])
	defer orders.client.CloseIdleConnections()
	shopping, close := context.WithCancel(t.Context())
	defer close()
	for i := range shoppers {
		orders.running.Go(func() { orders.shop(shopping, i) })
	}
	for range *rounds {
		for _, p := range all {
			p.end()
			p.start()
			p.awaitReady()
		}
		for _, p := range all {
			p.kill()
			p.start()
			p.awaitReady()
		}
		freeze(t, rt, byRole["projector"][0])
		for _, p := range all {
			p.kill()
		}
		etcd.Restart()
		for _, p := range all {
			p.start()
		}
		for _, p := range all {
			p.awaitReady()
		}
	}
	close()
	orders.running.Wait()

	// In the direction of the flow, so that each drains into the next.
	for _, role := range []string{"api", "billing", "audit"} {
		for _, p := range byRole[role] {
			p.end()
		}
	}
	db := newStore(t, dbFile)
	eventually(t, "all records are projected", func() bool {
		return number(t, db, `SELECT count(*) FROM audited`) >= records(t, rt, auditName)
	})
	for _, p := range byRole["projector"] {
		p.end()
	}
	count(t, rt, db, orders)
}

// freeze stops a projector until the other one has its partitions, and lets it wake up
// as a zombie with records in hand.
func freeze(t *testing.T, rt *penstock.Runtime, p *process) {
	t.Helper()
	owners := func() int {
		g, err := rt.DescribeGroup(t.Context(), auditName, "projector")
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[string]bool{}
		for _, part := range g.Partitions {
			distinct[part.Owner] = true
		}
		if distinct[""] {
			return 0
		}
		return len(distinct)
	}
	eventually(t, "there are two owners", func() bool { return owners() == 2 })
	t.Log("freeze ", p.name)
	resume := penstocktest.Freeze(t, p.proc)
	eventually(t, "only one owner is left", func() bool { return owners() == 1 })
	resume()
	eventually(t, "there are two owners", func() bool { return owners() == 2 })
}

// count compares what clients were promised with what has become of it.
func count(t *testing.T, rt *penstock.Runtime, db *store, l *load) {
	t.Helper()
	bills := map[string]int{}
	rows, err := db.db.QueryContext(t.Context(), `SELECT id, times FROM bills`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	deliveries := 0
	for rows.Next() {
		id, times := "", 0
		if err := rows.Scan(&id, &times); err != nil {
			t.Fatal(err)
		}
		bills[id] = times
		deliveries += times
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	audited, refused := readIDs(t, rt, auditName), readIDs(t, rt, refusedName)
	put := records(t, rt, auditName)

	report := &strings.Builder{}
	w := tabwriter.NewWriter(report, 0, 0, 2, ' ', 0)
	line := func(name string, got, want int64) {
		verdict := "ok"
		if got != want {
			verdict = fmt.Sprintf("WRONG, want %d", want)
			t.Errorf("%s: %d, want %d", name, got, want)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", name, got, verdict)
	}
	fact := func(name string, got int64) { fmt.Fprintf(w, "%s\t%d\t\n", name, got) }

	fact("orders accepted (202)", int64(len(l.accepted)))
	fact("orders refused (422)", int64(len(l.refused)))
	fact("requests that had to be made again", l.again)
	line("accepted and not billed", missing(l.accepted, bills), 0)
	line("billed and not accepted", missing(bills, l.accepted), 0)
	fact("deliveries that billing knew already", int64(deliveries-len(bills)))
	line("accepted and not audited", missing(l.accepted, audited), 0)
	line("refused and not audited", missing(l.refused, audited), 0)
	line("refused and not among the dead letters", missing(l.refused, refused), 0)
	fact("records of the audit", put)
	fact("records of an order that was there", put-int64(len(audited)))
	line("records in the database", number(t, db, `SELECT count(*) FROM audited`), put)
	line("of these different", number(t, db, `SELECT count(*) FROM (SELECT DISTINCT partition, "offset" FROM audited)`), put)
	line("orders that the projection counted", number(t, db, `SELECT sum(orders) FROM sold`), put)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report)
	if len(l.accepted) < 100 || len(l.refused) == 0 {
		t.Error("there was too little load to prove anything")
	}
}

// missing is how many keys of all are not in some.
func missing[A, B any](all map[string]A, some map[string]B) (n int64) {
	for id := range all {
		if _, ok := some[id]; !ok {
			n++
		}
	}
	return n
}

// readIDs reads a whole topic, and returns how often each order is in it.
func readIDs(t *testing.T, rt *penstock.Runtime, name string) map[string]int {
	t.Helper()
	topic, err := rt.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rt.DescribeTopic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for _, p := range d.Partitions {
		if p.End == 0 {
			continue
		}
		for r, err := range topic.Read(t.Context(), p.Partition, penstock.FromEarliest()) {
			if err != nil {
				t.Fatal(err)
			}
			ids[string(r.Key)]++
			if r.Offset == p.End-1 {
				break
			}
		}
	}
	return ids
}

// load is what the clients were told.
type load struct {
	apis    []*process
	client  *http.Client
	running sync.WaitGroup

	mu                sync.Mutex
	accepted, refused map[string]bool
	again             int64
}

func newLoad(apis []*process) *load {
	return &load{apis: apis, client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
		accepted: map[string]bool{}, refused: map[string]bool{}}
}

// shop orders until ctx ends. What was begun is asked for until there is an answer.
func (l *load) shop(ctx context.Context, shopper int) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		o := order{ID: fmt.Sprintf("%d-%d", shopper, i), Item: "tea", Quantity: 1 + i%3}
		if i%spoiled == spoiled-1 {
			o.Quantity = 0
		}
		for try := i; !l.settled(o, l.apis[try%len(l.apis)]); try++ {
			<-ticker.C
		}
		<-ticker.C
	}
}

// settled asks one API, and reports whether that was the last word about the order.
func (l *load) settled(o order, api *process) bool {
	body, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	code := 0
	if resp, err := l.client.Post("http://"+api.addr+"/orders", "application/json", bytes.NewReader(body)); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
		resp.Body.Close()
		code = resp.StatusCode
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch code {
	case http.StatusAccepted:
		l.accepted[o.ID] = true
	case http.StatusUnprocessableEntity:
		l.refused[o.ID] = true
	default:
		l.again++
		return false
	}
	return true
}

// process is one of the shop's, at an address that it keeps over its restarts.
type process struct {
	t               *testing.T
	name, addr, log string
	args            []string
	proc            *os.Process
	ended           chan error
}

func (p *process) start() {
	p.t.Helper()
	logs, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer logs.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.proc, p.ended = cmd.Process, ended
	over := make(chan struct{})
	go func() {
		defer close(over)
		ended <- cmd.Wait()
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-over
	})
}

// awaitReady waits until the process is ready, as whoever balances load would.
func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, p.name+" is ready", func() bool {
		select {
		case err := <-p.ended:
			p.fail(err)
		default:
		}
		resp, err := http.Get("http://" + p.addr + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// end asks the process to end, which it must do well.
func (p *process) end() {
	p.t.Helper()
	p.t.Log("end ", p.name)
	if err := p.proc.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(p.name, err)
	}
	if err := <-p.ended; err != nil {
		p.fail(err)
	}
}

func (p *process) kill() {
	p.t.Helper()
	p.t.Log("kill ", p.name)
	if err := p.proc.Kill(); err != nil {
		p.t.Fatal(p.name, err)
	}
	<-p.ended
}

func (p *process) fail(err error) {
	p.t.Helper()
	logs, _ := os.ReadFile(p.log)
	p.t.Fatalf("%s: %v\n%s", p.name, err, logs[max(0, len(logs)-4000):])
}
