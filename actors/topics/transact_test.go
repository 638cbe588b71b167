package topics_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

func topicOf(t *testing.T, e *actors.Engine, name string, partitions int) *topics.Topic {
	t.Helper()
	topic, err := e.CreateTopic(enginetest.Within(t), name, messages.TopicConfig{Partitions: partitions}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func value(s string) messages.Message { return messages.Message{Value: []byte(s)} }

// read returns the values of so many records of a partition.
func read(t *testing.T, topic *topics.Topic, p, n int) (values []string) {
	t.Helper()
	for r, err := range topic.Read(enginetest.Within(t), p, messages.Earliest()) {
		if err != nil {
			t.Fatal(err)
		}
		if values = append(values, string(r.Value)); len(values) == n {
			break
		}
	}
	return values
}

// Promise: a transaction puts to several topics, behind what was put before, or not at
// all; readers here get it at once, and the counters count it.
func TestTransactPutsToSeveralTopics(t *testing.T) {
	ctx := enginetest.Within(t)
	space := enginetest.NewSpace(t)
	e := space.Begin(t)
	one, two := topicOf(t, e, "one", 1), topicOf(t, e, "two", 1)
	put(t, one, "before")
	etcd := space.Client(t)
	key := "/user" + string(space.Keys) + "/balance"
	step := func(version int64) error {
		return e.Transact(ctx, func(tx *groups.Tx) error {
			one.PutIn(tx, []messages.Message{value("a"), value("b")})
			two.PutIn(tx, []messages.Message{value("c")})
			tx.If(clientv3.Compare(clientv3.Version(key), "=", version))
			tx.Then(clientv3.OpPut(key, "1"))
			return nil
		})
	}
	if err := step(0); err != nil {
		t.Fatal(err)
	}
	if err := step(0); !errors.Is(err, messages.ErrCondition) {
		t.Errorf("a condition that does not hold: %v", err)
	}
	failed := errors.New("failed")
	if err := e.Transact(ctx, func(tx *groups.Tx) error { one.PutIn(tx, []messages.Message{value("x")}); return failed }); !errors.Is(err, failed) {
		t.Errorf("a function that fails: %v", err)
	}
	if err := e.Transact(ctx, func(tx *groups.Tx) error {
		one.PutIn(tx, []messages.Message{value("x"), {Value: make([]byte, messages.MaxRecordBytes)}})
		return nil
	}); !errors.Is(err, messages.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
	if err := step(1); err != nil {
		t.Fatal(err)
	}
	put(t, one, "after")
	if got := read(t, one, 0, 6); !slices.Equal(got, []string{"before", "a", "b", "a", "b", "after"}) {
		t.Errorf("%q", got)
	}
	if got := read(t, two, 0, 2); !slices.Equal(got, []string{"c", "c"}) {
		t.Errorf("%q", got)
	}
	if v, err := etcd.Get(ctx, key); err != nil || v.Kvs[0].Version != 2 {
		t.Errorf("%v, %v", v, err)
	}
	err := e.Transact(ctx, func(tx *actors.Tx) error { tx.Ack(messages.Record{}); return nil })
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("an ack where there are no records: %v", err)
	}
	stats, _ := e.Stats().Topics, 0
	for _, s := range stats {
		want := map[string]messages.TopicStats{
			"one": {Topic: "one", Records: 8, Committed: 6, Failed: 2, Appends: 4},
			"two": {Topic: "two", Records: 3, Committed: 2, Failed: 1, Appends: 2},
		}[s.Topic]
		if s.Records != want.Records || s.Committed != want.Committed || s.Failed != want.Failed || s.Appends != want.Appends || s.QueuedBytes != 0 {
			t.Errorf("%+v, want %+v", s, want)
		}
	}
}

// Promise: what a subscription reads, what is put because of it, and where the group is,
// are one transaction; what is not acked comes again.
func TestSubscriptionTransacts(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	in, out := topicOf(t, e, "in-one", 1), topicOf(t, e, "out", 1)
	for i := range 10 { // ten batches
		put(t, in, fmt.Sprint(i))
	}
	sub, err := in.Subscribe(ctx, groups.Config{Group: "movers"})
	if err != nil {
		t.Fatal(err)
	}
	move := func(tx *groups.Tx, recs []messages.Record) error {
		for _, r := range recs {
			out.PutIn(tx, []messages.Message{{Value: r.Value}})
		}
		return nil
	}
	if n, err := sub.Transact(ctx, 1, move); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	var given int
	if n, err := sub.Transact(ctx, 100, func(tx *groups.Tx, recs []messages.Record) error {
		given = len(recs)
		tx.Ack(recs[1])
		return move(tx, recs[:2])
	}); n != 2 || err != nil || given < 2 {
		t.Fatal(n, err, given)
	}
	failed := errors.New("failed")
	if _, err := sub.Transact(ctx, 100, func(tx *groups.Tx, recs []messages.Record) error {
		_ = move(tx, recs)
		return failed
	}); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	for n := 3; n < 10; {
		got, err := sub.Transact(ctx, 4, move)
		if err != nil {
			t.Fatal(err)
		}
		n += got
	}
	if got := read(t, out, 0, 10); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
		t.Errorf("%q", got)
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Fatal(err)
	}
	g, err := e.DescribeConsumerGroup(ctx, "in-one", "movers")
	if err != nil || g.Partitions[0].Committed != 10 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := sub.Transact(ctx, 1, move); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Promise: PutIf appends at the end that its caller knows, or says which it is.
func TestPutIf(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := topicOf(t, e, "events", 4)
	keyed := func(key string) messages.Message { return messages.Message{Key: []byte(key), Value: []byte("x")} }
	p, offset, err := topic.PutIf(ctx, 0, []messages.Message{keyed("a"), keyed("a")})
	if err != nil || offset != 0 {
		t.Fatal(p, offset, err)
	}
	_, _, err = topic.PutIf(ctx, 0, []messages.Message{keyed("a")})
	var c *messages.ConflictError
	if !errors.As(err, &c) || c.End != 2 || c.Partition != p {
		t.Errorf("%v", err)
	}
	if _, offset, err = topic.PutIf(ctx, 2, []messages.Message{keyed("a")}); err != nil || offset != 2 {
		t.Error(offset, err)
	}
	if _, _, err = topic.PutIf(ctx, 0, []messages.Message{keyed("a"), keyed("b"), keyed("c"), keyed("d"), keyed("e")}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("several partitions: %v", err)
	}
	if _, _, err = topic.PutIf(ctx, -1, []messages.Message{keyed("a")}); !errors.Is(err, messages.ErrOffsetOutOfRange) {
		t.Errorf("a negative end: %v", err)
	}
	if _, _, err = topic.PutIf(ctx, 0, nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("no message: %v", err)
	}
}

// Promise: what a transaction would pass over in silence it refuses: an id that it does not
// look for, and middleware that surrounds single records.
func TestTransactRefusesWhatItWouldPassOver(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	windowed, err := e.CreateTopic(ctx, "windowed", messages.TopicConfig{DedupeWindow: time.Hour}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	plain := topicOf(t, e, "plain", 1)
	named := messages.Message{ID: "p/1", Value: []byte("a")}
	put := func(to *topics.Topic, m messages.Message) error {
		return e.Transact(ctx, func(tx *groups.Tx) error { to.PutIn(tx, []messages.Message{m}); return nil })
	}
	if err := put(windowed, named); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), "p/1") {
		t.Errorf("an id, and a window: %v", err)
	}
	if _, _, err := windowed.PutIf(ctx, 0, []messages.Message{named}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("PutIf of an id, and a window: %v", err)
	}
	if err := errors.Join(put(plain, named), put(windowed, value("a"))); err != nil {
		t.Error(err)
	}
	sub, err := plain.Subscribe(ctx, groups.Config{Group: "billing", Use: []func(messages.RecordHandler) messages.RecordHandler{
		func(next messages.RecordHandler) messages.RecordHandler { return next },
	}})
	if err != nil {
		t.Fatal(err)
	}
	fn := func(*groups.Tx, []messages.Record) error { return nil }
	if _, err := sub.Transact(ctx, 1, fn); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("Transact with middleware: %v", err)
	}
	if err := sub.ConsumeTx(ctx, 1, fn); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("ConsumeTx with middleware: %v", err)
	}
}
