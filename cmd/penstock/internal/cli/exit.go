package cli

// What an error means to whoever started the command.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock"
)

// ExitCode is what the process ends with.
type ExitCode int

// The exit codes, as --help describes them.
const (
	ExitDone        ExitCode = 0
	ExitFailed      ExitCode = 1
	ExitUsage       ExitCode = 2
	ExitUnreachable ExitCode = 3
	ExitIncomplete  ExitCode = 4
	ExitDenied      ExitCode = 5
)

// exitCodes is for --help.
const exitCodes = `Exit codes:
  0  done
  1  failed
  2  used wrongly: a flag, a name, an address
  3  etcd cannot be reached
  4  not finished: time ran out or a signal came first
  5  etcd denies the rights`

// usageError is the caller's fault.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Usagef returns an error that is the caller's fault: ExitUsage, and a hint at
// --help.
func Usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// incompleteError says what was left undone when time ran out or a signal came.
type incompleteError struct{ text string }

func (e *incompleteError) Error() string { return e.text }

// Incompletef returns an error of a command that time or a signal cut short:
// ExitIncomplete.
func Incompletef(format string, args ...any) error {
	return &incompleteError{fmt.Sprintf(format, args...)}
}

// saidError was printed already.
type saidError struct{ err error }

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// ErrLost means that messages that were accepted will not be handled.
var ErrLost = errors.New("they are lost")

// CodeOf decides the exit code. What the command itself says of its end comes
// before what it is made of.
func CodeOf(err error) ExitCode {
	var usage *usageError
	var unreachable *unreachableError
	var incomplete *incompleteError
	var abandoned *penstock.AbandonedError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage), errors.Is(err, penstock.ErrInvalid), errors.Is(err, penstock.ErrNoPartition):
		return ExitUsage
	case errors.As(err, &unreachable):
		return ExitUnreachable
	case errors.Is(err, ErrLost):
		return ExitFailed
	case errors.As(err, &incomplete):
		return ExitIncomplete
	case errors.Is(err, penstock.ErrDenied):
		return ExitDenied
	case errors.Is(err, penstock.ErrUnavailable):
		return ExitUnreachable
	case errors.As(err, &abandoned), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ExitIncomplete
	}
	return ExitFailed
}
