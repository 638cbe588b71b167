// Package load is what the comparisons need that is not of Penstock: bodies
// that show whether they came whole and in order, processor time, and logs,
// which are put into and consumed from in turns, in this process or in another
// that links what Penstock's module must not.
//
// Records are checked by a Tally: the first that is lost, repeated, damaged or
// out of its partition's order ends a run with an error.
package load
