// Package bench is what the comparisons share: links to send messages through
// and logs to put records into, and the ways to time them.
//
// A Link joins one sender to one receiver in this process. Rate drives as many
// messages through it as it takes and answers messages a second, counted from
// the first arrival to the last acknowledgement where the link has such a
// thing, else to the last arrival. Lone sends one message at a time over an
// idle link and answers how long each took, from before the call that sends to
// the receiver's having it.
//
// Topics is a load.Log of ours. PutRates and ConsumeRates compare it with
// another; LonePuts and EndToEnd compare its single records with plain puts
// into the same etcd.
//
// All check every message: its place in the run, its length and its content.
// The first fault ends a run with an error, and so does its context, which is
// how a lost message shows.
//
// One run goes over a link or a log at a time; they live across runs, so that
// alternating runs compare warm ones.
package bench
