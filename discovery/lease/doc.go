// Package lease keeps one lease in etcd alive and knows how sure it is of it.
//
//   - A Session gets a lease, renews it each third of its TTL, and gets another
//     one when etcd says that it has ended.
//   - Leases renews leases over one stream of etcd's client.
//
// Both have a blocking method Run. The package starts no goroutine; whoever calls
// Run gives it one. Session.Run emits events on that goroutine, one at a time, and
// emit must return soon: the lease is not renewed while emit blocks. The events
// are a closed set of types, for a type switch.
//
// # Time
//
// The lease is measured on this host: a renewal counts from before the request was
// sent, and the Session doubts the lease a margin before etcd can have dropped it.
// It is lost only when etcd says so: an etcd that is away makes a lease doubtful
// and never lost.
package lease
