package messages

// How a message or a record goes back that was not handled: by a method of its
// delivery, or by the error of its handler.

import (
	"errors"
	"fmt"
	"time"
)

// Verb is how something is given back.
type Verb uint8

// The verbs.
const (
	// VerbNack: its handling failed. That counts as an attempt, and it is tried again
	// after a delay.
	VerbNack Verb = iota
	// VerbRelease: nobody tried to handle it. It comes again at once, and nothing counts.
	VerbRelease
	// VerbReject: it will never be handled. It becomes a dead letter at once.
	VerbReject
)

// String is the verb in lower case.
func (v Verb) String() string {
	switch v {
	case VerbNack:
		return "nacked"
	case VerbRelease:
		return "released"
	case VerbReject:
		return "rejected"
	}
	return fmt.Sprintf("Verb(%d)", uint8(v))
}

// GiveBack says how something is given back, and why.
type GiveBack struct {
	Verb Verb
	// After, of what is VerbNack, is the delay that was asked for, from 1 ns, which is
	// at once, to MaxRetryAfter. Zero is the delay that grows with each attempt.
	After time.Duration
	// Cause is the error, or nil.
	Cause error
}

// MaxRetryAfter is the longest delay that can be asked for.
const MaxRetryAfter = 24 * time.Hour

// RetryAfter is an error for a handler to return: what it got is tried again after d,
// instead of a delay that grows with each attempt. It counts as an attempt. d is at
// most MaxRetryAfter; a negative one is zero. err, which may be nil, is what it wraps.
func RetryAfter(d time.Duration, err error) error {
	return &retryAfter{after: boundRetry(d), err: err}
}

// retryAfter is an error with the delay that it asks for.
type retryAfter struct {
	after time.Duration
	err   error
}

func (e *retryAfter) Error() string {
	if e.err == nil {
		return fmt.Sprintf("to be tried again after %v", e.after.Truncate(time.Millisecond))
	}
	return e.err.Error()
}

func (e *retryAfter) Unwrap() error { return e.err }

// boundRetry is d as a delay that was asked for. It is never zero, which is none.
func boundRetry(d time.Duration) time.Duration { return min(max(d, 1), MaxRetryAfter) }

// GiveBackOf reads the error of a handler: one that wraps ErrReject rejects, one that
// wraps what RetryAfter made is nacked with that delay, one of Untried is released, any
// other, also nil, is nacked.
func GiveBackOf(err error) (g GiveBack) {
	g.Cause = err
	if err == nil {
		return g
	}
	defer func() {
		if recover() != nil { // a method of the user's error
			g = GiveBack{Cause: err}
		}
	}()
	switch {
	case errors.Is(err, ErrReject):
		g.Verb = VerbReject
		return g
	case IsRelease(err):
		g.Verb = VerbRelease
		return g
	}
	if later, ok := errors.AsType[*retryAfter](err); ok {
		g.After = later.after
	}
	return g
}

// DeathError says that a member may have died over what it had in hand: its link died, or
// it kept it for longer than AckWait.
type DeathError struct {
	Member string
	Cause  error
}

// Error names the member.
func (e *DeathError) Error() string { return fmt.Sprintf("member %s: %v", e.Member, e.Cause) }

// Unwrap is Cause.
func (e *DeathError) Unwrap() error { return e.Cause }
