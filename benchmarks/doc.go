// Package benchmarks holds what measures Penstock. It has no API.
//
//   - quick compares pipes with plain mangos sockets in under a minute, as
//     ratios, which a noisy machine moves less than speeds
//   - pipe is the end-to-end suite: sizes, groups, members, modes, windows, at
//     full speed or at a given rate with latencies from the intended time
//   - peers, a module of its own, compares with NATS
//   - the tests here hold what idle things may cost, in memory and processor
//     time, and that a stuck group stays within its bounds
//   - the benchmarks here measure Send
//
// Speeds on standard output are for programs, the tables on standard error for
// people. All of them check that every message came, once, in order and whole.
package benchmarks
