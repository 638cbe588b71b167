package stream

// The stream, and the ticket that admits it.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long to wait for a stream to take a request, and for a new stream to do so,
// which may have to log in first.
const (
	forAsking  = 2 * time.Second
	forOpening = 5 * time.Second
)

// silentFor is after how many unanswered requests a stream is dead.
const silentFor = 3

// ErrSilent: no sign of life came for several times the interval.
var ErrSilent = errors.New("the watch fell silent")

// Stream is one stream of watches. Make it with Open. Its methods are for one
// goroutine.
type Stream struct {
	watcher clientv3.Watcher // of this stream alone, so that closing it ends every stream it made
	life    context.Context
	cancel  context.CancelFunc
	every   time.Duration
	asked   int // how often since it was heard
}

// Open opens a stream that lives for at most life. It waits a little for a
// connection. A sign of life is due each every. client must be of
// discovery.NewClient.
func Open(ctx context.Context, client *clientv3.Client, every, life time.Duration) (*Stream, error) {
	t := &Stream{watcher: clientv3.NewWatcher(client), every: every}
	// A member that lost its leader must say so instead of keeping still.
	ctx = clientv3.WithRequireLeader(context.WithValue(ctx, ticketKey{}, new(ticket)))
	t.life, t.cancel = context.WithTimeout(ctx, life)
	if err := t.ask(forOpening); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close ends every watch of the stream.
func (t *Stream) Close() {
	t.cancel()
	// It returns only that its context was cancelled.
	_ = t.watcher.Close()
}

// Watch follows a key from rev on, rev included, so that its caller drops what
// it knew already. It blocks until etcd confirms, or ctx ends, which is the stream's or
// one below it; after limit it gives up, and the error is ErrSilent.
//
// It starts at rev rather than after it because etcd reports no progress to a
// watch that waits for a revision not yet written: on a quiet etcd, silence
// would mean nothing.
func (t *Stream) Watch(ctx context.Context, limit time.Duration, key string, rev int64, opts ...clientv3.OpOption) (clientv3.WatchChan, error) {
	ctx, end := context.WithCancel(ctx)
	late := time.AfterFunc(limit, end)
	changes := t.watcher.Watch(ctx, key, append(opts, clientv3.WithRev(rev), clientv3.WithProgressNotify())...)
	if !late.Stop() && t.life.Err() == nil {
		return nil, fmt.Errorf("%w: it was not opened within %v", ErrSilent, limit)
	}
	return changes, nil
}

// WatchFromNow follows a key from now on, until the stream ends. It blocks until etcd
// confirms, and returns that, too; or for limit, and then returns an error.
func (t *Stream) WatchFromNow(limit time.Duration, key string, opts ...clientv3.OpOption) (changes clientv3.WatchChan, opened clientv3.WatchResponse, err error) {
	changes, err = t.Watch(t.life, limit, key, 0, append(opts, clientv3.WithCreatedNotify())...)
	if err == nil {
		var open bool
		opened, open = <-changes // it is there
		err = t.Received(opened, open)
	}
	return changes, opened, err
}

// Received notes a response, and returns the error it carries. open is false when
// the channel is closed.
func (t *Stream) Received(resp clientv3.WatchResponse, open bool) error {
	if !open {
		return ErrEnded
	}
	t.asked = 0
	return resp.Err()
}

// ErrEnded: the channel closed without a word, as it does when the time of the
// stream is over.
var ErrEnded = errors.New("the watch ended")

// Expired reports whether the stream lived its time.
func (t *Stream) Expired() bool { return errors.Is(t.life.Err(), context.DeadlineExceeded) }

// Beat is to be called each Every. It returns an error when the stream is dead. It counts
// requests and not time, because a process that stood still has heard nothing
// either.
func (t *Stream) Beat() error {
	if t.asked == silentFor {
		return fmt.Errorf("%w for %v", ErrSilent, silentFor*t.every)
	}
	t.asked++
	return t.ask(forAsking)
}

func (t *Stream) ask(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.life, limit)
	defer cancel()
	err := t.watcher.RequestProgress(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !t.Expired() {
		return fmt.Errorf("no connection for the watch: %w", err)
	}
	return err
}

// ticket admits one stream. It travels in the context with which etcd's client
// opens streams.
type ticket struct{ used atomic.Bool }

type ticketKey struct{}

// Admitted reports whether a context is that of a Stream (once), and if so whether
// it may open its connection's stream now: it may once.
func Admitted(ctx context.Context) (once, admitted bool) {
	t, ok := ctx.Value(ticketKey{}).(*ticket)
	return ok, ok && !t.used.Swap(true)
}

// Context ends with the stream.
func (t *Stream) Context() context.Context { return t.life }

// Every is how often Beat is to be called.
func (t *Stream) Every() time.Duration { return t.every }

// NotListened excuses what was not heard until now: nobody listened.
func (t *Stream) NotListened() { t.asked = 0 }

// Health says whether a round of watching got as far as hearing from its watch.
type Health uint8

// What a round can say.
const (
	Ailing Health = iota
	Healthy
)
