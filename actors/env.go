package actors

// What topics and their groups share beyond Node.

import (
	"sync/atomic"

	"github.com/penstock-io/penstock/transport/commitlog"
)

// Env is the world of topics: the node, and the log in etcd.
type Env struct {
	*Node
	Log   *commitlog.Log
	Fresh atomic.Int64 // bytes of batches kept for local readers
}
