package discovery

// What an error of etcd means is decided in one place: whether trying again
// can help, and what a person should do.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/messages"
)

// Classify turns an error of etcd's client into one of ours, wrapped with what
// was being done: messages.ErrUnavailable when another try can help,
// messages.ErrDenied, messages.ErrInvalid or messages.ErrNoSpace when a person must
// act, a *messages.LimitError, which wraps messages.ErrTooLarge, when a smaller
// request may pass, else err itself: nobody knows whether it helps to repeat that,
// so it must not be repeated for long. An error that was classified before keeps
// its class.
// The context's error, when that was the end, is always found by errors.Is;
// cancellation is no fault of etcd's and gets no class. A nil err stays nil.
func Classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if limit := limitOf(err, 0); limit != nil {
		return fmt.Errorf("%s: %w", op, limit)
	}
	advice, class := classOf(err)
	switch {
	case class == nil:
		return fmt.Errorf("%s: %w", op, err)
	case advice == "":
		return fmt.Errorf("%s: %w: %w", op, class, err)
	default:
		return fmt.Errorf("%s: %w: %w (%s)", op, class, err, advice)
	}
}

// classOf returns the sentinel for an error, nil for none, and what to do.
func classOf(err error) (advice string, class error) {
	for _, known := range []error{messages.ErrUnavailable, messages.ErrDenied, messages.ErrInvalid, messages.ErrTaken, messages.ErrNoSpace, messages.ErrTooLarge, ErrGuard} {
		if errors.Is(err, known) {
			return "", nil
		}
	}
	if errors.Is(err, context.Canceled) {
		return "", nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "check that etcd runs and can be reached at that address", messages.ErrUnavailable
	}
	err = rpctypes.Error(err)
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "compact and defragment it, then disarm the alarm, or raise its quota", messages.ErrNoSpace
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrPermissionNotGranted):
		return "grant the user a role on the prefix", messages.ErrDenied
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return "check user and password", messages.ErrDenied
	case errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthNotEnabled):
		return "this etcd and the configuration disagree on whether a user is needed", messages.ErrDenied
	case LoginExpired(err):
		return "the login expired and was renewed", messages.ErrUnavailable
	case errors.Is(err, rpctypes.ErrCorrupt):
		return "its members differ: replace those that are wrong, then disarm the alarm", nil
	case elsewhere(err):
		return "name an endpoint that is a voting member of an etcd 3.5 or later, with a leader", messages.ErrUnavailable
	case errors.Is(err, rpctypes.ErrTooManyRequests):
		return "it is overloaded", messages.ErrUnavailable
	}
	switch codeOf(err) {
	case codes.Unavailable:
		return "", messages.ErrUnavailable
	case codes.InvalidArgument:
		return "", messages.ErrInvalid
	case codes.PermissionDenied, codes.Unauthenticated:
		return "", messages.ErrDenied
	case codes.Aborted:
		// Ours, of a watch that is opened again.
		return "", messages.ErrUnavailable
	case codes.Canceled, codes.DeadlineExceeded:
		// The server's context ended, not the caller's: the outcome is unknown.
		return "", messages.ErrUnavailable
	}
	return "", nil
}

// limitOf returns the limit that a request ran into, nil for none. Three voices say
// that it is too large: etcd, its client, and the server below etcd. The client
// uses the words of that one for answers, too; answers is its limit for those.
func limitOf(err error, answers int) *messages.LimitError {
	var known *messages.LimitError
	if errors.As(err, &known) {
		return nil
	}
	etcds := rpctypes.Error(err)
	limit := func(l messages.Limit) *messages.LimitError { return &messages.LimitError{Limit: l, Err: etcds} }
	switch {
	case errors.Is(etcds, rpctypes.ErrRequestTooLarge):
		return limit(messages.LimitRequest)
	case errors.Is(etcds, rpctypes.ErrTooManyOps):
		return limit(messages.LimitOps)
	case codeOf(err) != codes.ResourceExhausted:
		return nil
	}
	text := status.Convert(err).Message()
	switch {
	case strings.Contains(text, "grpc: trying to send message larger than max"): // the server says so
		return limit(messages.LimitResponse)
	case strings.Contains(text, "trying to send message larger than max"):
		return limit(messages.LimitRequest)
	case !strings.Contains(text, "larger than max"):
		return nil
	case answers > 0 && !strings.Contains(text, fmt.Sprintf("vs. %d)", answers)):
		return limit(messages.LimitRequest)
	default: // when in doubt, it was done
		return limit(messages.LimitResponse)
	}
}

// nameLimits tells a request that is too large from an answer that is, whose limit
// is given, 0 for etcd's client's own.
func nameLimits(answers int) grpc.UnaryClientInterceptor {
	if answers == 0 {
		answers = math.MaxInt32
	}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if limit := limitOf(err, answers); limit != nil {
			return limit
		}
		return err
	}
}

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// LoginExpired reports whether the server turned the request away for a login that
// expired meanwhile, before doing anything. The client logs in again by
// itself, but with a single attempt for each request it leaves the repetition
// to the caller.
func LoginExpired(err error) bool {
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// Hopeless reports whether a classified error is one that trying again cannot help.
func Hopeless(err error) bool {
	return errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrInvalid)
}

// Rejected reports whether etcd replied that it did not do what was asked.
func Rejected(err error) bool {
	if errors.Is(err, messages.ErrTaken) || errors.Is(err, ErrGuard) {
		return true
	}
	err = Classify("", err)
	return errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrInvalid) || errors.Is(err, messages.ErrNoSpace)
}
