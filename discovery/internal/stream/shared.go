package stream

// A stream that carries any number of watches.

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Shared is one stream of etcd's own protocol. etcd's client has a goroutine and
// buffers for each watch of a stream; here a watch is a number, and what is said of
// all of them comes by one channel. It is opened once, and ends when it breaks. Make
// it with OpenShared. Its methods do not block but for Close, and are safe for
// concurrent use.
type Shared struct {
	life   context.Context
	cancel context.CancelFunc
	out    chan<- Said
	work   sync.WaitGroup

	mu    sync.Mutex
	queue []*etcdserverpb.WatchRequest
	bell  chan struct{} // holds at most one token, for send
}

// Said is what came by a stream: a response, or why the stream ended.
type Said struct {
	By   *Shared
	Resp *etcdserverpb.WatchResponse
	Err  error
}

// OpenShared begins a stream, which ends with ctx. It does not wait for it: when there
// is no connection, or none soon, out is told so. client must be of
// discovery.NewClient. The caller must receive from out until it has called Close.
func OpenShared(ctx context.Context, client *clientv3.Client, out chan<- Said) *Shared {
	s := &Shared{out: out, bell: make(chan struct{}, 1)}
	// A member that lost its leader must say so instead of keeping still.
	s.life, s.cancel = context.WithCancel(clientv3.WithRequireLeader(context.WithValue(ctx, ticketKey{}, new(ticket))))
	s.work.Go(func() {
		if err := s.run(client.ActiveConnection()); err != nil {
			s.say(Said{By: s, Err: err})
		}
	})
	return s
}

// run receives until the stream ends.
func (s *Shared) run(conn *grpc.ClientConn) error {
	wire, err := etcdserverpb.NewWatchClient(conn).Watch(s.life, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return rpctypes.Error(err)
	}
	s.work.Go(func() { s.send(wire) })
	for {
		resp, err := wire.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return ErrEnded
		case err != nil:
			return rpctypes.Error(err)
		}
		s.say(Said{By: s, Resp: resp})
	}
}

// send sends what is asked for. Why it cannot is heard by whoever receives.
func (s *Shared) send(wire etcdserverpb.Watch_WatchClient) {
	for {
		s.mu.Lock()
		all := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, r := range all {
			if wire.Send(r) != nil {
				return
			}
		}
		if len(all) > 0 {
			continue
		}
		select {
		case <-s.bell:
		case <-s.life.Done():
			return
		}
	}
}

func (s *Shared) say(what Said) {
	select {
	case s.out <- what:
	case <-s.life.Done():
	}
}

func (s *Shared) ask(r *etcdserverpb.WatchRequest) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Create asks for a watch of the keys from one to before end, or of one key without an
// end, from now on: what comes after the revision of its confirmation will be told. etcd
// confirms watches in the order in which they were asked for.
func (s *Shared) Create(from, end string) {
	r := &etcdserverpb.WatchCreateRequest{Key: []byte(from)}
	if end != "" {
		r.RangeEnd = []byte(end)
	}
	s.ask(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: r}})
}

// Cancel ends a watch.
func (s *Shared) Cancel(id int64) {
	s.ask(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: id}}})
}

// Close ends the stream and all its watches, and waits for its goroutines, which
// nothing holds up.
func (s *Shared) Close() {
	s.cancel()
	s.work.Wait()
}

// Refused is why etcd ended a watch, nil when it did not.
func Refused(resp *etcdserverpb.WatchResponse) error {
	switch {
	case resp.CompactRevision != 0:
		return rpctypes.ErrCompacted
	case !resp.Canceled:
		return nil
	case resp.CancelReason != "":
		return rpctypes.Error(status.Error(codes.FailedPrecondition, resp.CancelReason))
	}
	return ErrEnded
}
