// Package load is what benchmarks send, and what they count: bodies and records that
// show whether they came whole and in order, and processor time.
//
// Records are checked by a Tally: the first that is lost, repeated, damaged or
// out of its partition's order ends a run with an error.
package load
