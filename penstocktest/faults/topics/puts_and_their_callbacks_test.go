package topics_test

// Callbacks of PutAsync and CommitAsync that block, put or end; what Stop and
// Close make of what was put; and what an open topic costs.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a callback may put the next message, also when there is no room.
func TestACallbackPutsIntoAFullBuffer(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, penstock.TopicConfig{Partitions: 1}, penstock.MaxBuffer(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	ctx := harness.Context(t)
	m := penstock.Message{Value: make([]byte, 600<<10)}
	var left atomic.Int64
	left.Store(20)
	done := make(chan struct{}, 1)
	var again func(penstock.PutResult)
	again = func(r penstock.PutResult) {
		switch n := left.Add(-1); {
		case r.Err != nil:
			t.Error(r.Err)
		case n == 0:
			done <- struct{}{}
		case n > 0:
			if err := topic.PutAsync(ctx, m, again); err != nil {
				t.Error(err)
			}
		}
	}
	var begun sync.WaitGroup
	for range 2 {
		begun.Go(func() {
			if err := topic.PutAsync(ctx, m, again); err != nil {
				t.Error(err)
			}
		})
	}
	harness.Await(t, "twenty callbacks", done)
	begun.Wait()
	if _, _, err := openTopic(t, rt, theTopic).Put(ctx, penstock.Message{}); err != nil {
		t.Errorf("a put by somebody else: %v", err)
	}
	if err := topic.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// Promise: Stop takes nothing more and then commits what was taken: each PutAsync
// that answered nil gets an offset, and the log has no more than those.
func TestStopFlushesWhatWasTaken(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	watcher, rt := harness.Runtime(t, ns), harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 3)
	var taken, told, failed atomic.Int64
	enough := make(chan struct{}, 1)
	var over sync.WaitGroup
	for range 4 {
		over.Go(func() {
			m := penstock.Message{Value: make([]byte, 100)}
			for {
				err := topic.PutAsync(context.Background(), m, func(r penstock.PutResult) {
					told.Add(1)
					if r.Err != nil {
						failed.Add(1)
					}
				})
				if err != nil {
					if !errors.Is(err, penstock.ErrClosed) {
						t.Errorf("refused with %v", err)
					}
					return
				}
				if taken.Add(1) == 5000 {
					enough <- struct{}{}
				}
			}
		})
	}
	harness.Await(t, "some puts", enough)
	if err := rt.Stop(harness.Context(t)); err != nil {
		t.Errorf("Stop: %v", err)
	}
	over.Wait()
	if told.Load() != taken.Load() || failed.Load() != 0 {
		t.Errorf("%d taken, %d told, %d of them of an error", taken.Load(), told.Load(), failed.Load())
	}
	d, err := watcher.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	var logged int64
	for _, p := range d.Partitions {
		logged += p.End
	}
	if logged != taken.Load() {
		t.Errorf("%d taken, %d in the log", taken.Load(), logged)
	}
}

// Promise: what Stop gives up is told to each callback, and counted.
func TestStopCountsWhatItGivesUp(t *testing.T) {
	t.Parallel()
	rt, on := meetTapped(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	_, release := on.holdOnce(t, func(r request) bool { return r.writes("/index/") })
	defer release()
	var given atomic.Int64
	const n = 100
	for range n {
		if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(r penstock.PutResult) {
			if errors.Is(r.Err, penstock.ErrClosed) {
				given.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	var abandoned *penstock.AbandonedError
	if err := rt.Stop(ctx); !errors.As(err, &abandoned) || abandoned.Messages != n || given.Load() != n {
		t.Errorf("%d callbacks told; Stop: %v", given.Load(), err)
	}
}

// Promise: a callback that does not return holds up Stop no longer than its
// context, and Stop says so; one of CommitAsync the same.
func TestACallbackThatNeverReturns(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Add(2)
	stuck := func() { defer waiting.Done(); <-release }
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	called := make(chan struct{}, 2)
	if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) { called <- struct{}{}; stuck() }); err != nil {
		t.Fatal(err)
	}
	if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) {}); err != nil {
		t.Fatal(err)
	}
	harness.Await(t, "the callback", called)
	if _, _, err := topic.Put(harness.Context(t), penstock.Message{}); err != nil {
		t.Errorf("a put behind it: %v", err)
	}
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit())
	recs := polled(t, sub, 3)
	sub.CommitAsync(func(error) { called <- struct{}{}; stuck() }, recs[0])
	harness.Await(t, "the callback of a commit", called)
	if err := sub.Commit(harness.Context(t), recs[1]); err != nil {
		t.Errorf("a commit behind it: %v", err)
	}
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := sub.Unsubscribe(short()); err == nil || !strings.Contains(err.Error(), "a callback has not returned") {
		t.Errorf("Unsubscribe: %v", err)
	}
	began := time.Now()
	if err := rt.Stop(short()); err == nil || !strings.Contains(err.Error(), "2 callbacks did not return or were not called") {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Stop took %s", took)
	}
	close(release)
	waiting.Wait()
}

