// Package serve holds the command serve: an etcd of one member in this process, for
// trying things out and for small installations.
//
// It prints its address when it is ready, and promises that what it has answered is
// on the disk. An etcd that dies of itself ends the command with an error.
package serve
