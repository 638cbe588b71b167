package main

// Each role in the process of the test, against an etcd of penstocktest.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
)

// late is how long anything may take on a busy machine.
const late = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testShop is a shop of any roles, each with a runtime of its own as in processes of
// their own, and one database.
type testShop struct {
	t     *testing.T
	etcd  *penstocktest.Server
	space string
	db    *store
}

func newShop(t *testing.T) *testShop {
	t.Helper()
	return &testShop{t, penstocktest.Etcd(t), penstocktest.Space(t), newStore(t, filepath.Join(t.TempDir(), "shop.db"))}
}

func newStore(t *testing.T, file string) *store {
	t.Helper()
	db, err := openStore(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// start begins a role, and ends it with the test unless the test stops its runtime.
func (sh *testShop) start(role string) *service {
	sh.t.Helper()
	s := &service{db: sh.db, mux: http.NewServeMux(), patience: late}
	s.rt = penstocktest.Runtime(sh.t, sh.etcd, penstock.Prefix(sh.space))
	loop, err := roles[role](s, sh.t.Context())
	if err != nil {
		sh.t.Fatal(err)
	}
	if loop != nil {
		go func() {
			if err := loop(); err != nil {
				sh.t.Error(role, err)
			}
		}()
	}
	return s
}

// post sends an order to the API, and returns the code of its reply.
func (s *service) post(body string) int {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(body)))
	return w.Code
}

