package registry

// What Run emits.

import (
	"time"

	"github.com/penstock-io/penstock/discovery"
)

// Event is one of PutBack, Conflict, Refused, Troubled, Delayed.
type Event interface{ event() }

// PutBack: a kept key was not as it should be, and is again.
type PutBack struct {
	Key string
	Why Why
}

// Conflict: somebody else holds a kept key. It is tried again when the key
// changes, and at each audit.
type Conflict struct {
	Key    string
	Holder discovery.KV
}

// Refused: a kept key is gone and its guard does not let it be created again.
// It is tried again at each audit.
type Refused struct {
	Key string
	Err error // wraps discovery.ErrGuard
}

// Troubled: etcd refuses what is to be done about one key. It is told once, until
// the key is as it should be, and tried again with each sign of life of the watch.
// The other keys are looked after meanwhile.
type Troubled struct {
	Key string
	Err error // as of discovery.Classify: messages.ErrDenied, ErrInvalid or ErrNoSpace
}

// Delayed: etcd did not do what was asked, and Run tries again.
type Delayed struct {
	// Err is why; its text names what was asked of whom.
	Err error
	// Wait is how long Run waits before the next attempt; 0 where it does not wait.
	Wait time.Duration
}

func (PutBack) event()  {}
func (Conflict) event() {}
func (Refused) event()  {}
func (Troubled) event() {}
func (Delayed) event()  {}

// Why says what had happened to a key that was put back.
type Why uint8

// The reasons to put a key back.
const (
	Deleted  Why = iota + 1 // somebody deleted it, or etcd was wiped
	NewLease                // its lease ended and there is a new one
	Changed                 // it had an older value or lease of ours
)

// String names the reason as logs do.
func (w Why) String() string {
	switch w {
	case Deleted:
		return "deleted"
	case NewLease:
		return "new lease"
	case Changed:
		return "changed"
	default:
		return "unknown"
	}
}
