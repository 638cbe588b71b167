// Package order has what both ends of a link decide where a group keeps an order
// (messages.Failover, messages.KeyAffinity).
//
// It promises, together with the queues of both ends:
//
//   - A member hands out nothing that its sender may have given to another member. It
//     numbers pings, the sender repeats the number, and a [Lease] begins when the ping was
//     sent that the sender repeated last: bytes that lay in a buffer for long renew nothing.
//     The lease ends after [HandsOutFor], and the sender gives what was out to others no
//     sooner than [GivenUpAfter] after it heard that ping.
//   - In a group that is messages.Failover a member gives a message back with all that is
//     behind it, and both ends agree what that is, see [Breaks].
//
// The package is pure: it knows no connection, no actor and no time but what it is told.
package order
