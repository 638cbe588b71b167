package discovery

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

// A request that is turned away goes elsewhere at once, and not without end; where
// there is no leader it is left with a member in the end. What any member can
// answer is asked of any.
func TestAskElsewhere(t *testing.T) {
	const txn = "/etcdserverpb.KV/Txn"
	other := errors.New("other")
	for name, c := range map[string]struct {
		method  string
		req     any
		answers []error // of those who are asked for a leader
		asked   []bool  // for a leader
		want    error
	}{
		"one has it":       {txn, &etcdserverpb.TxnRequest{}, []error{nil}, []bool{true}, nil},
		"the next has it":  {txn, &etcdserverpb.TxnRequest{}, []error{rpctypes.ErrGRPCNoLeader, nil}, []bool{true, true}, nil},
		"another error":    {txn, &etcdserverpb.TxnRequest{}, []error{rpctypes.ErrGRPCNoLeader, other}, []bool{true, true}, other},
		"a learner first":  {txn, &etcdserverpb.TxnRequest{}, []error{rpctypes.ErrGRPCNotSupportedForLearner, nil}, []bool{true, true}, nil},
		"no etcd there":    {txn, &etcdserverpb.TxnRequest{}, []error{status.Error(codes.Unimplemented, "unexpected HTTP status code received from server: 404"), nil}, []bool{true, true}, nil},
		"learners only":    {txn, &etcdserverpb.TxnRequest{}, slices.Repeat([]error{rpctypes.ErrGRPCNotSupportedForLearner}, elsewhereTries), slices.Repeat([]bool{true}, elsewhereTries), rpctypes.ErrGRPCNotSupportedForLearner},
		"nobody has it":    {txn, &etcdserverpb.TxnRequest{}, slices.Repeat([]error{rpctypes.ErrGRPCNoLeader}, 3), []bool{true, true, true, false}, nil},
		"a new lease":      {"/etcdserverpb.Lease/LeaseGrant", &etcdserverpb.LeaseGrantRequest{}, []error{nil}, []bool{true}, nil},
		"of its own":       {"/etcdserverpb.Maintenance/Status", &etcdserverpb.StatusRequest{}, nil, []bool{false}, nil},
		"any will do":      {"/etcdserverpb.KV/Range", &etcdserverpb.RangeRequest{Serializable: true}, nil, []bool{false}, nil},
		"a read as of now": {"/etcdserverpb.KV/Range", &etcdserverpb.RangeRequest{}, []error{nil}, []bool{true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []bool
			answers := c.answers
			err := askElsewhere(etcdtest.Context(t), c.method, c.req, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				md, _ := metadata.FromOutgoingContext(ctx)
				asks := slices.Equal(md.Get(rpctypes.MetadataRequireLeaderKey), []string{rpctypes.MetadataHasLeader})
				asked = append(asked, asks)
				if !asks {
					return nil
				}
				answer := answers[0]
				answers = answers[1:]
				return answer
			})
			if !slices.Equal(asked, c.asked) || !errors.Is(err, c.want) {
				t.Errorf("asked %v, %v", asked, err)
			}
		})
	}
}
