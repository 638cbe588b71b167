// Package server starts the etcd of a test: the one that Penstock embeds, or a
// program that PENSTOCKTEST_ETCD names, for tests against other versions of etcd.
//
// Either way it listens on the loopback alone, does not wait for the disk, and
// has the defaults of the embedded one or of the program for all the rest.
package server
