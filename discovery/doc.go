// Package discovery says who is where. It keeps one lease, keeps keys under
// it, and follows prefixes, all in etcd.
//
//   - A Session keeps one lease alive and tells how sure it is of it.
//   - A Registry keeps keys: it writes them once, and puts them back when
//     somebody deletes them, when the lease is a new one, or when etcd was
//     wiped.
//   - Groups keeps the settings of pipe groups, each under a lease of its own, so
//     that etcd removes a group after its time without members.
//   - A Watch keeps a copy of a prefix up to date, through compactions, cut
//     connections, silent servers and wiped ones.
//
// Each has one blocking method, Run(ctx, emit), which works until ctx ends.
// The package starts no goroutine; whoever calls Run gives it one. emit is
// called on that goroutine, one event at a time, and must return soon: a
// lease is not renewed while emit blocks. The events of each are a closed set
// of types, for a type switch.
//
// # When etcd is away
//
// That is not an error. Run reports a Delayed event with the cause, waits a
// little longer each time, with jitter, and goes on until ctx ends. Run ends
// early only when trying again cannot help: etcd denies the rights, or the
// configuration is wrong. Calls that take a context, such as Registry.Put,
// answer with an error that wraps messages.ErrUnavailable.
//
// # Clients
//
// Dial makes the clients. etcd's client repeats requests behind the caller's
// back when a server answers Canceled or DeadlineExceeded, and a write that
// was applied would be applied again; the clients made here never do. All
// writes of this package are guarded transactions that can be sent again
// safely, so an unknown outcome is resolved by sending them again.
//
// # Time
//
// The lease is measured on this host: a renewal counts from before the request
// was sent, and the Session doubts the lease a margin before etcd can have
// dropped it. It is lost only when etcd says so.
package discovery
