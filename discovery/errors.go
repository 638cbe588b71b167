package discovery

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/messages"
)

// What an error of etcd means is decided in one place: whether trying again
// can help, and what a person should do.

var (
	// ErrGuard: a condition that came with an entry does not hold. Nothing was
	// written.
	ErrGuard = errors.New("guard does not hold")
)

// TakenError says that a key is held by somebody else. It wraps
// messages.ErrTaken.
type TakenError struct {
	Key string
	// Holder is what stands there.
	Holder KV
}

// Error names the key.
func (e *TakenError) Error() string { return fmt.Sprintf("%s: %v", e.Key, messages.ErrTaken) }

// Unwrap is messages.ErrTaken.
func (e *TakenError) Unwrap() error { return messages.ErrTaken }

// Classify turns an error of etcd's client into one of ours, wrapped with what
// was being done: messages.ErrUnavailable when another try can help,
// messages.ErrDenied, messages.ErrInvalid or messages.ErrNoSpace when a person must
// act, else err itself. An error that was classified before keeps its class.
// The context's error, when that was the end, is always found by errors.Is;
// cancellation is no fault of etcd's and gets no class. A nil err stays nil.
func Classify(op string, err error) error {
	if err == nil {
		return nil
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

// classOf answers the sentinel for an error, nil for none, and what to do.
func classOf(err error) (advice string, class error) {
	for _, known := range []error{messages.ErrUnavailable, messages.ErrDenied, messages.ErrInvalid, messages.ErrTaken, messages.ErrNoSpace, ErrGuard} {
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
	case refused(err):
		return "the login expired and was renewed", messages.ErrUnavailable
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return "", messages.ErrInvalid
	case errors.Is(err, rpctypes.ErrTooManyRequests):
		return "it is overloaded", messages.ErrUnavailable
	}
	switch codeOf(err) {
	case codes.Unavailable:
		return "", messages.ErrUnavailable
	case codes.PermissionDenied, codes.Unauthenticated:
		return "", messages.ErrDenied
	case codes.Aborted:
		// Ours, of a watch that is opened anew.
		return "", messages.ErrUnavailable
	case codes.Canceled, codes.DeadlineExceeded:
		// The server's context ended, not the caller's: the outcome is unknown.
		return "", messages.ErrUnavailable
	}
	return "", nil
}

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// refused tells that the server turned the request away for a login that
// expired meanwhile, before doing anything. The client logs in again by
// itself, but with a single attempt for each request it leaves the repetition
// to the caller.
func refused(err error) bool {
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// hopeless tells that trying again cannot help.
func hopeless(err error) bool {
	return errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrInvalid)
}
