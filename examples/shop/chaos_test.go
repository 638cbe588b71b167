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

	var all []*process // in the direction of the flow: two of each role
	for _, role := range []string{"api", "billing", "audit", "projector"} {
		for i := range 2 {
			p := &process{t: t, name: fmt.Sprint(role, i), addr: fmt.Sprintf("127.0.0.1:%d", penstocktest.FreePort(t))}
			p.args = []string{binary, role, "-etcd", etcd.Endpoint(), "-db", dbFile, "-http", p.addr, "-lease", "3s"}
			all = append(all, p)
			p.start()
		}
	}
	apis, projectors := all[:2], all[6:]
	for _, p := range all {
		p.awaitReady()
	}

	orders := newLoad(apis)
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
		freeze(t, rt, projectors[0])
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

	for _, p := range all[:6] { // each drains into the next
		p.end()
	}
	db := newStore(t, dbFile)
	eventually(t, "all records are projected", func() bool {
		return number(t, db, `SELECT count(*) FROM audited`) >= records(t, rt, auditName)
	})
	for _, p := range projectors {
		p.end()
	}
	count(t, rt, db, orders)
}

// freeze stops a projector until the other one has its partitions, and lets it wake up
// as a zombie with records in hand.
func freeze(t *testing.T, rt *penstock.Runtime, p *process) {
	t.Helper()
	owners := func() int {
		g, err := rt.DescribeConsumerGroup(t.Context(), auditName, "projector")
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

// count compares what clients were told with what has become of it.
func count(t *testing.T, rt *penstock.Runtime, db *store, l *load) {
	t.Helper()
	billed := map[string]bool{}
	all := ""
	if err := db.db.QueryRowContext(t.Context(), `SELECT group_concat(id, ' ') FROM bills`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(all) {
		billed[id] = true
	}
	audited, put := read(t, rt, auditName)
	refused, _ := read(t, rt, refusedName)

	table := "\n"
	fact := func(name string, n int64) { table += fmt.Sprintf("%-40s %8d\n", name, n) }
	check := func(name string, n, want int64) {
		verdict := "ok"
		if n != want {
			verdict = fmt.Sprint("WRONG, want ", want)
			t.Error(name, " ", n, ", want ", want)
		}
		table += fmt.Sprintf("%-40s %8d  %s\n", name, n, verdict)
	}
	fact("orders accepted (202)", int64(len(l.accepted)))
	fact("orders refused (422)", int64(len(l.refused)))
	fact("requests that had to be made again", l.again)
	check("accepted and not billed", missing(l.accepted, billed), 0)
	check("billed and not accepted", missing(billed, l.accepted), 0)
	fact("deliveries that billing knew already", number(t, db, `SELECT sum(times - 1) FROM bills`))
	check("accepted and not audited", missing(l.accepted, audited), 0)
	check("refused and not audited", missing(l.refused, audited), 0)
	check("refused and not among the dead letters", missing(l.refused, refused), 0)
	fact("records of the audit", put)
	fact("records of an order that was there", put-int64(len(audited)))
	check("records in the database", number(t, db, `SELECT count(*) FROM audited`), put)
	check("of these different", number(t, db, `SELECT count(*) FROM (SELECT DISTINCT partition, "offset" FROM audited)`), put)
	check("orders that the projection counted", number(t, db, `SELECT sum(orders) FROM sold`), put)
	t.Log(table)
	if len(l.accepted) < 100 || len(l.refused) == 0 {
		t.Error("there was too little load to prove anything")
	}
}

// missing is how many of all are not in some.
func missing(all, some map[string]bool) (n int64) {
	for id := range all {
		if !some[id] {
			n++
		}
	}
	return n
}

// read reads a whole topic, and returns the ids of its orders and how many records it has.
func read(t *testing.T, rt *penstock.Runtime, name string) (ids map[string]bool, n int64) {
	t.Helper()
	topic, err := rt.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rt.DescribeTopic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ids = map[string]bool{}
	for _, p := range d.Partitions {
		if p.End == 0 {
			continue // a loop would wait for the first record
		}
		for r, err := range topic.Read(t.Context(), p.Partition, penstock.FromEarliest()) {
			if err != nil {
				t.Fatal(err)
			}
			ids[string(r.Key)] = true
			if n++; r.Offset == p.End-1 {
				break
			}
		}
	}
	return ids, n
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
	t          *testing.T
	name, addr string
	args       []string
	proc       *os.Process
	running    sync.WaitGroup
	ended      chan error
	logs       bytes.Buffer
}

// start starts the process, which is killed at the end of the test.
func (p *process) start() {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.args[0], p.args[1:]...)
	cmd.Stderr = &p.logs
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.proc, p.ended = cmd.Process, ended
	p.running.Go(func() { ended <- cmd.Wait() })
	p.t.Cleanup(p.running.Wait)
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

// fail is for a process that has ended.
func (p *process) fail(err error) {
	p.t.Helper()
	logs := p.logs.String()
	p.t.Fatalf("%s: %v\n%s", p.name, err, logs[max(0, len(logs)-4000):])
}
