// Package age says roughly how old something is that is known by a number that only
// grows. Nothing is timed for each: how far the numbers are is noted at a steady pace.
//
// The package is pure.
package age
