package topiclog

// What topics and their groups share beyond Node.

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/actors/topics/internal/quota"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Env is the world of topics: the node, and the log in etcd.
type Env struct {
	*node.Node
	Log *commitlog.Log
	// WantKeeper has this runtime be the keeper, if nobody is. It does not block; nil wants
	// none.
	WantKeeper func()
	Fresh      atomic.Int64 // bytes of batches kept for local readers
	Gate       *quota.Gate  // before each append; nil lets everything pass
}

// governed is an append behind the gate. What may have been sent has passed it.
func (e *Env) governed(appendTo produce.CommitFunc) produce.CommitFunc {
	if e.Gate == nil {
		return appendTo
	}
	return func(ctx context.Context, s *format.Sealed, more bool) (int64, error) {
		if s.Way.State == format.Fresh {
			if err := e.Gate.Pass(ctx, s.Bytes()); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		base, err := appendTo(ctx, s, more)
		if err == nil {
			e.Gate.Took(time.Since(began))
		}
		return base, err
	}
}
