// Package beside compares pipes, topics and actors with what somebody would use instead,
// over loopback. Sender, receiver and broker are processes of their own on either side.
//
// A contest is one workload that several systems do by turns. Its rows are the comparisons:
// a figure of ours beside that of a peer. Systems that need other modules are built from
// the nested module benchmarks/peers. Where that cannot be built, offline for instance,
// and where a program or library is missing, the comparison is skipped and says why.
package beside
