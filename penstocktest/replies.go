package penstocktest

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Answers that get lost: etcd has done what it was asked, and nobody knows.

// Replies loses replies of etcd to a client. Get one from DropReplies. Its
// methods are safe for concurrent use.
type Replies struct {
	every   int64
	asked   atomic.Int64
	dropped atomic.Int64
}

// DropReplies loses the answer to every n-th transaction, every above 0: etcd
// has carried it out, and the client gets the error of a connection that broke.
// One Replies may serve several clients, which are counted together.
//
//	cfg := server.Config()
//	cfg.DialOptions = append(cfg.DialOptions, penstocktest.DropReplies(5).Option())
//	penstock.EtcdConfig(cfg)
func DropReplies(every int) *Replies { return &Replies{every: int64(max(every, 1))} }

// Option is for DialOptions of an etcd client's configuration.
func (r *Replies) Option() grpc.DialOption { return grpc.WithChainUnaryInterceptor(r.intercept) }

// Dropped counts the replies that were lost so far.
func (r *Replies) Dropped() int { return int(r.dropped.Load()) }

func (r *Replies) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err != nil || method != "/etcdserverpb.KV/Txn" || r.asked.Add(1)%r.every != 0 {
		return err
	}
	r.dropped.Add(1)
	return status.Error(codes.Unavailable, "penstocktest: the answer was lost")
}
