package tables

// What a caller holds of a table. The handle outlives the actors behind it.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Table is the newest record of each key of a topic. It is safe for concurrent use.
type Table struct {
	env    *topiclog.Env
	path   *topiclog.Topic
	cfg    Config
	pid    atomic.Pointer[actor.PID]
	used   atomic.Int64 // when it was last, in nanoseconds since 1970 UTC
	loaded chan struct{}
	done   chan struct{}

	mu sync.RWMutex
	// view is what was read; nil before all was. Only the actor changes it, with mu held.
	view    *keyed.View
	trust   trust
	err     error // why it ended
	waiters map[*waiter]struct{}
	// watchers hear of each change, in order.
	watchers map[*watcher]struct{}
	counts   counts
}

// trust says how far what a table has can be relied on.
type trust uint8

const (
	following  trust = iota
	reloading        // right, and soon replaced
	overthrown       // the log is another one
)

// counts are of all the views that a table has had.
type counts struct{ records, keyless, loads uint64 }

// waiter waits until the table has read up to ends, in each partition that has one.
type waiter struct {
	ends       []int64
	partitions int // that it must know
	// not is a view that is of another log, or nil.
	not   *keyed.View
	ready chan struct{}
}

// errIdle ends a table that nobody has used for a while.
var errIdle = fmt.Errorf("nobody has used it: %w", messages.ErrClosed)

func newTable(s *Tables, path *topiclog.Topic, cfg Config) *Table {
	t := &Table{
		env: s.env, path: path, cfg: cfg, loaded: make(chan struct{}), done: make(chan struct{}),
		waiters: make(map[*waiter]struct{}), watchers: make(map[*watcher]struct{}),
	}
	t.use()
	return t
}

func (t *Table) use() { t.used.Store(time.Now().UnixNano()) }

// Topic is the name of the topic.
func (t *Table) Topic() string { return t.path.Name }

// PID returns the table's actor.
func (t *Table) PID() *actor.PID { return t.pid.Load() }

// Loaded waits until the topic has been read for the first time.
func (t *Table) Loaded(ctx context.Context) error {
	select {
	case <-t.loaded:
		return nil
	case <-t.done:
		return t.fault(t.Err())
	case <-ctx.Done():
		return t.fault(fmt.Errorf("it has not been read yet: %w", context.Cause(ctx)))
	}
}

func (t *Table) fault(err error) error {
	var full *messages.TableFullError
	if errors.As(err, &full) { // it names the table
		return err
	}
	return fmt.Errorf("table of %q: %w", t.path.Name, err)
}

// Get is penstock.Table.Get.
func (t *Table) Get(key []byte) (messages.Record, bool) {
	t.mu.RLock()
	e := t.view.Get(key)
	t.mu.RUnlock()
	if e == nil {
		return messages.Record{}, false
	}
	r := e.Record(t.path.Name, t.path.TTL())
	if r.Expired() {
		return messages.Record{}, false
	}
	return r, true
}

// Len is penstock.Table.Len.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.view.Len()
}

// All is penstock.Table.All.
func (t *Table) All() iter.Seq2[string, messages.Record] {
	return func(yield func(string, messages.Record) bool) {
		ttl := t.path.TTL()
		for _, e := range t.snapshot() {
			r := e.Record(t.path.Name, ttl)
			if !r.Expired() && !yield(e.Key(), r) {
				return
			}
		}
	}
}

func (t *Table) snapshot() []*keyed.Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*keyed.Entry, 0, t.view.Len())
	for e := range t.view.All() {
		all = append(all, e)
	}
	return all
}

// Fresh is penstock.Table.Fresh.
func (t *Table) Fresh(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return t.fault(err)
	}
	t.use()
	if err := t.Err(); err != nil {
		return t.fault(err)
	}
	for again := true; again; {
		w, err := t.look(ctx)
		if err == nil {
			again = w.ends == nil
			err = t.wait(ctx, w)
		}
		if err != nil {
			return t.fault(err)
		}
	}
	return nil
}

