package socket_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// One sender, one member, one record and its ack.
func Example() {
	ctx := context.Background()
	secret := socket.NewSecret()
	u, err := address.Parse("tcp://127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ln, err := socket.Listen(ctx, socket.ListenerConfig{
		URLs: []address.URL{u},
		Lookup: func(destination string) (socket.Secret, bool) {
			return secret, destination == "orders"
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = ln.Close() }()

	acked := make(chan uint64)
	go func() {
		conn, err := ln.Accept(ctx)
		if err != nil {
			return
		}
		if err := conn.Welcome("sender-1", 4<<20); err != nil {
			return
		}
		records := messages.AppendRecord(nil, &messages.Message{Value: []byte("an order")})
		if err := conn.SendData(1, nil, false, 0, records); err != nil {
			return
		}
		var f frame.Frame
		for conn.Recv(&f) == nil {
			if f.Kind == frame.KindAck {
				acked <- f.Ack.Cumulative
			}
		}
	}()

	conn, err := socket.Dial(ctx, socket.DialConfig{
		URL:   ln.URL(),
		Token: secret.Token,
		Hello: frame.Hello{Destination: "orders", Group: "billing", Member: "member-1", Window: 256},
	})
	if err != nil {
		log.Fatal(err)
	}
	var f frame.Frame
	if err := conn.Recv(&f); err != nil {
		log.Fatal(err)
	}
	var r messages.Payload
	if _, err := messages.ConsumeRecord(f.Data.Records, &r); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s sent %q as number %d\n", conn.Peer().ID, r.Value, f.Data.First)
	if err := conn.SendAck(&frame.Ack{Cumulative: f.Data.First, CreditMessages: 257}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("acked up to", <-acked)
	_ = conn.SendBye(pb.Code_DRAINED, "enough")
	_ = conn.Close()
	fmt.Println(errors.Is(conn.Err(), socket.ErrConnClosed))
	// Output:
	// sender-1 sent "an order" as number 1
	// acked up to 1
	// true
}
