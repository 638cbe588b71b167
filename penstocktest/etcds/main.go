// Command etcds is an etcd server, with the flags of etcd, built of one of the
// versions that Penstock is tested with:
//
//	go build -modfile=3.5.mod -o etcd-3.5 .
//	go build -modfile=3.6.mod -o etcd-3.6 .
//	go build -o etcd-3.7 .
//
// The module is nested so that old servers stay out of the go.mod of Penstock.
// `make test-etcds` builds all three and runs tests against each.
package main

import (
	"io"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	// The test that began it holds the other end of this pipe: when the test is
	// gone, however it ended, so is the server.
	if os.Getenv("PENSTOCKTEST_ETCD") != "" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	etcdmain.Main(os.Args)
}
