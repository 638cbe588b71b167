//go:build race

package penstock_test

// raceEnabled makes tests that only count do less: every step costs tenfold.
const raceEnabled = true
