package discovery

// Endpoints that turn requests away that others would answer.
//
// A member that is cut off from the others takes requests and keeps them until
// they time out, and etcd's client gives each endpoint its turn: a third of all
// requests would hang. Asked for a leader, it turns them away at once and unread.
// So do a learner, and a proxy behind which there is no etcd. Whatever was turned
// away so goes to another endpoint at once.

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// elsewhereTries is how often a request is turned away so before that counts. A
// turn may be taken by another request, so it is more than there are endpoints.
const elsewhereTries = 10

// leaderTries is the same where the reason is that there is no leader: there may be
// one in a moment, and then a member that was asked without condition answers.
const leaderTries = 3

// elsewhere reports whether a request was turned away unread, by an endpoint that will
// keep doing so.
func elsewhere(err error) bool {
	return status.Code(err) == codes.Unimplemented || slices.Contains(notHere, status.Convert(err).Message())
}

var (
	noLeader = status.Convert(rpctypes.ErrGRPCNoLeader).Message()
	notHere  = []string{
		noLeader, status.Convert(rpctypes.ErrGRPCNotSupportedForLearner).Message(),
		status.Convert(rpctypes.ErrGRPCNotLeader).Message(), status.Convert(rpctypes.ErrGRPCNotCapable).Message(),
	}
)

// askElsewhere lets a request be answered by an endpoint that can. What any member
// may answer is not asked for a leader.
func askElsewhere(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	asking := ctx
	if get, ok := req.(*etcdserverpb.RangeRequest); needsLeader(method) && (!ok || !get.Serializable) {
		asking = requireLeader(ctx)
	}
	leaderless := 0
	for n := 1; ; n++ {
		err := invoke(asking, method, req, reply, cc, opts...)
		if err == nil || n == elsewhereTries || !elsewhere(err) || ctx.Err() != nil {
			return err
		}
		if status.Convert(err).Message() == noLeader {
			if leaderless++; leaderless == leaderTries {
				asking = ctx
			}
		}
	}
}

// streamElsewhere is the same for streams, until they are answered first.
func streamElsewhere(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if needsLeader(method) {
		ctx = requireLeader(ctx)
	}
	begin := func() (grpc.ClientStream, error) { return open(ctx, desc, cc, method, opts...) }
	first, err := begin()
	if err != nil {
		return nil, err
	}
	return &roaming{ClientStream: first, begin: begin, over: ctx.Done(), left: elsewhereTries - 1}, nil
}

// roaming is a stream that is begun again elsewhere when it is turned away. Like
// any stream, one goroutine sends and one receives.
type roaming struct {
	begin func() (grpc.ClientStream, error)
	over  <-chan struct{} // its caller's context; a stream's own ends with it

	mu sync.Mutex
	grpc.ClientStream
	left int   // how often it may go elsewhere; 0 once it was answered
	sent []any // until then
}

// SendMsg sends, and remembers what it sent before the first answer.
func (r *roaming) SendMsg(m any) error {
	r.mu.Lock()
	if r.left == 0 {
		now := r.ClientStream
		r.mu.Unlock()
		return now.SendMsg(m)
	}
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
	if err := r.ClientStream.SendMsg(m); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // it was turned away: RecvMsg hears why
}

// RecvMsg goes elsewhere as long as there is no answer.
func (r *roaming) RecvMsg(m any) error {
	for {
		r.mu.Lock()
		now, left := r.ClientStream, r.left
		r.mu.Unlock()
		err := now.RecvMsg(m)
		if left == 0 {
			return err
		}
		if err == nil || !elsewhere(err) || r.isOver() {
			r.settle()
			return err
		}
		if err := r.again(err); err != nil {
			r.settle()
			return err
		}
	}
}

func (r *roaming) isOver() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// settle: it was answered, or is over.
func (r *roaming) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left, r.sent = 0, nil
}

// again begins the stream elsewhere, and sends what was sent.
func (r *roaming) again(cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.left == 0 {
		return cause
	}
	next, err := r.begin()
	if err != nil {
		return errors.Join(cause, err)
	}
	r.ClientStream = next
	for _, m := range r.sent {
		if err := next.SendMsg(m); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// CloseSend, Header, Trailer and Context are of the stream as it is now.

func (r *roaming) now() grpc.ClientStream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ClientStream
}

// CloseSend ends what is sent.
func (r *roaming) CloseSend() error { return r.now().CloseSend() }

// Header is the server's.
func (r *roaming) Header() (metadata.MD, error) { return r.now().Header() }

// Trailer is the server's.
func (r *roaming) Trailer() metadata.MD { return r.now().Trailer() }

// Context is the stream's.
func (r *roaming) Context() context.Context { return r.now().Context() }

// needsLeader is about keys and leases: what a member says of itself it can say
// alone.
func needsLeader(method string) bool {
	return strings.HasPrefix(method, "/etcdserverpb.KV/") || strings.HasPrefix(method, "/etcdserverpb.Lease/")
}

func requireLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
}
