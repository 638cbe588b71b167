package topics_test

// Tables of topics while etcd goes away, and back.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func openTable(t *testing.T, topic *penstock.Topic) *penstock.Table {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	table, err := topic.Table(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// note puts the value of a key.
func note(t *testing.T, topic *penstock.Topic, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	if _, _, err := topic.Put(ctx, penstock.Message{Key: []byte(key), Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func inTable(table *penstock.Table) map[string]string {
	out := make(map[string]string)
	for key, r := range table.All() {
		out[key] = string(r.Value)
	}
	return out
}

func freshen(t *testing.T, table *penstock.Table) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	if err := table.Fresh(ctx); err != nil {
		t.Fatal(err)
	}
}

// Promise: while etcd is away a table has what it had and says that this is old; Fresh waits,
// and says why. With etcd it continues.
func TestTableWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(etcd.Config()), penstock.LeaseTTL(time.Minute))
	topic := makeTopic(t, rt, theTopic, 2)
	note(t, topic, "a", "1")
	table := openTable(t, topic)
	etcd.Stop()
	harness.Eventually(t, "the table says that it may be old", func() bool { return table.State() == penstock.TableStale })
	if r, ok := table.Get([]byte("a")); !ok || string(r.Value) != "1" {
		t.Errorf("without etcd it has %q", r.Value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	if err := table.Fresh(ctx); !errors.Is(err, penstock.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fresh says %v", err)
	}
	if _, err := topic.Latest(ctx, []byte("a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Latest says %v", err)
	}
	cancel()
	etcd.Restart()
	note(t, topic, "a", "2")
	freshen(t, table)
	if got := inTable(table); !maps.Equal(got, map[string]string{"a": "2"}) {
		t.Errorf("with etcd again it has %v", got)
	}
	harness.Eventually(t, "the table follows", func() bool { return table.State() == penstock.TableFollowing })
}

// Promise: when etcd is restored from a backup, a table has what that has, and Fresh and Latest
// return nothing that is not in it, although the log has grown beyond its old end meanwhile.
func TestTableAfterRestore(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	link := penstocktest.NewProxy(t, etcd.Endpoint())
	producer := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, producer, theTopic, 1)
	cfg := etcd.Config()
	cfg.Endpoints = []string{link.Addr()}
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(cfg), penstock.LeaseTTL(time.Minute))
	told := penstocktest.Record(t, rt)
	mine := openTopic(t, rt, theTopic)
	note(t, topic, "kept", "1")
	etcd.BackUp()
	note(t, topic, "lost", "1")
	note(t, topic, "kept", "2")
	table := openTable(t, mine)
	want := map[string]string{"kept": "2", "lost": "1"}
	if got := inTable(table); !maps.Equal(got, want) {
		t.Fatalf("it begins with %v", got)
	}
	if _, err := mine.Latest(t.Context(), []byte("lost")); err != nil {
		t.Fatal(err)
	}
	link.Cut()
	etcd.Restore()
	want = map[string]string{"kept": "1"}
	for i := range 5 {
		key := fmt.Sprint(i)
		note(t, topic, key, "new")
		want[key] = "new"
	}
	link.Resume()
	freshen(t, table)
	if got := inTable(table); !maps.Equal(got, want) {
		t.Errorf("after the restore it has %v, want %v", got, want)
	}
	if r, err := mine.Latest(t.Context(), []byte("lost")); !errors.Is(err, penstock.ErrNoRecord) {
		t.Errorf("the latest of what is lost is %q, %v", r.Value, err)
	}
	penstocktest.WaitEvent(t, told, harness.Patience, func(e messages.TableLoaded) bool { return e.Why != "it begins" })
}
