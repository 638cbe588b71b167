// Package penstocktest helps to test services that use Penstock: an etcd in the
// process, a runtime that cleans up after itself, and the faults that a service
// meets sooner or later, on command.
//
//   - Etcd starts an etcd that can be stopped, restarted, wiped, compacted and set
//     back to a backup, on one port. PENSTOCKTEST_ETCD in the environment names an
//     etcd program to run in place of the embedded one.
//   - Runtime starts a runtime in a namespace of its own.
//   - ExpireLease ends a runtime's session in etcd, as a long pause would.
//   - Freeze stops a process with SIGSTOP, as a debugger, a swapping machine or
//     a live migration would.
//   - Proxy stands before a sender or an etcd and cuts or hangs the link.
//   - LateProxy brings old requests to an etcd after newer ones.
//   - DropReplies loses replies of etcd to what it has carried out.
//   - JoinProbe and SubscribeProbe take the place of a service that receives, ProbeActor
//     and RecordProbeActor that of a receiver among actors: what comes is expected, and
//     settled on command.
//   - Watch sends to a service that receives, and says what became of each message.
//   - Record and WaitEvent wait for events of a runtime, in place of sleeping.
//
// Everything ends with the test that began it: by t.Cleanup, in the reverse
// order of its making. What cannot be done fails the test at once, so a helper
// that is given a testing.TB must be called from the goroutine that runs the
// test, as t.FailNow must. The methods of Server and Proxy may be called from
// one goroutine at a time; of LateProxy and Recording from any.
//
// Nothing here is for production: the etcd does not wait for the disk.
package penstocktest