// Promise: a callback that panics or ends its goroutine keeps nobody else from
// being told.
func TestPutsSurviveTheirCallbacks(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	told := make(chan penstock.PutResult, 1)
	for _, f := range []func(penstock.PutResult){
		func(penstock.PutResult) { panic("a callback's own fault") },
		func(penstock.PutResult) { runtime.Goexit() },
		func(r penstock.PutResult) { told <- r },
	} {
		if err := topic.PutAsync(harness.Context(t), penstock.Message{}, f); err != nil {
			t.Fatal(err)
		}
	}
	if r := harness.Await(t, "the last callback", told); r.Offset != 2 || r.Err != nil {
		t.Errorf("the last: %+v", r)
	}
	if err := topic.Flush(harness.Context(t)); err == nil || !strings.Contains(err.Error(), "a callback's own fault") {
		t.Errorf("flush: %v", err)
	}
}

// Promise: handles of one topic share what it costs, and the last Close gives it
// back.
func TestClosedHandlesCostNothing(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	var all []*penstock.Topic
	for i := range 10 {
		topic := makeTopic(t, rt, fmt.Sprintf("topic%d", i), 1)
		if _, _, err := topic.Put(ctx, penstock.Message{}); err != nil {
			t.Fatal(err)
		}
		all = append(all, topic)
	}
	open := runtime.NumGoroutine()
	for range 100 {
		all = append(all, openTopic(t, rt, "topic0"))
	}
	if n := runtime.NumGoroutine(); n > open+10 {
		t.Errorf("%d goroutines, and %d with 100 handles more of one topic", open, n)
	}
	sub := subscribe(t, all[0], theGroup)
	for _, topic := range all {
		if err := topic.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if recs := polled(t, sub, 1); recs[0].Offset != 0 {
		t.Errorf("a subscription after Close: %+v", recs)
	}
	unsubscribe(t, sub)
	harness.Eventually(t, "what they cost is given back", func() bool { return runtime.NumGoroutine() <= open-60 })
	closed := all[0]
	if err := closed.Close(ctx); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, penstock.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	_, _, err := closed.Put(ctx, penstock.Message{})
	check("Put", err)
	check("PutAsync", closed.PutAsync(ctx, penstock.Message{}, nil))
	_, err = closed.Subscribe(ctx, theGroup)
	check("Subscribe", err)
	for _, err := range closed.Read(ctx, 0, penstock.FromEarliest()) {
		check("Read", err)
	}
	if _, _, err := openTopic(t, rt, "topic0").Put(ctx, penstock.Message{}); err != nil {
		t.Errorf("a handle opened after it: %v", err)
	}
}

// Promise: Close of one handle ends it alone, and commits what it took.
func TestCloseFlushesWhatWasTaken(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	other := openTopic(t, rt, theTopic)
	var taken, told atomic.Int64
	enough := make(chan struct{}, 1)
	var over sync.WaitGroup
	over.Go(func() {
		for topic.PutAsync(context.Background(), penstock.Message{}, func(r penstock.PutResult) {
			if r.Err == nil {
				told.Add(1)
			}
		}) == nil {
			if taken.Add(1) == 1000 {
				enough <- struct{}{}
			}
		}
	})
	harness.Await(t, "some puts", enough)
	if err := topic.Close(harness.Context(t)); err != nil {
		t.Error(err)
	}
	over.Wait()
	if taken.Load() != told.Load() {
		t.Errorf("%d taken, %d told of an offset", taken.Load(), told.Load())
	}
	if _, offset, err := other.Put(harness.Context(t), penstock.Message{}); err != nil || offset != taken.Load() {
		t.Errorf("the other handle puts at %d: %v", offset, err)
	}
}

// Promise: Flush and Close in a callback of their handle are refused at once, and the
// handle can be closed after it.
func TestACallbackCannotWaitForItself(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic, other := makeTopic(t, rt, theTopic, 1), openTopic(t, rt, theTopic)
	refused := make(chan [3]error, 1)
	if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) {
		ctx := context.Background()
		refused <- [3]error{topic.Flush(ctx), topic.Close(ctx), other.Flush(ctx)}
	}); err != nil {
		t.Fatal(err)
	}
	errs := harness.Await(t, "the callback", refused)
	for i, what := range []string{"Flush", "Close"} {
		if !errors.Is(errs[i], penstock.ErrBusy) {
			t.Errorf("%s: %v", what, errs[i])
		}
	}
	if errs[2] != nil {
		t.Errorf("Flush of another handle: %v", errs[2])
	}
	if _, _, err := topic.Put(harness.Context(t), penstock.Message{}); !errors.Is(err, penstock.ErrClosed) {
		t.Errorf("a put after it: %v", err)
	}
	if err := topic.Close(harness.Context(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Promise: a Close whose context ends before the callbacks have returned can be
// called again, and waits for them.
func TestCloseCanBeCalledAgain(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	in, release := make(chan struct{}, 1), make(chan struct{})
	var told atomic.Int64
	for range 2 {
		if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) {
			if told.Load() == 0 {
				in <- struct{}{}
				<-release
			}
			told.Add(1)
		}); err != nil {
			t.Fatal(err)
		}
	}
	harness.Await(t, "the callback", in)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := topic.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if err := topic.Close(harness.Context(t)); err != nil || told.Load() != 2 {
		t.Errorf("%d callbacks have returned; Close: %v", told.Load(), err)
	}
}

