package supervisor

// Errors, and how a panic becomes one.

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/asynkron/protoactor-go/actor"
)

var (
	// ErrNoActor: nobody lives at the PID, or it stopped before it answered.
	ErrNoActor = errors.New("no such actor")
	// ErrFailed: the actor failed while it handled the question.
	ErrFailed = errors.New("the actor failed while it handled the question")
	// ErrGoexit: a handler, or hosted work, called runtime.Goexit, which
	// testing.T.FailNow does.
	ErrGoexit = errors.New("runtime.Goexit called")
	// ErrNotRunning: an actor that stops or restarts tried to spawn a child.
	ErrNotRunning = errors.New("actor is not running")
	// ErrEnded is the cause of a hosted context's cancellation: the incarnation
	// it belonged to is over.
	ErrEnded = errors.New("actor's incarnation ended")
	// ErrInboxClosed: the inbox was closed before or during Send.
	ErrInboxClosed = errors.New("inbox closed")
)

// PanicError is a panic made into an error.
type PanicError struct {
	// Value is what was panicked with.
	Value any
	// Stack is the stack of the goroutine, as debug.Stack formats it. It may be
	// empty when the panic came from an unguarded actor.
	Stack []byte
}

// Error tells the value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap is the value when that is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Fail fails the actor that is handling a message with err, by the same road as
// a panic but without a stack: for errors that the policy expects. Call it from
// Receive only. It never returns.
func Fail(_ actor.Context, err error) {
	if err == nil {
		err = errors.New("failed without a reason")
	}
	panic(failure{err})
}

// failure is what Fail panics with. It is an error, so that an unguarded
// actor's supervisor sees one too.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// unwound makes an error of what recover returned. It is called while the
// stack still stands; nil means Goexit, as panic(nil) has a value of its own.
func unwound(value any) error {
	switch v := value.(type) {
	case nil:
		return &PanicError{Value: ErrGoexit, Stack: debug.Stack()}
	case failure:
		return v.err
	case *PanicError:
		return v
	}
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// reason makes an error of the Reason of a proto.actor Failure.
func reason(value any) error {
	switch v := value.(type) {
	case failure:
		return v.err
	case error:
		return v
	}
	return &PanicError{Value: value}
}
