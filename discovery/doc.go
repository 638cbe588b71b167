// Package discovery reaches etcd and finds senders and groups: clients that know why they
// could not, reads of keys and prefixes, and watches that miss nothing.
//
//   - Dial and NewClient make clients. Classify says what an error of etcd means.
//   - Get, GetWith, List and LeaseLeft read; a Guard is a condition of a write.
//   - A Watch keeps a copy of a prefix up to date, through compactions, cut
//     connections, silent servers and wiped ones. Watches do that for any number of
//     prefixes at once. A Follow hears what happens under a prefix that is too large
//     for that.
//
// The packages below keep what this one reads:
//
//   - lease: one lease, and how sure we are of it.
//   - registry: keys under that lease, put back when they are lost.
//   - pipegroup: the settings of pipe groups, which outlive their members for a while.
//   - embedded: an etcd in this process, for tests and demonstrations.
//
// What works in the background has one blocking method, Run(ctx, emit), which works
// until ctx ends. No package here but embedded and that of the streams starts a
// goroutine; whoever calls Run gives it one. emit is called on that goroutine, one
// event at a time, and must return soon. The events of each are a closed set of types, for a type switch.
//
// # When etcd is away
//
// That is not an error. Run reports a Delayed event with the cause, waits a little
// longer each time, with jitter, and tries again until ctx ends. Run ends early only
// when trying again cannot help: etcd denies the rights, or the configuration is
// wrong. Calls that take a context return an error that wraps
// messages.ErrUnavailable.
//
// # Clients
//
// etcd's client repeats requests behind the caller's back when a server replies
// Canceled or DeadlineExceeded, and a write that was applied would be applied again;
// the clients made here never do. All writes of the packages below are guarded
// transactions that can be sent again safely, so an unknown outcome is resolved by
// sending them again.
package discovery
