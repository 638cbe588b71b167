package penstock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

type item struct{ Name string }

// Promise: what a Typed makes, the same one opens, with its key and content type; what has
// another content type, or does not decode, is ErrCorrupt.
func TestTypedMessages(t *testing.T) {
	items := penstock.Typed[item]{Codec: penstock.JSON[item](), Key: func(i item) []byte { return []byte(i.Name) }}
	m, err := items.Message(item{"tea"})
	if err != nil {
		t.Fatal(err)
	}
	p := penstock.PayloadOf(&m)
	if got, err := items.Decode(p); err != nil || got.Name != "tea" || string(p.Key) != "tea" {
		t.Errorf("%+v, %v, key %q", got, err, p.Key)
	}
	counts := penstock.Typed[*wrapperspb.Int64Value]{Codec: penstock.Protobuf[*wrapperspb.Int64Value]()}
	if m, err = counts.Message(wrapperspb.Int64(42)); err != nil {
		t.Fatal(err)
	}
	n := penstock.PayloadOf(&m)
	if got, err := counts.Decode(n); err != nil || got.GetValue() != 42 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := counts.Decode(p); !errors.Is(err, penstock.ErrCorrupt) {
		t.Errorf("JSON as protobuf: %v", err)
	}
	for name, c := range map[string]struct {
		m  penstock.Message
		ok bool
	}{
		"no header":    {penstock.Message{Value: []byte(`{}`)}, true},
		"a charset":    {penstock.Message{Value: []byte(`{}`), Headers: []penstock.Header{{Name: "content-type", Value: []byte("Application/JSON; charset=utf-8")}}}, true},
		"another type": {penstock.Message{Value: []byte(`{}`), Headers: []penstock.Header{{Name: "content-type", Value: []byte("text/plain")}}}, false},
		"no JSON":      {penstock.Message{Value: []byte(`{`)}, false},
	} {
		if _, err := items.Decode(penstock.PayloadOf(&c.m)); (err == nil) != c.ok || err != nil && !errors.Is(err, penstock.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := items.Decode(penstock.PayloadOf(&penstock.Message{Key: []byte("tea"), Tombstone: true})); err != nil || got != (item{}) {
		t.Errorf("a tombstone: %+v, %v", got, err)
	}
	var none penstock.Typed[item]
	if _, err := none.Message(item{}); !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("without a codec: %v", err)
	}
	if err := none.Destination(nil).Send(t.Context(), item{}); !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("a sender without a codec: %v", err)
	}
}

// Promise: typed ends pass values over pipes and topics; what does not decode is passed over
// and becomes a dead letter with its bytes.
func TestTypedEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)))
	typed := penstock.Typed[item]{Codec: penstock.JSON[item]()}
	dead := make(chan string, 10)
	dest, err := rt.Register(ctx, "orders", penstock.DeadLetters(func(_ context.Context, d penstock.DeadLetter) error {
		dead <- string(d.Message.Value)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	member, err := rt.Join(ctx, "orders", "billing")
	if err != nil {
		t.Fatal(err)
	}
	orders, billing := typed.Destination(dest), typed.Member(member)
	if err := dest.Send(ctx, penstock.Message{Value: []byte("first bad")}); err != nil {
		t.Fatal(err)
	}
	if n, err := orders.SendBatch(ctx, []item{{"a"}, {"b"}}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	var got []string
	for len(got) < 2 {
		ds, err := billing.Poll(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			got = append(got, d.Body.Name)
		}
	}
	if fmt.Sprint(got) != "[a b]" || <-dead != "first bad" {
		t.Errorf("polled %q", got)
	}
	serving, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = billing.Consume(serving, func(_ context.Context, d penstock.TypedDelivery[item]) error {
			m, err := typed.Message(item{d.Body.Name + "!"})
			if err != nil {
				return err
			}
			return d.Reply(m)
		})
	}()
	reply, err := orders.Request(ctx, item{"hello"})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := typed.Decode(reply.Payload); err != nil || back.Name != "hello!" {
		t.Errorf("%+v, %v", back, err)
	}
	var refused *penstock.RemoteError
	if _, err := dest.Request(ctx, penstock.Message{Value: []byte("bad request")}); !errors.As(err, &refused) {
		t.Errorf("a request that does not decode: %v", err)
	}
	stop()
	<-over

	topic, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	log := typed.Topic(topic)
	if _, _, err := topic.Put(ctx, penstock.Message{Value: []byte("bad record")}); err != nil {
		t.Fatal(err)
	}
	if rs, err := log.PutBatch(ctx, []item{{"c"}, {"d"}}); len(rs) != 2 || err != nil {
		t.Fatal(rs, err)
	}
	sub, err := topic.Subscribe(ctx, "reports", penstock.FromEarliest(), penstock.RecordDeadLetters(5, func(_ context.Context, r penstock.Record, _ error) error {
		dead <- string(r.Value)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	reading, end := context.WithCancel(ctx)
	got = nil
	_ = typed.Subscription(sub).Consume(reading, func(_ context.Context, r penstock.TypedRecord[item]) error {
		if got = append(got, r.Body.Name); len(got) == 2 {
			end()
		}
		return nil
	})
	end()
	if fmt.Sprint(got) != "[c d]" || <-dead != "bad record" {
		t.Errorf("consumed %q", got)
	}
}

// Promise: a typed table has decoded values, and an error for each that does not decode.
func TestTypedTable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic, err := rt.CreateTopic(ctx, "stock", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	items := penstock.Typed[item]{Codec: penstock.JSON[item](), Key: func(i item) []byte { return []byte(i.Name) }}
	if _, _, err := items.Topic(topic).Put(ctx, item{"tea"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := topic.Put(ctx, penstock.Message{Key: []byte("odd"), Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	raw, err := topic.Table(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	table := items.Table(raw)
	if r, ok, err := table.Get([]byte("tea")); !ok || err != nil || r.Body.Name != "tea" || r.Offset != 0 {
		t.Errorf("tea is %+v, %v, %v", r, ok, err)
	}
	if _, ok, err := table.Get([]byte("odd")); !ok || !errors.Is(err, penstock.ErrCorrupt) {
		t.Errorf("what does not decode: %v, %v", ok, err)
	}
	if _, ok, err := table.Get([]byte("none")); ok || err != nil {
		t.Errorf("what is not there: %v, %v", ok, err)
	}
	good, bad := 0, 0
	for r, err := range table.All() {
		switch {
		case err == nil && r.Body.Name == "tea":
			good++
		case errors.Is(err, penstock.ErrCorrupt):
			bad++
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("all are %d that decode and %d that do not", good, bad)
	}
}
