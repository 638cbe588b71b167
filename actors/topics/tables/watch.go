package tables

// Loops over the changes of a table.

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/messages"
)

// atOnce is how many changes a loop takes from its watcher in one go.
const atOnce = 256

// watcher is what a loop has not had yet: one change for each key. It holds nobody up, and
// has no more of them than keys that the loop or the table has.
type watcher struct {
	bell chan struct{} // rings when there is something; holds one ring

	mu      sync.Mutex
	pending map[string]*pending
	order   []*pending // the oldest first; some were made up for since
}

// pending is a change of one key.
type pending struct {
	keyed.Change
	initial bool
	void    bool // made up for, or handed out
}

func newWatcher() *watcher {
	return &watcher{bell: make(chan struct{}, 1), pending: make(map[string]*pending)}
}

// add notes a change, together with what is pending of its key.
func (w *watcher) add(c keyed.Change, initial bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if had := w.pending[c.Key]; had != nil {
		had.New, had.initial = c.New, false
		if had.New == had.Old { // as if nothing had been
			had.void = true
			delete(w.pending, c.Key)
		}
	} else {
		p := &pending{Change: c, initial: initial}
		w.pending[c.Key] = p
		if len(w.order) > 2*len(w.pending)+atOnce {
			w.order = slices.DeleteFunc(w.order, func(p *pending) bool { return p.void })
		}
		w.order = append(w.order, p)
	}
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// take takes out the oldest changes.
func (w *watcher) take() (some []pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for ; n < len(w.order) && len(some) < atOnce; n++ {
		if p := w.order[n]; !p.void {
			some = append(some, *p)
			p.void = true
			delete(w.pending, p.Key)
		}
	}
	if w.order = w.order[n:]; len(w.order) == 0 {
		w.order = nil
	}
	return some
}

// tell hands a change to all loops. mu is held, so that each hears of them in order.
func (t *Table) tell(c keyed.Change) {
	for w := range t.watchers {
		w.add(c, false)
	}
}

// Watch is penstock.Table.Watch.
func (t *Table) Watch(ctx context.Context) iter.Seq2[messages.TableChange, error] {
	return func(yield func(messages.TableChange, error) bool) {
		if err := node.ContextGiven(ctx); err != nil {
			yield(messages.TableChange{}, t.fault(err))
			return
		}
		if err := t.watch(ctx, yield); err != nil {
			yield(messages.TableChange{}, t.fault(err))
		}
	}
}

// watch yields until yield has enough, which is no error.
func (t *Table) watch(ctx context.Context, yield func(messages.TableChange, error) bool) error {
	w := t.watching()
	defer t.unwatch(w)
	for {
		over := false
		select {
		case <-w.bell:
		case <-t.done:
			over = true
		case <-ctx.Done():
			return fmt.Errorf("watch: %w", context.Cause(ctx))
		}
		for some := w.take(); len(some) > 0; some = w.take() {
			for _, p := range some {
				if ctx.Err() != nil {
					return fmt.Errorf("watch: %w", context.Cause(ctx))
				}
				if !yield(t.change(p), nil) {
					return nil
				}
			}
		}
		if over {
			return t.Err()
		}
	}
}

// watching begins a watcher with what the table has.
func (t *Table) watching() *watcher {
	w := newWatcher()
	t.mu.Lock()
	defer t.mu.Unlock()
	ttl := t.path.TTL()
	for e := range t.view.All() {
		if !e.Record("", ttl).Expired() {
			w.add(keyed.Change{Key: e.Key(), New: e}, true)
		}
	}
	t.watchers[w] = struct{}{}
	return w
}

func (t *Table) unwatch(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}

func (t *Table) change(p pending) messages.TableChange {
	record := func(e *keyed.Entry) *messages.Record {
		if e == nil {
			return nil
		}
		r := e.Record(t.path.Name, t.path.TTL())
		return &r
	}
	return messages.TableChange{Key: p.Key, Old: record(p.Old), New: record(p.New), Initial: p.initial}
}
