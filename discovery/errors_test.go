package discovery

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/messages"
)

// Every code that gRPC has is thought of: whether it helps to repeat a request, or
// a person must act, or nobody knows, which is no class.
func TestClassOfEveryCode(t *testing.T) {
	classes := map[codes.Code]error{
		codes.OK: nil, codes.Canceled: messages.ErrUnavailable, codes.Unknown: nil, codes.InvalidArgument: messages.ErrInvalid,
		codes.DeadlineExceeded: messages.ErrUnavailable, codes.NotFound: nil, codes.AlreadyExists: nil,
		codes.PermissionDenied: messages.ErrDenied, codes.ResourceExhausted: nil, codes.FailedPrecondition: nil,
		codes.Aborted: messages.ErrUnavailable, codes.OutOfRange: nil, codes.Unimplemented: messages.ErrUnavailable,
		codes.Internal: nil, codes.Unavailable: messages.ErrUnavailable, codes.DataLoss: nil, codes.Unauthenticated: messages.ErrDenied,
	}
	for code := codes.OK; ; code++ {
		if code.String() == fmt.Sprintf("Code(%d)", code) {
			break
		}
		want, known := classes[code]
		if !known {
			t.Errorf("%s is not thought of", code)
			continue
		}
		onlyClass(t, code.String(), Classify("do it", status.Error(code, "a text that nobody knows")), want)
	}
}

// And every error that etcd has a name for.
func TestClassOfEveryNamedError(t *testing.T) {
	for err, want := range map[error]error{
		rpctypes.ErrGRPCNoSpace: messages.ErrNoSpace,

		rpctypes.ErrGRPCPermissionDenied: messages.ErrDenied, rpctypes.ErrGRPCPermissionNotGranted: messages.ErrDenied,
		rpctypes.ErrGRPCAuthFailed: messages.ErrDenied, rpctypes.ErrGRPCUserEmpty: messages.ErrDenied, rpctypes.ErrGRPCAuthNotEnabled: messages.ErrDenied,

		rpctypes.ErrGRPCRequestTooLarge: messages.ErrTooLarge, rpctypes.ErrGRPCTooManyOps: messages.ErrTooLarge,

		rpctypes.ErrGRPCInvalidAuthToken: messages.ErrUnavailable, rpctypes.ErrGRPCAuthOldRevision: messages.ErrUnavailable,
		rpctypes.ErrGRPCRequestTooManyRequests: messages.ErrUnavailable,
		rpctypes.ErrGRPCNoLeader:               messages.ErrUnavailable, rpctypes.ErrGRPCLeaderChanged: messages.ErrUnavailable,
		rpctypes.ErrGRPCStopped: messages.ErrUnavailable, rpctypes.ErrGRPCTimeout: messages.ErrUnavailable,
		rpctypes.ErrGRPCTimeoutDueToLeaderFail: messages.ErrUnavailable, rpctypes.ErrGRPCTimeoutDueToConnectionLost: messages.ErrUnavailable,
		rpctypes.ErrGRPCTimeoutWaitAppliedIndex: messages.ErrUnavailable, rpctypes.ErrGRPCUnhealthy: messages.ErrUnavailable,
		rpctypes.ErrGRPCWatchCanceled: messages.ErrUnavailable, rpctypes.ErrGRPCCanceled: messages.ErrUnavailable, rpctypes.ErrGRPCDeadlineExceeded: messages.ErrUnavailable,
		rpctypes.ErrGRPCNotSupportedForLearner: messages.ErrUnavailable, rpctypes.ErrGRPCNotLeader: messages.ErrUnavailable, rpctypes.ErrGRPCNotCapable: messages.ErrUnavailable,

		rpctypes.ErrGRPCEmptyKey: messages.ErrInvalid, rpctypes.ErrGRPCKeyNotFound: messages.ErrInvalid, rpctypes.ErrGRPCValueProvided: messages.ErrInvalid,
		rpctypes.ErrGRPCLeaseProvided: messages.ErrInvalid, rpctypes.ErrGRPCDuplicateKey: messages.ErrInvalid,
		rpctypes.ErrGRPCInvalidClientAPIVersion: messages.ErrInvalid, rpctypes.ErrGRPCInvalidSortOption: messages.ErrInvalid,
		rpctypes.ErrGRPCMemberBadURLs: messages.ErrInvalid, rpctypes.ErrGRPCRoleEmpty: messages.ErrInvalid,
		rpctypes.ErrGRPCPermissionNotGiven: messages.ErrInvalid, rpctypes.ErrGRPCInvalidAuthMgmt: messages.ErrInvalid,
		rpctypes.ErrGRPCWrongDowngradeVersionFormat: messages.ErrInvalid, rpctypes.ErrGRPCInvalidDowngradeTargetVersion: messages.ErrInvalid,

		// Answers that their askers look for, or that a person must see to: they are
		// told as they are.
		rpctypes.ErrGRPCCompacted: nil, rpctypes.ErrGRPCFutureRev: nil, rpctypes.ErrGRPCLeaseNotFound: nil, rpctypes.ErrGRPCLeaseExist: nil,
		rpctypes.ErrGRPCLeaseTTLTooLarge: nil, rpctypes.ErrGRPCMemberNotFound: nil, rpctypes.ErrGRPCClusterIDMismatch: nil, rpctypes.ErrGRPCCorrupt: nil,
		rpctypes.ErrGRPCUserNotFound: nil, rpctypes.ErrGRPCRoleNotFound: nil,
	} {
		onlyClass(t, err.Error(), Classify("do it", err), want)
		onlyClass(t, "client's "+err.Error(), Classify("do it", rpctypes.Error(err)), want)
	}
}

