// Package supervisor is a thin layer above proto.actor (protoactor-go) that
// keeps what proto.actor does well, mailboxes, PIDs and lifecycle, and replaces
// what hurts: supervision, stopping, futures and bounded mailboxes. It imports
// nothing of Penstock's, so any program that uses proto.actor can use it.
//
// # A guarded actor
//
// Props wraps a producer. The actor it describes is ordinary: it has a PID, a
// mailbox and a Receive. What changes is what happens around Receive.
//
//   - The producer runs when the actor starts, not when it is spawned, so a
//     spawn that fails because of the name has produced nothing.
//   - A panic in a handler is a failure with a stack, a *PanicError. Fail is a
//     failure without one. runtime.Goexit is a failure too, not a wedge.
//   - A panic in Stopping, Stopped or Restarting is logged and published as a
//     *LifecyclePanic, and the actor stops or restarts all the same.
//   - Between Stopping and Stopped, and between Restarting and the next
//     Started, an actor is handed nothing and can spawn nothing. What is queued
//     when an actor stops goes to dead letters, so an Ask is answered at once.
//   - Children are stopped one after the other, last spawned first, each within
//     a deadline. One that overruns is published as *Overdue and left behind.
//
// # Supervision
//
// A Policy is data: rules from errors to directives, a budget of restarts in a
// window, an exponential backoff. The parent's policy judges each failure of a
// child; the failed child's hosted work and children end at once, and its next
// incarnation starts when the delay has passed, with the same PID and the same
// mailbox. Nothing sleeps inside an actor. An exhausted budget escalates: the
// parent fails with a *BudgetError that unwraps to the cause, and its own
// children are stopped with it. Before a policy stops a child for good, the
// parent is sent *Failed.
//
// With RestForOne a failed child takes the children spawned after it along,
// with AllForOne all of them: they are halted last first, and start again in
// the order of their spawning, each after the one before it has handled Started.
//
// A top-level actor is judged by its own WithGuardian policy. Escalation ends
// there: the actor stops and an *Escalated says so.
//
// # Goroutines
//
// A Host owns the goroutines, blocking calls and timers of one incarnation. It
// cancels and awaits them when that incarnation ends, and drops what they still
// had to say.
//
// # From outside
//
// Ask, Stop and Await obey a context, and Ask is told at once when the actor stops
// or fails over the question. Inbox is a bounded queue whose senders wait and
// obey a context too, and whose content outlives a crash of its reader.
//
// # A look
//
// Tree lists the guarded actors of a system: their states, restarts and queues, what
// each one that is an Inspector reports of itself, and how long messages wait and
// take. A look measures: it puts one message of its own behind each queue, and takes
// the time of the next 64 messages that each actor handles. While nobody looks nothing
// is measured, and it costs nothing. An actor that is stuck holds up one look by a
// second, and is shown as silent by the next ones at once.
//
// A message that an actor does not know shall be a dead letter: Unhandled, in the
// default of Receive, makes it one.
//
// # Events
//
// *Restarted, *Stopped, *Escalated, *Overdue and *LifecyclePanic are published
// on the EventStream of the actor system. Its subscribers run in the publisher,
// here an actor in the middle of its supervision, so a subscriber must only
// hand the event on and never block.
//
// # Not covered
//
// Context.Stash, Context.ReenterAfter, Context.SetReceiveTimeout and futures
// keep proto.actor's own behaviour, faults included: a stash is not replayed at
// a restart, and a ReenterAfter begun before a restart runs after it. Use a
// Host, an Inbox and Ask in their place.
package supervisor
