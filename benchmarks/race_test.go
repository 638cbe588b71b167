//go:build race

package benchmarks

// The race detector's shadows are memory too.
func init() { measurable = false }
