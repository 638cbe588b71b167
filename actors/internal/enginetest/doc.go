// Package enginetest has what tests of whole engines share: an etcd for a
// package's tests, engines with a prefix of their own in it, actors of them that
// fail when they are told to, and waiting that ends.
//
// A package that uses it has a main_test.go with
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// Its tests are external ones, because this package imports package actors. Every
// helper fails its test by itself. No wait is longer than Patience.
package enginetest
