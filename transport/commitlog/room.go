package commitlog

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// How much is on its way to etcd at once. gRPC has a copy of each request until
// etcd has read it: without a bound, one of everything that all partitions append.

const (
	// sendRoom holds four full batches: with fewer, etcd waits for us.
	sendRoom = 9 << 18
	// smallBody is the size below which a body takes no room, and does not
	// wait.
	smallBody = 4 << 10
)

// room is for so many bytes of bodies, whoever comes first.
type room struct{ bytes *semaphore.Weighted }

func newRoom() room { return room{semaphore.NewWeighted(sendRoom)} }

// enter waits until there is room for a body, or ctx ends, whose error it answers.
// leave gives the room back.
func (r room) enter(ctx context.Context, bytes int) (leave func(), err error) {
	if bytes < smallBody {
		return func() {}, nil
	}
	n := int64(min(bytes, sendRoom))
	if err := r.bytes.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { r.bytes.Release(n) }, nil
}
