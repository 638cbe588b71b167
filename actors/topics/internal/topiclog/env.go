package topiclog

// What topics and their groups share beyond Node.

import (
	"sync/atomic"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Env is the world of topics: the node, and the log in etcd.
type Env struct {
	*node.Node
	Log   *commitlog.Log
	Fresh atomic.Int64 // bytes of batches kept for local readers
}
