package penstock_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// etcd is the configuration of a client of the tests' etcd.
func etcd() clientv3.Config { return harness.Etcd.Config() }
