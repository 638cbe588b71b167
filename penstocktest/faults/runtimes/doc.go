// Package runtimes has the fault tests of runtimes.
package runtimes
