package messages_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/penstock-io/penstock/messages"
)

// A batch is records one after the other; reading it needs no memory of its own.
func ExampleConsumeRecord() {
	var batch []byte
	for _, v := range []string{"first", "second"} {
		batch = messages.AppendRecord(batch, &messages.Message{Key: []byte("k"), Value: []byte(v)})
	}

	var rec messages.Payload
	for len(batch) > 0 {
		n, err := messages.ConsumeRecord(batch, &rec)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", rec.Key, rec.Value)
		batch = batch[n:]
	}
	// Output:
	// k: first
	// k: second
}

func ExampleRecord_Headers() {
	rec := messages.PayloadOf(&messages.Message{Headers: []messages.Header{
		{Name: "trace", Value: []byte("4bf9")},
		{Name: "kind", Value: []byte("order")},
	}})
	for name, value := range rec.Headers() {
		fmt.Printf("%s=%s\n", name, value)
	}
	kind, ok := rec.Header("kind")
	fmt.Println(string(kind), ok)
	// Output:
	// trace=4bf9
	// kind=order
	// order true
}

// A handler can be tested with deliveries made by hand: without a Settler
// their Ack and Nack do nothing.
func ExampleDelivery() {
	handle := func(d messages.Delivery) {
		if len(d.Value) == 0 {
			d.Nack(errors.New("empty order"))
			return
		}
		fmt.Printf("billed %s\n", d.Value)
		d.Ack()
	}
	handle(messages.Delivery{Payload: messages.Payload{Value: []byte("order 1")}, Attempt: 1})
	// Output: billed order 1
}

func ExampleLogEvent() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	messages.LogEvent(context.Background(), logger, messages.MessagesDropped{
		Destination: "orders", Group: "billing", Count: 3, Bytes: 120, Why: "queue full",
	})
	// Output: level=WARN msg=messages_dropped destination=orders group=billing count=3 bytes=120 why="queue full"
}