// look asks etcd how far the log is, and returns what to wait for: ends, or else another view
// or more partitions, with which to look again.
func (t *Table) look(ctx context.Context) (*waiter, error) {
	t.mu.RLock()
	view, read := t.view, reached(t.view)
	t.mu.RUnlock()
	w := &waiter{ready: make(chan struct{})}
	if err := topiclog.Retry(ctx, func(error) {}, func() error {
		ahead, partitions, err := t.env.Log.Beyond(ctx, t.path.Info(), read)
		if err != nil {
			return err
		}
		w.ends, w.not = make([]int64, len(ahead)), nil
		for p, is := range ahead {
			w.ends[p] = is.End
			if !is.Stands {
				w.not = view
			}
		}
		w.partitions = partitions
		return nil
	}); err != nil {
		return nil, t.env.Explain(ctx, err)
	}
	if w.not != nil {
		t.env.Send(t.pid.Load(), &doubted{view})
	}
	if w.not != nil || w.partitions > len(read) {
		w.ends = nil
	}
	return w, nil
}

// reached is how far a view is in each partition.
func reached(v *keyed.View) []commitlog.Reached {
	all := make([]commitlog.Reached, v.Partitions())
	for p := range all {
		all[p].Offset, all[p].Last = v.Place(p)
	}
	return all
}

// wait waits until the table is as far as w wants.
func (t *Table) wait(ctx context.Context, w *waiter) error {
	t.mu.Lock()
	if t.err == nil && t.has(w) {
		t.mu.Unlock()
		return nil
	}
	t.waiters[w] = struct{}{}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.waiters, w)
		t.mu.Unlock()
	}()
	select {
	case <-w.ready:
		return nil
	case <-t.done:
		return t.Err()
	case <-ctx.Done():
		return fmt.Errorf("it is behind: %w", context.Cause(ctx))
	}
}

// has reports whether the view is as far as w wants. mu is held.
func (t *Table) has(w *waiter) bool {
	if t.view == w.not || t.trust == overthrown || t.view.Partitions() < w.partitions {
		return false
	}
	for p, end := range w.ends {
		if at, _ := t.view.Place(p); at < end {
			return false
		}
	}
	return true
}

// Stats is a row about the table.
func (t *Table) Stats() messages.TableStats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := messages.TableStats{Topic: t.path.Name, State: t.state(), Records: t.counts.records, Keyless: t.counts.keyless, Loads: t.counts.loads}
	if t.view == nil {
		return s
	}
	s.Keys, s.Bytes = t.view.Len(), t.view.Cost()
	s.Records += t.view.Records()
	s.Keyless += t.view.Keyless()
	for p := range t.view.Partitions() {
		at, _ := t.view.Place(p)
		if end, ok := t.path.End(p); ok {
			s.Lag += max(0, end-at)
		}
	}
	return s
}

// State is penstock.Table.State.
func (t *Table) State() messages.TableState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state()
}

func (t *Table) state() messages.TableState {
	switch {
	case t.err != nil:
		return messages.TableEnded
	case t.view == nil:
		return messages.TableLoading
	case t.env.Trusted.Load() == 0 || discovery.Trouble(t.env.Etcd.Control) != nil:
		return messages.TableStale
	case t.trust != following:
		return messages.TableReloading
	}
	return messages.TableFollowing
}

// Done is closed at the end of the table. Err says why.
func (t *Table) Done() <-chan struct{} { return t.done }

// Err is penstock.Table.Err.
func (t *Table) Err() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.err
}

// Unused reports whether the table has ended because nobody used it.
func (t *Table) Unused() bool { return errors.Is(t.Err(), errIdle) }

// Close is penstock.Table.Close.
func (t *Table) Close() {
	t.end(messages.ErrClosed)
	t.env.Send(t.env.Root, &withdraw{t})
}

// end ends the table for whoever holds it. Only the first call counts.
func (t *Table) end(why error) {
	t.mu.Lock()
	first := t.err == nil
	if first {
		t.err = why
		close(t.done)
	}
	t.mu.Unlock()
	if !first {
		return
	}
	if errors.Is(why, messages.ErrClosed) || errors.Is(why, errIdle) {
		why = nil
	}
	t.env.Events.Emit(messages.TableClosed{Topic: t.path.Name, Err: why})
}
