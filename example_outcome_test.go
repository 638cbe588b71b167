package penstock_test

// An example of a put whose outcome is unknown.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
)

// When etcd does not reply before the context ends, the record may be in the topic or yet
// come. Who cannot bear it twice gives each record an id, and looks.
func ExampleTopic_Put() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg := etcd()
	var silent atomic.Bool // etcd carries out what it is asked, and does not reply
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(muteWhile(&silent)))
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(cfg), penstock.Prefix("/example-put"), penstock.Listen("tcp://127.0.0.1:0"))
	check(err)
	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)

	silent.Store(true)
	putting, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, _, err = audit.Put(putting, penstock.Message{Key: []byte("login-1"), Value: []byte("alice logged in")})
	fmt.Println("unknown:", errors.Is(err, penstock.ErrUnknownOutcome))
	silent.Store(false)

	// What this handle puts into the partition now is behind it: read up to that.
	_, end, err := audit.Put(ctx, penstock.Message{Key: []byte("look")})
	check(err)
	found := false
	for r, err := range audit.Read(ctx, 0, penstock.FromEarliest()) {
		check(err)
		found = found || string(r.Key) == "login-1"
		if r.Offset == end {
			break
		}
	}
	fmt.Println("found:", found)
	check(rt.Stop(ctx))
	// Output:
	// unknown: true
	// found: true
}

// muteWhile loses the replies of etcd while silent.
func muteWhile(silent *atomic.Bool) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if strings.HasPrefix(method, "/etcdserverpb.KV/") && silent.Load() {
			return status.Error(codes.Unavailable, "the reply was lost")
		}
		return err
	}
}
