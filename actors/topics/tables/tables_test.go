package tables_test

// Tables over a real etcd. What an etcd that goes away or back does to them is a test of
// package penstocktest/faults/topics.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/messages"
)

func create(t *testing.T, e *actors.Engine, partitions int) *topics.Topic {
	t.Helper()
	topic, err := e.CreateTopic(enginetest.Within(t), "stock", messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func openTopic(t *testing.T, e *actors.Engine) *topics.Topic {
	t.Helper()
	topic, err := e.Topic(enginetest.Within(t), "stock", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func open(t *testing.T, topic *topics.Topic, cfg tables.Config) *tables.Table {
	t.Helper()
	table, err := topic.Table(enginetest.Within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func put(t *testing.T, topic *topics.Topic, key, value string) int64 {
	t.Helper()
	r := topic.Put(enginetest.Within(t), messages.Message{Key: []byte(key), Value: []byte(value)})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Offset
}

func bury(t *testing.T, topic *topics.Topic, key string) {
	t.Helper()
	if r := topic.Put(enginetest.Within(t), messages.Message{Key: []byte(key), Tombstone: true}); r.Err != nil {
		t.Fatal(r.Err)
	}
}

func fresh(t *testing.T, table *tables.Table) {
	t.Helper()
	if err := table.Fresh(enginetest.Within(t)); err != nil {
		t.Fatal(err)
	}
}

func contents(table *tables.Table) map[string]string {
	out := make(map[string]string)
	for key, r := range table.All() {
		out[key] = string(r.Value)
	}
	return out
}

func wants(t *testing.T, table *tables.Table, what string, want map[string]string) {
	t.Helper()
	enginetest.Until(t, what, func() bool { return maps.Equal(contents(table), want) })
}

// Promise: a table has the newest record of each key that was put before Fresh was called,
// by whichever runtime, and none that a tombstone deleted.
func TestTable(t *testing.T) {
	space := enginetest.NewSpace(t)
	writer, reader := create(t, space.Begin(t), 3), openTopic(t, space.Begin(t))
	put(t, writer, "apples", "1")
	put(t, writer, "pears", "2")
	put(t, writer, "", "without a key")
	table := open(t, reader, tables.Config{})
	if got := contents(table); !maps.Equal(got, map[string]string{"apples": "1", "pears": "2"}) {
		t.Errorf("it begins with %v", got)
	}
	for i := range 50 {
		value := fmt.Sprint(i)
		put(t, writer, "apples", value)
		fresh(t, table)
		if r, ok := table.Get([]byte("apples")); !ok || string(r.Value) != value || r.Topic != "stock" {
			t.Fatalf("after %s was put it has %q, %v", value, r.Value, ok)
		}
	}
	bury(t, writer, "pears")
	fresh(t, table)
	if r, ok := table.Get([]byte("pears")); ok || table.Len() != 1 {
		t.Errorf("a deleted key has %q, and there are %d keys", r.Value, table.Len())
	}
	if s := table.Stats(); s.State != messages.TableFollowing || s.Keys != 1 || s.Keyless != 1 || s.Lag != 0 || s.Loads != 1 || s.Bytes == 0 {
		t.Errorf("stats %+v", s)
	}
	table.Close()
	enginetest.Await(t, "its end", table.Done())
	if err := table.Err(); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("closed, it says %v", err)
	}
	if err := table.Fresh(enginetest.Within(t)); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("Fresh says %v", err)
	}
	if r, ok := table.Get([]byte("apples")); !ok || string(r.Value) != "49" {
		t.Errorf("closed, it has %q", r.Value)
	}
}

// Promise: Latest sees what any runtime has put before, and tells a key without a record from
// an error.
func TestLatest(t *testing.T) {
	space := enginetest.NewSpace(t)
	engine := space.Begin(t)
	writer, reader := create(t, space.Begin(t), 2), openTopic(t, engine)
	ctx := enginetest.Within(t)
	if _, err := reader.Latest(ctx, []byte("apples")); !errors.Is(err, messages.ErrNoRecord) {
		t.Errorf("of an empty topic it says %v", err)
	}
	for i := range 50 {
		value := fmt.Sprint(i)
		put(t, writer, "apples", value)
		if r, err := reader.Latest(ctx, []byte("apples")); err != nil || string(r.Value) != value {
			t.Fatalf("after %s was put it is %q, %v", value, r.Value, err)
		}
	}
	bury(t, writer, "apples")
	if _, err := reader.Latest(ctx, []byte("apples")); !errors.Is(err, messages.ErrNoRecord) {
		t.Errorf("of a deleted key it says %v", err)
	}
	if _, err := reader.Latest(ctx, nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("without a key it says %v", err)
	}
	if n := len(enginetest.ActorsOf(engine, "table")); n != 1 {
		t.Errorf("it keeps %d tables", n)
	}
	if err := reader.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Latest(ctx, []byte("apples")); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("with a closed handle it says %v", err)
	}
	enginetest.Until(t, "the table and the topic are given up", func() bool {
		return len(enginetest.ActorsOf(engine, "table"))+len(enginetest.ActorsOf(engine, "topic")) == 0
	})
}

// Promise: what is trimmed or erased leaves a table as it leaves a table that is begun then,
// and an older record that is left is the newest again.
func TestDeletedRecordsLeaveATable(t *testing.T) {
	space := enginetest.NewSpace(t)
	admin, reader := create(t, space.Begin(t), 1), openTopic(t, space.Begin(t))
	ctx := enginetest.Within(t)
	put(t, admin, "a", "1")
	put(t, admin, "b", "1")
	last := put(t, admin, "a", "2")
	put(t, admin, "c", "1")
	table := open(t, reader, tables.Config{})
	wants(t, table, "three keys", map[string]string{"a": "2", "b": "1", "c": "1"})
	if _, err := admin.DeleteRecords(ctx, map[int][]int64{0: {last}}); err != nil {
		t.Fatal(err)
	}
	wants(t, table, "the record before", map[string]string{"a": "1", "b": "1", "c": "1"})
	if _, err := admin.DeleteKey(ctx, []byte("a")); err != nil {
		t.Fatal(err)
	}
	wants(t, table, "a is gone", map[string]string{"b": "1", "c": "1"})
	if _, err := admin.Truncate(ctx, messages.AtOffset(2), nil); err != nil {
		t.Fatal(err)
	}
	wants(t, table, "b is trimmed", map[string]string{"c": "1"})
	if _, err := admin.Truncate(ctx, messages.Latest(), nil); err != nil {
		t.Fatal(err)
	}
	wants(t, table, "nothing is left", map[string]string{})
	put(t, admin, "a", "3")
	fresh(t, table)
	wants(t, table, "what was put since", map[string]string{"a": "3"})
}

// Promise: a key whose record expires is gone at that moment, for Get at once, and for Len and
// Watch soon.
func TestExpiredRecordsLeaveATable(t *testing.T) {
	space := enginetest.NewSpace(t)
	topic := create(t, space.Begin(t), 1)
	ctx := enginetest.Within(t)
	at := time.Now().Add(300 * time.Millisecond)
	if r := topic.Put(ctx, messages.Message{Key: []byte("a"), Value: []byte("1"), ExpiresAt: at}); r.Err != nil {
		t.Fatal(r.Err)
	}
	table := open(t, topic, tables.Config{})
	gone := make(chan messages.TableChange, 1)
	watching := enginetest.Aside(func() error {
		for c, err := range table.Watch(ctx) {
			if err != nil {
				return err
			}
			if c.New == nil {
				gone <- c
				return nil
			}
		}
		return nil
	})
	enginetest.Until(t, "it has expired", func() bool { _, ok := table.Get([]byte("a")); return !ok })
	if time.Now().Before(at) {
		t.Error("it went before its time")
	}
	if err := enginetest.Outcome(t, "the loop", watching); err != nil {
		t.Fatal(err)
	}
	if c := <-gone; c.Key != "a" || c.Old == nil {
		t.Errorf("the change is %+v", c)
	}
	enginetest.Until(t, "it is not counted", func() bool { return table.Len() == 0 })
}

// Promise: while keys are put, deleted and erased, and the actors of tables, partitions and
// topics crash, a table has in the end what the log has, and so has whoever followed its changes.
func TestTableIsTheLogAfterCrashes(t *testing.T) {
	space := enginetest.NewSpace(t)
	engine := space.Begin(t)
	admin, reader := create(t, space.Begin(t), 2), openTopic(t, engine)
	ctx := enginetest.Within(t)
	table := open(t, reader, tables.Config{})
	var mu sync.Mutex
	mirror := make(map[string]string)
	watching, stop := context.WithCancel(ctx)
	watched := enginetest.Aside(func() error {
		for c, err := range table.Watch(watching) {
			if err != nil {
				return err
			}
			mu.Lock()
			if c.New == nil {
				delete(mirror, c.Key)
			} else {
				mirror[c.Key] = string(c.New.Value)
			}
			mu.Unlock()
		}
		return nil
	})
	model := make(map[string]string)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		for i := range 20 {
			key := fmt.Sprintf("k%d", random.IntN(8))
			switch random.IntN(6) {
			case 0:
				bury(t, admin, key)
				delete(model, key)
			default:
				value := fmt.Sprintf("%d.%d", round, i)
				put(t, admin, key, value)
				model[key] = value
			}
		}
		switch round % 4 {
		case 0:
			enginetest.CrashAll(t, engine, "table")
		case 1:
			enginetest.CrashAll(t, engine, "partition")
		case 2:
			enginetest.CrashAll(t, engine, "topic")
		default:
			key := fmt.Sprintf("k%d", random.IntN(8))
			if _, err := admin.DeleteKey(ctx, []byte(key)); err != nil {
				t.Fatal(err)
			}
			delete(model, key)
		}
	}
	fresh(t, table)
	wants(t, table, "the model", model)
	enginetest.Until(t, "the loop has it too", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return maps.Equal(mirror, model)
	})
	stop()
	if err := enginetest.Outcome(t, "the loop", watched); !errors.Is(err, context.Canceled) {
		t.Errorf("the loop ends with %v", err)
	}
}

// Promise: a table takes in partitions that come later, and Latest the records in them.
func TestPartitionsThatComeLater(t *testing.T) {
	space := enginetest.NewSpace(t)
	engine := space.Begin(t)
	admin := space.Begin(t)
	writer, reader := create(t, admin, 1), openTopic(t, engine)
	ctx := enginetest.Within(t)
	model := make(map[string]string)
	fill := func(value string) {
		for i := range 16 {
			key := fmt.Sprintf("k%d", i)
			put(t, writer, key, value)
			model[key] = value
		}
	}
	fill("before")
	table := open(t, reader, tables.Config{})
	if _, err := admin.UpdateTopic(ctx, "stock", messages.TopicUpdate{Partitions: 5}); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the producer knows of them", func() bool { return writer.Info().Config.Partitions == 5 })
	fill("after")
	fresh(t, table)
	if got := contents(table); !maps.Equal(got, model) {
		t.Errorf("it has %v", got)
	}
	if r, err := reader.Latest(ctx, []byte("k3")); err != nil || string(r.Value) != "after" {
		t.Errorf("the latest is %q, %v", r.Value, err)
	}
	again := open(t, reader, tables.Config{})
	if got := contents(again); !maps.Equal(got, model) {
		t.Errorf("one that is begun then has %v", got)
	}
}

// Promise: the topic's end, a runtime's end and too many bytes end a table, with an error that
// says so, and whoever waits is told.
func TestEndsOfATable(t *testing.T) {
	space := enginetest.NewSpace(t)
	for name, tc := range map[string]struct {
		cfg  tables.Config
		end  func(t *testing.T, e *actors.Engine, topic *topics.Topic)
		want error
	}{
		"topic deleted": {end: func(t *testing.T, e *actors.Engine, _ *topics.Topic) {
			if err := e.DeleteTopic(enginetest.Within(t), "stock"); err != nil {
				t.Fatal(err)
			}
		}, want: messages.ErrTopicDeleted},
		"runtime stopped": {end: func(t *testing.T, e *actors.Engine, _ *topics.Topic) {
			if err := e.Stop(enginetest.Within(t)); err != nil {
				t.Fatal(err)
			}
		}, want: messages.ErrClosed},
		"actor stopped": {end: func(t *testing.T, e *actors.Engine, _ *topics.Topic) {
			for _, info := range enginetest.ActorsOf(e, "table") {
				enginetest.StopActor(e, info)
			}
		}, want: messages.ErrClosed},
		"too large": {cfg: tables.Config{MaxBytes: tables.LeastMaxBytes}, end: func(t *testing.T, _ *actors.Engine, topic *topics.Topic) {
			for i := range 3 {
				put(t, topic, fmt.Sprint(i), strings.Repeat("x", 500<<10))
			}
		}, want: messages.ErrTableFull},
		"idle": {cfg: tables.Config{Idle: time.Millisecond}, end: func(*testing.T, *actors.Engine, *topics.Topic) {}, want: messages.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			space.Keys = enginetest.NewSpace(t).Keys
			e := space.Begin(t)
			topic := create(t, e, 1)
			put(t, topic, "a", "1")
			table := open(t, topic, tc.cfg)
			watched := enginetest.Aside(func() error {
				for _, err := range table.Watch(enginetest.Within(t)) {
					if err != nil {
						return err
					}
				}
				return nil
			})
			tc.end(t, e, topic)
			enginetest.Await(t, "the end", table.Done())
			if err := table.Err(); !errors.Is(err, tc.want) {
				t.Errorf("it ends with %v", err)
			}
			if err := enginetest.Outcome(t, "the loop", watched); !errors.Is(err, tc.want) {
				t.Errorf("the loop ends with %v", err)
			}
			if table.State() != messages.TableEnded {
				t.Errorf("it is %s", table.State())
			}
			if r, ok := table.Get([]byte("a")); !ok || string(r.Value) != "1" {
				t.Errorf("it has %q", r.Value)
			}
		})
	}
}

