package main

// What an error means to whoever started the command.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock"
)

// exitCode is what the process ends with.
type exitCode int

const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitUnreachable exitCode = 3
	exitIncomplete  exitCode = 4
	exitDenied      exitCode = 5
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

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// incompleteError says what was left undone when time ran out or a signal came.
type incompleteError struct{ text string }

func (e *incompleteError) Error() string { return e.text }

func incompletef(format string, args ...any) error {
	return &incompleteError{fmt.Sprintf(format, args...)}
}

// saidError was told to the user already.
type saidError struct{ err error }

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// unreachableError names the etcd that did not answer, and a way out.
type unreachableError struct {
	endpoints []string
	err       error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no etcd answers at %s: start one with \"penstock serve\", or name yours with --etcd or PENSTOCK_ETCD\n  (%v)",
		strings.Join(e.endpoints, ","), e.err)
}
func (e *unreachableError) Unwrap() error { return e.err }

// codeOf decides the exit code. What the command itself says of its end comes
// before what it is made of.
func codeOf(err error) exitCode {
	var usage *usageError
	var unreachable *unreachableError
	var incomplete *incompleteError
	var abandoned *penstock.AbandonedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.Is(err, penstock.ErrInvalid), errors.Is(err, penstock.ErrNoPartition):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.As(err, &incomplete):
		return exitIncomplete
	case errors.Is(err, penstock.ErrDenied):
		return exitDenied
	case errors.Is(err, penstock.ErrUnavailable):
		return exitUnreachable
	case errors.As(err, &abandoned), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return exitIncomplete
	}
	return exitFailed
}
