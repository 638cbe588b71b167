// Package pipes has the fault tests of pipes.
package pipes
