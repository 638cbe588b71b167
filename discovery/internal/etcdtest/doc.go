// Package etcdtest is what the tests of the packages below discovery share: one
// etcd for each package, helpers to write and read keys, and a wire before an
// etcd that a test can cut. It knows nothing of discovery, so that its tests can
// use it too.
package etcdtest
