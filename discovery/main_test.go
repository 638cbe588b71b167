package discovery

// One etcd for the package's tests.

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

var shared *embedded.Server

func TestMain(m *testing.M) { etcdtest.Main(m, &shared) }

// connect makes a client of a server, closed when the test ends.
func connect(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	c, err := NewClient(cfg)
	etcdtest.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
