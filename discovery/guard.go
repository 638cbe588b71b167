package discovery

// Conditions on other keys that a write carries.

import clientv3 "go.etcd.io/etcd/client/v3"

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
