// Package bench holds the command bench: what pipes, topics and actors do on the etcd and
// the machine that a user has.
//
// It runs the scenarios of the benchmarks (benchmarks/scenario), which check every
// message: messages that were lost, doubled or out of order end the command with
// code 1.
package bench