// onlyClass checks that an error has one class, or none.
func onlyClass(t *testing.T, what string, got, want error) {
	t.Helper()
	for _, class := range []error{
		messages.ErrUnavailable, messages.ErrDenied, messages.ErrInvalid, messages.ErrNoSpace, messages.ErrTooLarge, messages.ErrTaken, messages.ErrCorrupt,
	} {
		if errors.Is(got, class) != (want == class) {
			t.Errorf("%s: %v; want %v", what, got, want)
		}
	}
}

// "Too large" has three voices, and one of them is used for answers as well.
func TestLimitsOfARequest(t *testing.T) {
	const answers = 1 << 20
	full := func(text string) error { return status.Error(codes.ResourceExhausted, text) }
	for name, c := range map[string]struct {
		err  error
		want messages.Limit
	}{
		"etcd":             {rpctypes.ErrGRPCRequestTooLarge, messages.LimitRequest},
		"etcd's client":    {full("trying to send message larger than max (300044 vs. 262144)"), messages.LimitRequest},
		"etcd's server":    {full("grpc: received message larger than max (1600000 vs. 786432)"), messages.LimitRequest},
		"an answer":        {full("grpc: received message larger than max (1600000 vs. 1048576)"), messages.LimitResponse},
		"the server's own": {full("grpc: trying to send message larger than max (3000000000 vs. 2147483647)"), messages.LimitResponse},
		"unpacked":         {full("grpc: message after decompression larger than max (2000000 vs. 1048576)"), messages.LimitResponse},
		"operations":       {rpctypes.ErrGRPCTooManyOps, messages.LimitOps},
		"full":             {rpctypes.ErrGRPCNoSpace, ""},
		"another's quota":  {full("quota exceeded"), ""},
		"another code":     {status.Error(codes.Unavailable, "received message larger than max"), ""},
		"no error":         {nil, ""},
		"its context's":    {context.DeadlineExceeded, ""},
	} {
		call := nameLimits(answers)
		err := call(t.Context(), "", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return c.err })
		var limit *messages.LimitError
		if errors.As(err, &limit) != (c.want != "") || limit != nil && limit.Limit != c.want {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if again := Classify("do it", err); limit != nil && (!errors.Is(again, messages.ErrTooLarge) || !errors.As(again, &limit) || limit.Limit != c.want || !errors.Is(again, rpctypes.Error(c.err))) {
			t.Errorf("%s, classified: %v", name, again)
		}
	}
}