// Promise: CommitAsync asks for its commit at once, not when the next is due, also
// while one is under way.
func TestCommitAsyncDoesNotWaitForTheNextRound(t *testing.T) {
	t.Parallel()
	rt, on := meetTapped(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 2)
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit(), penstock.CommitEvery(time.Hour))
	recs := polled(t, sub, 2)
	held, release := on.holdOnce(t, func(r request) bool { return r.writes("/offsets/") })
	errs := make(chan error, 2)
	sub.CommitAsync(func(err error) { errs <- err }, recs[0])
	harness.Await(t, "the first commit", held)
	sub.CommitAsync(func(err error) { errs <- err }, recs[1])
	if err := sub.Seek(harness.Context(t), 1, penstock.FromEarliest()); !errors.Is(err, penstock.ErrNoPartition) { // it comes behind the second
		t.Error(err)
	}
	release()
	for range 2 {
		if err := harness.Await(t, "its callback", errs); err != nil {
			t.Error(err)
		}
	}
}

// Promise: done hears nil only of what etcd has.
func TestCommitAsyncBeforeASeek(t *testing.T) {
	t.Parallel()
	rt, on := meetTapped(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 3)
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit(), penstock.CommitEvery(time.Hour))
	recs := polled(t, sub, 3)
	held, release := on.holdOnce(t, func(r request) bool { return r.writes("/offsets/") })
	errs := make(chan error, 2)
	sub.CommitAsync(func(err error) { errs <- err }, recs[0])
	harness.Await(t, "the first commit", held)
	sub.CommitAsync(func(err error) { errs <- err }, recs[2])
	if err := sub.Seek(harness.Context(t), 0, penstock.FromOffset(1)); err != nil {
		t.Error(err)
	}
	release()
	if err := harness.Await(t, "its callback", errs); err != nil {
		t.Errorf("of what was written before the Seek: %v", err)
	}
	err := harness.Await(t, "its callback", errs)
	g, gerr := rt.DescribeConsumerGroup(harness.Context(t), theTopic, theGroup)
	if gerr != nil {
		t.Fatal(gerr)
	}
	if at := g.Partitions[0].Committed; at != 1 || !errors.Is(err, penstock.ErrOffsetOutOfRange) {
		t.Errorf("committed %d; done heard %v", at, err)
	}
}
