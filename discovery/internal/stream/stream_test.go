package stream

// A stream that is asked and hears nothing.

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
)

// askedWatcher never replies.
type askedWatcher struct{ clientv3.Watcher }

func (askedWatcher) RequestProgress(context.Context) error { return nil }

// Time that passes while nobody asks, as in a process that stands still, is no
// silence.
func TestStreamOutlivesAStandstill(t *testing.T) {
	quiet := &Stream{watcher: askedWatcher{}, life: t.Context(), every: time.Nanosecond}
	for range 2 * silentFor {
		etcdtest.Must(t, quiet.Beat())
		etcdtest.Must(t, quiet.Received(clientv3.WatchResponse{}, true))
	}
	for range silentFor {
		etcdtest.Must(t, quiet.Beat())
	}
	if err := quiet.Beat(); !errors.Is(err, ErrSilent) {
		t.Errorf("%d requests without an answer: %v", silentFor, err)
	}
}
