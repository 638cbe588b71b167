package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// One stream of watches that can be told to be dead.
//
// etcd's client resumes a broken watch by itself, without a word and for ever,
// from the revision it last saw. When that is long ago, the server reads
// everything written since, by anybody. So a tail asks for a sign of life every
// few seconds, which also moves that revision on, and gives up when none comes:
// listing again is cheaper than an old watch.

// asked is how long a request for a sign of life may wait for the stream. It is
// taken at once unless the stream is broken.
const asked = time.Second

// silentFor is after how many unanswered requests a tail is dead.
const silentFor = 3

var errSilent = errors.New("the watch fell silent")

type tail struct {
	watcher clientv3.Watcher // of this tail alone, so that closing it ends every stream it made
	ctx     context.Context
	cancel  context.CancelFunc
	every   time.Duration
	heard   time.Time
}

// openTail opens a stream that lives for at most life. It waits a little for a
// connection.
func openTail(ctx context.Context, client *clientv3.Client, every, life time.Duration) (*tail, error) {
	t := &tail{watcher: clientv3.NewWatcher(client), every: every, heard: time.Now()}
	// A member that lost its leader must say so instead of keeping still.
	t.ctx, t.cancel = context.WithTimeout(clientv3.WithRequireLeader(ctx), life)
	if err := t.ask(); err != nil {
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
	t.heard = time.Now()
	return resp.Err()
}

// errEnded: the channel closed without a word, as it does when the tail's time
// is over.
var errEnded = errors.New("the watch ended")

// expired tells that the tail lived its time.
func (t *tail) expired() bool { return errors.Is(t.ctx.Err(), context.DeadlineExceeded) }

// beat is to be called each t.every. It answers an error when the stream is
// dead.
func (t *tail) beat() error {
	if quiet := time.Since(t.heard); quiet > silentFor*t.every {
		return fmt.Errorf("%w for %v", errSilent, quiet.Round(time.Millisecond))
	}
	return t.ask()
}

func (t *tail) ask() error {
	ctx, cancel := context.WithTimeout(t.ctx, asked)
	defer cancel()
	err := t.watcher.RequestProgress(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no connection for the watch: %w", err)
	}
	return err
}
