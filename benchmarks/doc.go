// Package benchmarks holds what measures Penstock. It has no API.
//
//   - quick compares pipes, topics and actors with what somebody would use instead,
//     in a minute and a half, as ratios, which a noisy machine moves less than
//     speeds, and stores its runs
//   - scenario has what runs end to end, pipes and topics: sizes, groups,
//     members, modes, partitions, at full speed or at a given rate with latencies
//     from the intended time. The command "penstock bench" runs it, too
//   - penstock-bench, a module of its own, runs the suite of scenarios, stores
//     what they measured, and draws charts of it
//   - peers, a module of its own, has what of that needs other modules: NATS,
//     gRPC, libzmq, Redis, proto.actor
//   - the tests here hold what idle things may cost, in memory and processor
//     time, that what is stuck stays within its bounds, and how long much of
//     something takes
//   - the benchmarks here measure Send, what an order costs, and what a message costs among a
//     user's actors
//
// Speeds on standard output are for programs, the tables on standard error for
// people. All of them check that every message came, once, in order and whole.
package benchmarks