// number is the result of a query that has one.
func number(t *testing.T, db *store, query string, args ...any) (n int64) {
	t.Helper()
	if err := db.db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An order is billed and in the topic when the API says 202, and refused for good
// when it says 422.
func TestAcceptedOrderIsBilledAndAudited(t *testing.T) {
	sh := newShop(t)
	api := sh.start("api") // first, so that RequireGroups has something to wait for
	sh.start("audit")
	sh.start("billing")

	for body, want := range map[string]int{
		`{"id":"a1","item":"tea","quantity":2}`: http.StatusAccepted,
		`{"id":"a2","item":"tea","quantity":0}`: http.StatusUnprocessableEntity,
		`{"item":"tea"}`:                        http.StatusBadRequest,
	} {
		if code := api.post(body); code != want {
			t.Errorf("POST %s: %d, want %d", body, code, want)
		}
	}
	if n := number(t, sh.db, `SELECT sum(quantity) FROM bills WHERE item = 'tea'`); n != 2 {
		t.Errorf("%d of tea were billed, want 2", n)
	}
	for topic, want := range map[string]int64{auditName: 2, refusedName: 1} {
		if n := records(t, api.rt, topic); n != want {
			t.Errorf("topic %s has %d records, want %d", topic, n, want)
		}
	}
}

// records is how many records a topic has.
func records(t *testing.T, rt *penstock.Runtime, topic string) (n int64) {
	t.Helper()
	d, err := rt.DescribeTopic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Partitions {
		n += p.End
	}
	return n
}

// Without billing nothing is accepted; what was asked for meanwhile is billed once.
func TestNothingIsAcceptedWithoutBilling(t *testing.T) {
	sh := newShop(t)
	api := sh.start("api")
	sh.start("audit")
	const body = `{"id":"a1","item":"tea","quantity":2}`
	billing := sh.start("billing")
	if code := api.post(body); code != http.StatusAccepted {
		t.Fatalf("%d, want 202", code)
	}
	if err := billing.rt.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	api.patience = 200 * time.Millisecond
	const second = `{"id":"a2","item":"tea","quantity":1}`
	if code := api.post(second); code != http.StatusServiceUnavailable {
		t.Errorf("without billing: %d, want 503", code)
	}
	api.patience = late
	sh.start("billing")
	if code := api.post(second); code != http.StatusAccepted {
		t.Errorf("asked again: %d, want 202", code)
	}
	if n := number(t, sh.db, `SELECT times FROM bills WHERE id = 'a2'`); n != 2 {
		t.Errorf("a2 came %d times, want 2: once for each request", n)
	}
	if n := number(t, sh.db, `SELECT sum(quantity) FROM bills`); n != 3 {
		t.Errorf("%d of tea were billed, want 3", n)
	}
}

// What billing's handler returns decides what becomes of the order. No runtime is
// needed to test it.
func TestBillingHandler(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.db")
	s := &service{db: newStore(t, file)}
	handle := func(o order) error { return s.bill(t.Context(), penstock.TypedDelivery[order]{Body: o}) }
	good := order{ID: "a1", Item: "tea", Quantity: 2}
	for range 2 {
		if err := handle(good); err != nil {
			t.Fatal(err)
		}
	}
	if n := number(t, s.db, `SELECT count(*) FROM bills`); n != 1 {
		t.Errorf("%d bills, want 1", n)
	}
	if err := handle(order{ID: "a2", Quantity: -1}); !errors.Is(err, penstock.ErrReject) {
		t.Errorf("a quantity of -1: %v, want ErrReject", err)
	}
	tx, err := newStore(t, file).db.BeginTx(t.Context(), nil) // another process has the lock
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if how := penstock.GiveBackOf(handle(good)); how.Verb != penstock.VerbNack || how.After != 500*time.Millisecond {
		t.Errorf("with a locked database the order is %v after %v, want nacked after 500ms", how.Verb, how.After)
	}
}

// A record counts once, and a projector that has lost its partition writes nothing
// once the new owner has written.
func TestZombieCannotWrite(t *testing.T) {
	db := newStore(t, filepath.Join(t.TempDir(), "shop.db"))
	for i, step := range []struct {
		fence, offset int64
		fenced        bool
		counted       int64
	}{
		{fence: 7, offset: 0, counted: 1},
		{fence: 7, offset: 0, counted: 1},               // it comes again
		{fence: 9, offset: 0, counted: 1},               // the new owner begins at the last commit
		{fence: 9, offset: 1, counted: 2},               // and is ahead
		{fence: 7, offset: 2, fenced: true, counted: 2}, // the old one wakes up
		{fence: 9, offset: 2, counted: 3},
	} {
		err := db.project(t.Context(), penstock.Record{Fence: step.fence, Offset: step.offset}, order{Item: "tea"})
		if errors.Is(err, errFenced) != step.fenced || !step.fenced && err != nil {
			t.Errorf("step %d: %v, fenced %v", i, err, step.fenced)
		}
		if n := number(t, db, `SELECT orders FROM sold WHERE item = 'tea'`); n != step.counted {
			t.Errorf("step %d: %d orders counted, want %d", i, n, step.counted)
		}
	}
	if err := db.project(t.Context(), penstock.Record{Fence: 9, Offset: 5}, order{}); err == nil {
		t.Error("a gap was not noticed")
	}
}

// A projector that etcd does not reach any more loses its partitions, and its late write
// is refused by the database. Nothing counts twice.
func TestCutOffProjectorCannotWrite(t *testing.T) {
	sh := newShop(t)
	proxy := penstocktest.NewProxy(t, sh.etcd.Endpoint())
	zombie := &service{db: sh.db, rt: penstocktest.Runtime(t, sh.etcd, penstock.Prefix(sh.space),
		penstock.Etcd(proxy.Addr()), penstock.LeaseTTL(2*time.Second))}
	topic, err := zombie.openAudit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, _, err := typed.Topic(topic).Put(t.Context(), order{ID: fmt.Sprint(i), Item: "tea", Quantity: 1}); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := topic.Subscribe(t.Context(), "projector")
	if err != nil {
		t.Fatal(err)
	}
	inHand, goOn, wrote := make(chan struct{}), make(chan struct{}), make(chan error)
	consuming, end := context.WithCancel(t.Context())
	go func() {
		first := true
		_ = sub.Consume(consuming, func(ctx context.Context, r penstock.Record) error {
			if !first {
				return zombie.project(ctx, r)
			}
			first = false
			close(inHand)
			<-goOn
			err := zombie.project(context.WithoutCancel(ctx), r) // too far to notice that ctx has ended
			wrote <- err
			return err
		})
	}()
	<-inHand
	proxy.Hang()
	sh.start("projector")
	counted := func() int64 { return number(t, sh.db, `SELECT coalesce(sum(orders), 0) FROM sold`) }
	eventually(t, "the other projector has counted all", func() bool { return counted() == 50 })
	close(goOn)
	if err := <-wrote; !errors.Is(err, errFenced) {
		t.Errorf("the late write: %v, want errFenced", err)
	}
	proxy.Resume()
	end()
	if n := counted(); n != 50 {
		t.Errorf("%d orders counted, want 50", n)
	}
}

// eventually waits until holds does.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.After(late); !holds(); {
		select {
		case <-again.C:
		case <-end:
			t.Fatal("waited in vain until ", what)
		}
	}
}
