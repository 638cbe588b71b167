package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// One stream of watches that ends when it breaks.
//
// etcd's client resumes a broken watch by itself, without a word and for ever,
// from the revision it last saw. When that is long ago, the server reads
// everything written since, by anybody; and in an etcd that was wiped the
// revision lies in the future, so the watch would hear nothing. A tail's stream
// is therefore opened once, and its owner lists again. It also asks for a sign
// of life every few seconds and gives up when none comes.

// How long to wait for a connection, for a stream to take a request, and for a
// new stream to do so, which may have to log in first.
const (
	forConnection = time.Second
	forAsking     = 2 * time.Second
	forOpening    = 5 * time.Second
)

// silentFor is after how many unanswered requests a tail is dead.
const silentFor = 3

var errSilent = errors.New("the watch fell silent")

type tail struct {
	watcher clientv3.Watcher // of this tail alone, so that closing it ends every stream it made
	ctx     context.Context
	cancel  context.CancelFunc
	every   time.Duration
	asked   int // how often since it was heard
}

// openTail opens a stream that lives for at most life. It waits a little for a
// connection.
func openTail(ctx context.Context, client *clientv3.Client, every, life time.Duration) (*tail, error) {
	t := &tail{watcher: clientv3.NewWatcher(client), every: every}
	// A member that lost its leader must say so instead of keeping still.
	ctx = clientv3.WithRequireLeader(context.WithValue(ctx, ticketKey{}, new(ticket)))
	t.ctx, t.cancel = context.WithTimeout(ctx, life)
	if err := t.ask(forOpening); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tail) close() {
	t.cancel()
	// It answers only that its context was cancelled.
	_ = t.watcher.Close()
}

// watch follows a key from rev on, rev included, so that its caller drops what
// it knew already. It blocks until etcd confirms, or the tail ends.
//
// It starts at rev rather than after it because etcd reports no progress to a
// watch that waits for a revision not yet written: on a quiet etcd, silence
// would mean nothing.
func (t *tail) watch(ctx context.Context, key string, rev int64, opts ...clientv3.OpOption) clientv3.WatchChan {
	return t.watcher.Watch(ctx, key, append(opts, clientv3.WithRev(rev), clientv3.WithProgressNotify())...)
}

// took notes a response, and answers the error it carries. open is false when
// the channel is closed.
func (t *tail) took(resp clientv3.WatchResponse, open bool) error {
	if !open {
		return errEnded
	}
	t.asked = 0
	return resp.Err()
}

// errEnded: the channel closed without a word, as it does when the tail's time
// is over.
var errEnded = errors.New("the watch ended")

// expired tells that the tail lived its time.
func (t *tail) expired() bool { return errors.Is(t.ctx.Err(), context.DeadlineExceeded) }

// beat is to be called each t.every. It answers an error when the stream is
// dead. It counts requests and not time, because a process that stood still has
// heard nothing either.
func (t *tail) beat() error {
	if t.asked == silentFor {
		return fmt.Errorf("%w for %v", errSilent, silentFor*t.every)
	}
	t.asked++
	return t.ask(forAsking)
}

func (t *tail) ask(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	err := t.watcher.RequestProgress(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !t.expired() {
		return fmt.Errorf("no connection for the watch: %w", err)
	}
	return err
}

// ticket admits one stream. It travels in the context that etcd's client opens
// streams with.
type ticket struct{ used atomic.Bool }

type ticketKey struct{}

// openOnce refuses to open a second stream with one ticket, and to wait for a
// connection for long with any. etcd's client takes the code for final.
func (x explainer) openOnce(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok {
		if t.used.Swap(true) {
			return nil, status.Error(codes.Aborted, "the connection of the watch broke")
		}
		if !connected(ctx, cc) {
			why := "no connection for the watch"
			if e := troubleOf(cc, x.endpoints); e != nil {
				why += ": " + e.Error()
			}
			return nil, status.Error(codes.Aborted, why)
		}
		// Should the connection break now, gRPC tries once more by itself, and
		// would wait for an etcd that is away.
		opts = append(opts[:len(opts):len(opts)], grpc.WaitForReady(false))
	}
	return open(ctx, desc, cc, method, opts...)
}

// connected waits a little for a connection.
func connected(ctx context.Context, cc *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, forConnection)
	defer cancel()
	for {
		state := cc.GetState()
		if state == connectivity.Ready {
			return true
		}
		cc.Connect()
		if !cc.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
