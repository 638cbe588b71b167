//go:build race

package harness

// RaceEnabled reports whether the race detector watches: every step costs
// tenfold then, and tests that only count do less.
const RaceEnabled = true
