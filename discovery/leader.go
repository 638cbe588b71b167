package discovery

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Members of a cluster that are cut off from the others.
//
// One that has no leader takes requests and keeps them until they time out, and
// etcd's client gives each member its turn: a third of all requests would hang.
// Asked for a leader, it turns them away at once and unread.

// leaderTries is how often a request is turned away so before it is left with a
// member that has no leader: it may be about to have one.
const leaderTries = 3

// askLeader lets a request be answered by a member that has a leader, if there is
// one. What any member may answer is left alone.
func askLeader(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if get, ok := req.(*etcdserverpb.RangeRequest); ok && get.Serializable || !needsLeader(method) {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	asking := requireLeader(ctx)
	for range leaderTries {
		if err := invoke(asking, method, req, reply, cc, opts...); status.Convert(err).Message() != noLeader {
			return err
		}
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// askLeaderStream is the same for renewals of a lease, whose caller tries again.
func askLeaderStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if needsLeader(method) {
		ctx = requireLeader(ctx)
	}
	return open(ctx, desc, cc, method, opts...)
}

var noLeader = status.Convert(rpctypes.ErrGRPCNoLeader).Message()

// needsLeader is about keys and leases: what a member says of itself it can say
// alone.
func needsLeader(method string) bool {
	return strings.HasPrefix(method, "/etcdserverpb.KV/") || strings.HasPrefix(method, "/etcdserverpb.Lease/")
}

func requireLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
}
