// Package registry keeps keys in etcd: it writes them once, and puts them back when
// somebody deletes them, when the lease is a new one, or when etcd was wiped. Make a
// Registry with New.
//
// Run blocks until its context ends and emits events on its goroutine, one at a
// time; the package starts none. The events are a closed set of types, for a type
// switch. While etcd is away Run emits Delayed and tries again, with growing pauses.
// Calls such as Put return an error that wraps messages.ErrUnavailable then.
//
// # How keys are kept
//
//	Put, Remove ──▶ converge ◀── look ◀── audit, new lease, broken watch: all keys
//	                                ◀──── a watch heard of it: these keys
//
// Every write is a transaction under the condition that its keys stand as they were
// seen, so it can be sent again safely, and an unknown outcome is resolved by
// sending it again. What the watches cover is in coverage.go: each collection with a
// kept key in it has one, and who may not read a collection as a whole has one for
// each key.
package registry