// Promise: a loop that does not come back holds up neither the table nor other loops, and gets
// what happened meanwhile as one change for each key.
func TestSlowLoop(t *testing.T) {
	space := enginetest.NewSpace(t)
	topic := create(t, space.Begin(t), 1)
	ctx := enginetest.Within(t)
	put(t, topic, "a", "0")
	table := open(t, topic, tables.Config{})
	first, proceed := make(chan struct{}), make(chan struct{})
	type seen struct{ old, new string }
	var changes []seen
	watched := enginetest.Aside(func() error {
		for c, err := range table.Watch(ctx) {
			switch {
			case err != nil:
				return err
			case c.Initial:
				close(first)
				<-proceed
				continue
			}
			s := seen{new: string(c.New.Value)}
			if c.Old != nil {
				s.old = string(c.Old.Value)
			}
			changes = append(changes, s)
			if c.Key == "end" {
				return nil
			}
		}
		return nil
	})
	enginetest.Await(t, "the loop", first)
	for i := range 100 {
		put(t, topic, "a", fmt.Sprint(i+1))
		put(t, topic, "short", "lived")
		bury(t, topic, "short")
	}
	put(t, topic, "end", "")
	fresh(t, table)
	if r, _ := table.Get([]byte("a")); string(r.Value) != "100" {
		t.Errorf("the table has %q", r.Value)
	}
	close(proceed)
	if err := enginetest.Outcome(t, "the loop", watched); err != nil {
		t.Fatal(err)
	}
	if len(changes) != 2 || changes[0] != (seen{"0", "100"}) {
		t.Errorf("the slow loop got %v", changes)
	}
}

