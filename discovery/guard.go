package discovery

// Conditions that a write carries, and what it returns when they do not hold.

import (
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
)

// Guard is a condition on keys that etcd compares in the transaction of a write:
// when it does not hold, nothing is written. Make it with Absent, AbsentUnder or
// SameKey.
type Guard struct{ cmp clientv3.Cmp }

// Absent holds while a key does not exist.
func Absent(key string) Guard {
	return Guard{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
}

// AbsentUnder holds while no key exists under a prefix.
func AbsentUnder(prefix string) Guard {
	return Guard{clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix()}
}

// SameKey holds while a key exists and has not been deleted and created again
// since it was seen with this CreateRevision.
func SameKey(key string, createRevision int64) Guard {
	return Guard{clientv3.Compare(clientv3.CreateRevision(key), "=", createRevision)}
}

// Holds holds while a key has this value; of a nil value, while it does not exist.
func Holds(key string, value []byte) Guard {
	if value == nil {
		return Absent(key)
	}
	return Guard{clientv3.Compare(clientv3.Value(key), "=", string(value))}
}

// Cmp is the condition as etcd's client has it.
func (g Guard) Cmp() clientv3.Cmp { return g.cmp }

// ErrGuard: a condition that came with a write does not hold. Nothing was written.
var ErrGuard = errors.New("guard does not hold")

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
