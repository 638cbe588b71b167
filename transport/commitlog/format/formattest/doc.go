// Package formattest has made-up batches for tests of what reads them: a Log is a
// topic's records without an etcd. It is pure, as package format is.
package formattest
