package penstock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

func TestTopicSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rt := meet(t, space(t))
	tp, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	p, o, err := tp.Put(ctx, penstock.Message{Key: []byte("k"), Value: []byte("v")})
	t.Log(p, o, err)
	for i := range 100 {
		if err := tp.PutAsync(ctx, penstock.Message{Value: fmt.Append(nil, i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := tp.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	sub, err := tp.Subscribe(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(sub.Partitions())
	n := 0
	for r, err := range sub.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if n < 3 {
			t.Log(r.Partition, r.Offset, string(r.Value), r.Fence)
		}
		if n == 101 {
			break
		}
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Fatal(err)
	}
	d, err := rt.DescribeTopic(ctx, "audit")
	t.Logf("%+v %v", d, err)
	for r, err := range tp.Read(ctx, p, penstock.FromEarliest()) {
		t.Log(r.Offset, string(r.Value), err)
		break
	}
}