// Promise: what blocks ends with its context, and says so.
func TestContextsEndWhatBlocks(t *testing.T) {
	behind, gate := enginetest.NewSpace(t).Behind(t, "nothing says this")
	e := behind.Begin(t)
	topic := create(t, e, 1)
	table := open(t, topic, tables.Config{})
	gate.Shut()
	cause := errors.New("enough")
	for name, call := range map[string]func(context.Context) error{
		"Table": func(ctx context.Context) error { _, err := topic.Table(ctx, tables.Config{}); return err },
		"Fresh": table.Fresh,
		"Latest": func(ctx context.Context) error {
			_, err := topic.Latest(ctx, []byte("a"))
			return err
		},
		"Watch": func(ctx context.Context) error {
			for _, err := range table.Watch(ctx) {
				return err
			}
			return nil
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		over := enginetest.Aside(func() error { return call(ctx) })
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		if err := enginetest.Outcome(t, name, over); !errors.Is(err, cause) {
			t.Errorf("%s returns %v", name, err)
		}
	}
	gate.Open()
}

// Promise: settings that make no sense are refused, all at once.
func TestSettingsOfATable(t *testing.T) {
	cfg := tables.Config{MaxBytes: 1, Idle: -1}
	err := cfg.Validate()
	for _, want := range []string{"1 bytes", "-1ns"} {
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	topic := create(t, enginetest.NewSpace(t).Begin(t), 1)
	if _, err := topic.Table(enginetest.Within(t), tables.Config{MaxBytes: 1}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("Table says %v", err)
	}
}

// Promise: a table of a prefix has the keys that begin with it.
func TestPrefix(t *testing.T) {
	topic := create(t, enginetest.NewSpace(t).Begin(t), 1)
	put(t, topic, "fruit/apple", "1")
	put(t, topic, "nut/hazel", "2")
	table := open(t, topic, tables.Config{Prefix: "fruit/"})
	put(t, topic, "nut/wal", "3")
	put(t, topic, "fruit/pear", "4")
	fresh(t, table)
	if got := contents(table); !maps.Equal(got, map[string]string{"fruit/apple": "1", "fruit/pear": "4"}) {
		t.Errorf("it has %v", got)
	}
}
