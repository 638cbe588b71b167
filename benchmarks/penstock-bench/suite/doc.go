// Package suite runs what the benchmarks consist of: series of scenarios that vary
// one factor at a time around a point (tcp, 1 KiB, at least once, one sender, one
// member), and comparisons with peers.
//
// A suite runs in rounds. Each round performs every scenario once, so that the
// runs of a scenario are spread over the suite's time and see what else the
// machine does.
package suite
