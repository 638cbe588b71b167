package groups

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// toldLog collects the order of callbacks, and their errors.
type toldLog struct {
	mu    sync.Mutex
	order []int
	errs  []error
}

func (l *toldLog) call(n int) *asyncCommit {
	return &asyncCommit{done: func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.order, l.errs = append(l.order, n), append(l.errs, err)
	}}
}

func (l *toldLog) is(t *testing.T, when string, want ...int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.order, want) {
		t.Errorf("%s: %v were called, not %v", when, l.order, want)
	}
}

// Promise: the calls of done come in the order of those of CommitAsync, also
// around the end.
func TestCommitsAfterTheEndAreToldBehindThoseBeforeIt(t *testing.T) {
	var l toldLog
	hosted := 0
	q := &asyncCommits{host: func(usercode.Callbacks) { hosted++ }}
	first := l.call(0)
	q.add(first)
	q.decide(q.take())
	q.add(l.call(1))
	q.close(messages.ErrClosed)
	q.add(l.call(2))
	l.is(t, "before anybody calls")
	if hosted != 1 {
		t.Errorf("%d goroutines", hosted)
	}
	q.Call(t.Context())
	l.is(t, "with a goroutine", 0, 1, 2)
	q.add(l.call(3))
	l.is(t, "with nothing before it", 0, 1, 2, 3)
	for i, err := range l.errs {
		if errors.Is(err, messages.ErrClosed) != (i > 0) {
			t.Errorf("callback %d: %v", i, err)
		}
	}
	if q.held != 0 {
		t.Errorf("%d are held", q.held)
	}
}

// Promise: done is called however the runtime ends.
func TestACommitAfterTheLastGoroutineEndedIsTold(t *testing.T) {
	var l toldLog
	q := &asyncCommits{host: func(usercode.Callbacks) {}, of: func() string { return "commit" }}
	q.add(l.call(0))
	q.close(messages.ErrClosed)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	q.Call(ended)
	if q.Waiting() == nil {
		t.Error("nothing is said to be left")
	}
	q.add(l.call(1))
	l.is(t, "after the end", 1)
}

// Promise: what is queued is called once, though the actor that has it called is
// restarted meanwhile.
func TestCallersGoOnAfterARestart(t *testing.T) {
	sys := node.NewSystem()
	defer sys.Shutdown()
	dues := &usercode.Dues{}
	pid := sys.Root.Spawn(supervisor.Props(worker.NewCallbacks(usercode.New(), dues)))
	var l toldLog
	q := &asyncCommits{sub: &Subscription{buffer: &prefetch.Buffer{}}, host: func(c usercode.Callbacks) {
		dues.Add(c)
		sys.Root.Send(pid, &usercode.Due{})
	}}
	in, goOn := make(chan struct{}), make(chan struct{})
	q.decide([]*asyncCommit{{done: func(error) { close(in); <-goOn }}, l.call(1), l.call(2)})
	<-in
	restarted := make(chan struct{})
	on := sys.EventStream.Subscribe(func(e any) {
		if _, ok := e.(*supervisor.Restarted); ok {
			close(restarted)
		}
	})
	defer sys.EventStream.Unsubscribe(on)
	sys.Root.Send(pid, node.Crash{Err: errors.New("for this test")})
	q.decide([]*asyncCommit{l.call(3)})
	close(goOn)
	<-restarted
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := worker.EndCallbacks(ctx, &node.Node{System: sys, Callbacks: pid}); err != nil {
		t.Error(err)
	}
	l.is(t, "in the end", 1, 2, 3)
}
