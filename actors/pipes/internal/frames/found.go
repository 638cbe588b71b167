//go:build !race

package frames

// found tells that memory which the collector finds is used again.
var found = true
