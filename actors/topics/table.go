package topics

// The newest record of a key, and of each; and the newest id of a producer.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/actors/topics/internal/window"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/messages"
)

// LatestIdle is after how long without a call of Latest its table is given up.
const LatestIdle = 10 * time.Minute

// Table is penstock.Topic.Table.
func (t *Topic) Table(ctx context.Context, cfg tables.Config) (*tables.Table, error) {
	return t.topics.tables.Open(ctx, t.path, t.ended(), cfg)
}

// fullRest is how long Latest answers that its table is too large before it tries again.
const fullRest = time.Minute

// latest is the table of a handle that Latest reads. Use newLatest.
type latest struct {
	turn chan struct{} // of who begins a table; holds one

	mu     sync.Mutex
	table  *tables.Table // nil before the first call
	began  time.Time     // when it did
	closed bool
}

func newLatest() latest { return latest{turn: make(chan struct{}, 1)} }

// now is the table there is, or nil.
func (l *latest) now() *tables.Table {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.table == nil || l.table.Err() == nil {
		return l.table
	}
	if errors.Is(l.table.Err(), messages.ErrTableFull) && time.Since(l.began) < fullRest {
		return l.table
	}
	return nil
}

// set takes a table in, unless the handle was closed meanwhile.
func (l *latest) set(t *tables.Table) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		t.Close()
		return messages.ErrClosed
	}
	l.table, l.began = t, time.Now()
	return nil
}

// close gives the table up: none is begun after that.
func (l *latest) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.table != nil {
		l.table.Close()
	}
}

// Latest is penstock.Topic.Latest.
func (t *Topic) Latest(ctx context.Context, key []byte) (messages.Record, error) {
	r, err := t.newest(ctx, key)
	if err != nil {
		return messages.Record{}, fmt.Errorf("latest of %q: %w", t.Name(), err)
	}
	return r, nil
}

func (t *Topic) newest(ctx context.Context, key []byte) (none messages.Record, err error) {
	if err := node.ContextGiven(ctx); err != nil {
		return none, err
	}
	if len(key) == 0 {
		return none, fmt.Errorf("the key is empty: %w", messages.ErrInvalid)
	}
	for {
		table, err := t.latestTable(ctx)
		if err != nil {
			return none, err
		}
		if err = table.Loaded(ctx); err == nil {
			err = table.Fresh(ctx)
		}
		switch {
		case err != nil && table.Unused():
			continue // it was given up a moment ago
		case err != nil:
			return none, err
		}
		if r, ok := table.Get(key); ok {
			return r, nil
		}
		return none, fmt.Errorf("%w: %.64q", messages.ErrNoRecord, key)
	}
}

// latestTable is the table of the handle, begun when there is none that lives.
func (t *Topic) latestTable(ctx context.Context) (*tables.Table, error) {
	if err := t.ended(); err != nil {
		return nil, err
	}
	if table := t.latest.now(); table != nil {
		return table, nil
	}
	select {
	case t.latest.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-t.latest.turn }()
	if table := t.latest.now(); table != nil {
		return table, nil
	}
	table, err := t.topics.tables.Begin(ctx, t.path, t.ended(), tables.Config{Idle: LatestIdle})
	if err != nil {
		return nil, err
	}
	return table, t.latest.set(table)
}

// The newest id of a producer.

// LastID is penstock.Topic.LastID.
func (t *Topic) LastID(ctx context.Context, producer string) (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("last id of %q in %q: %w", producer, t.path.Name, err)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	if err := t.ended(); err != nil {
		return fail(err)
	}
	info := t.path.Info()
	switch {
	case info.Config.DedupeWindow <= 0:
		return fail(fmt.Errorf("the topic has no window of ids, see TopicConfig.DedupeWindow: %w", messages.ErrInvalid))
	case producer == "":
		return fail(fmt.Errorf("the producer has no name: %w", messages.ErrInvalid))
	}
	var last string
	var newest int64
	for p := range info.Config.Partitions {
		look := window.NewLast(producer, info.Config, time.Now())
		err := topiclog.Retry(ctx, func(err error) {
			t.path.Env.Events.Emit(messages.ReadDelayed{Topic: t.path.Name, Partition: p, Err: err})
		}, func() error { return t.path.Env.Log.Partition(info, p).Back(ctx, look) })
		if err != nil {
			return fail(err)
		}
		id, nano, err := look.Found()
		if err != nil {
			return fail(err)
		}
		if id != "" && (last == "" || nano > newest) {
			last, newest = id, nano
		}
	}
	return last, nil
}
