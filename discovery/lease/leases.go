package lease

// Renewals of leases over one stream.

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery"
)

// Leases is the Client of a client of etcd. Its renewals share one stream:
// a stream for each would cost etcd the opening, and a login where there are
// users. A stream carries one request at a time, and one whose answer did not
// come in time ends with it: so an answer always belongs to the request just
// sent, and a stream that fell silent is replaced by the next renewal. It is
// safe for concurrent use; renewals wait for each other.
type Leases struct {
	client *clientv3.Client
	asks   chan renewal
	turn   chan struct{} // held by the renewal that uses what follows
	stream etcdserverpb.Lease_LeaseKeepAliveClient
	life   context.Context // of the stream, or of the next one
	end    context.CancelFunc
}

// renewal is one request that Run is to send, and where its answer goes, which
// has room for it.
type renewal struct {
	id     clientv3.LeaseID
	answer chan<- renewed
}

type renewed struct {
	resp *etcdserverpb.LeaseKeepAliveResponse
	err  error
}

// NewLeases makes the leases of a client, which must be of NewClient. The stream
// ends with the client.
func NewLeases(client *clientv3.Client) *Leases {
	return &Leases{client: client, asks: make(chan renewal), turn: make(chan struct{}, 1)}
}

// Run waits for etcd's answers to renewals, which are made only while it runs.
// It blocks until ctx ends and returns ctx's cause. One Run at a time; it ends
// after the renewal that is under way, so ctx should end that one too.
func (l *Leases) Run(ctx context.Context) error {
	for {
		select {
		case r := <-l.asks:
			resp, err := l.exchange(r.id)
			r.answer <- renewed{resp, err}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Grant asks for a lease of ttl seconds.
func (l *Leases) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	return l.client.Grant(ctx, ttl)
}

// Revoke ends a lease and deletes its keys.
func (l *Leases) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	return l.client.Revoke(ctx, id)
}

// KeepAliveOnce renews a lease by one request, and blocks until its answer comes
// or ctx ends. A lease that etcd does not know is rpctypes.ErrLeaseNotFound.
func (l *Leases) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	kept := l.life != nil
	resp, err := l.renew(ctx, id)
	if err != nil && ctx.Err() == nil && (discovery.LoginExpired(err) || kept) {
		// The login of the stream expired, or the stream broke while nobody
		// used it. A new one tells what is the matter now.
		resp, err = l.renew(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	if resp.TTL <= 0 {
		return nil, rpctypes.ErrLeaseNotFound
	}
	return &clientv3.LeaseKeepAliveResponse{ResponseHeader: resp.Header, ID: clientv3.LeaseID(resp.ID), TTL: resp.TTL}, nil
}

// renew sends one request on the stream, which is opened when there is none and
// ends after any error.
func (l *Leases) renew(ctx context.Context, id clientv3.LeaseID) (*etcdserverpb.LeaseKeepAliveResponse, error) {
	if l.life == nil {
		l.life, l.end = context.WithCancel(l.client.Ctx())
	}
	answer := make(chan renewed, 1)
	select {
	case l.asks <- renewal{id: id, answer: answer}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var got renewed
	select {
	case got = <-answer:
	case <-ctx.Done():
		l.end()
		got = <-answer // at once: nothing waits any more
	}
	if got.err == nil {
		return got.resp, nil
	}
	l.end()
	l.stream, l.life, l.end = nil, nil, nil
	var cut *discovery.ConnectError
	switch {
	case ctx.Err() == nil:
		return nil, rpctypes.Error(got.err)
	case errors.As(got.err, &cut):
		return nil, cut.WithContext(ctx.Err())
	}
	return nil, ctx.Err()
}

// exchange is Run's part of a renewal: all of it that blocks.
func (l *Leases) exchange(id clientv3.LeaseID) (*etcdserverpb.LeaseKeepAliveResponse, error) {
	if l.stream == nil {
		stream, err := etcdserverpb.NewLeaseClient(l.client.ActiveConnection()).LeaseKeepAlive(l.life, grpc.WaitForReady(true))
		if err != nil {
			return nil, err
		}
		l.stream = stream
	}
	if err := l.stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		// The stream's own error is told to who receives.
		if _, cause := l.stream.Recv(); cause != nil {
			err = cause
		}
		return nil, err
	}
	return l.stream.Recv()
}
