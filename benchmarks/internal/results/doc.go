// Package results is the format in which benchmarks keep what they measured, so
// that reports can be written later, elsewhere and again.
//
// A File is one use of a suite on one machine. It has the figures of each run
// and not only their medians, and the latencies as HDR histograms and not only
// as percentiles: a report chooses which of them it shows, and a comparison of two
// files can tell a difference from noise.
//
// Files are JSON. Decode takes every file of this Schema, also one with fields
// that it does not know, and refuses other schemas. The package measures nothing
// and draws nothing.
package results
