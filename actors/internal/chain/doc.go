// Package chain puts middleware around handlers, sends and puts. The first of a
// list is the outermost. It is pure: it knows no actors.
package chain
