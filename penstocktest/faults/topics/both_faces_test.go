package topics_test

// What is promised of topics through both faces, see faces_test.go.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// stage is a test's runtime under one face; what fails on it fails the test.
type stage struct {
	*testing.T
	face face
	rt   *penstock.Runtime
}

// Promise: what topics promise to who holds handles they promise to who has actors.
func TestBothFaces(t *testing.T) {
	for promise, holds := range map[string]func(stage){
		"a put says where its record is":          putsHaveOffsets,
		"a partition keeps its order":             partitionKeepsOrder,
		"each group gets each record":             eachGroup,
		"a record that fails is handled again":    failedComesAgain,
		"at the limit it is a dead letter":        recordAttemptsEnd,
		"what is rejected is a dead letter":       rejectedAtOnce,
		"what is rejected holds nothing up":       rejectedIsPassed,
		"what has expired is passed over":         expiredIsPassed,
		"a handler names its delay":               retriedAfter,
		"a receiver that ends loses nothing":      receiverEnds,
		"what is handled is committed":            leaveCommits,
		"a paused partition waits":                pausedPartition,
		"a paused group hands out nothing":        pausedGroup,
		"a message over the limit is refused":     recordTooLarge,
		"close commits what was put":              closeCommits,
		"what is not there, or is other, is said": refusals,
	} {
		for name, face := range faces {
			t.Run(promise+"/"+name, func(t *testing.T) {
				t.Parallel()
				holds(stage{t, face, harness.Runtime(t, penstocktest.Space(t))})
			})
		}
	}
}

const facesTopic = "audit"

// opened makes the topic, and opens it.
func (s stage) opened(cfg penstock.TopicConfig) producer {
	s.Helper()
	made, err := s.rt.CreateTopic(harness.Context(s.T), facesTopic, cfg)
	if err == nil {
		err = made.Close(harness.Context(s.T))
	}
	if err != nil {
		s.Fatal(err)
	}
	p, err := s.face.open(s.T, s.rt, facesTopic)
	if err != nil {
		s.Fatal(err)
	}
	return p
}

func (s stage) subscribe(group string, body body, opts ...penstock.SubscribeOption) consumer {
	s.Helper()
	c, err := s.face.subscribe(s.T, s.rt, facesTopic, group, body, opts...)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s stage) put(p producer, from, to int) []penstock.PutResult {
	s.Helper()
	var msgs []penstock.Message
	for id := from; id < to; id++ {
		m := harness.Numbered(id)
		m.Key = fmt.Appendf(nil, "key %d", id%7)
		msgs = append(msgs, m)
	}
	results, err := p.put(harness.Context(s.T), msgs...)
	if err != nil || len(results) != to-from {
		s.Fatalf("%d results of %d: %v", len(results), to-from, err)
	}
	return results
}

// journal is the records that somebody handled, by partition.
type journal struct {
	mu      sync.Mutex
	offsets map[int][]int64
	l       *harness.Ledger
}

func newJournal() *journal { return &journal{offsets: make(map[int][]int64), l: harness.NewLedger()} }

func (j *journal) enter(r penstock.Record) error {
	j.mu.Lock()
	j.offsets[r.Partition] = append(j.offsets[r.Partition], r.Offset)
	j.mu.Unlock()
	j.l.Enter("one", recordNumber(r))
	return nil
}

func (j *journal) await(t *testing.T, n int) {
	t.Helper()
	j.l.Await(t, fmt.Sprintf("%d records", n), func(now harness.Tally) bool { return now.Distinct == n })
}

// inOrder checks that each partition was handled from its first record, without gaps.
func (j *journal) inOrder(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for p, offsets := range j.offsets {
		for i, offset := range offsets {
			if offset != int64(i) {
				t.Fatalf("of partition %d came %v", p, offsets)
			}
		}
	}
}

func putsHaveOffsets(s stage) {
	const n = 100
	p := s.opened(penstock.TopicConfig{Partitions: 3})
	next := map[int]int64{}
	for from := 0; from < n; from += 20 {
		for i, r := range s.put(p, from, from+20) {
			if r.Err != nil || r.Offset != next[r.Partition] {
				s.Fatalf("message %d is at %d/%d: %v; the partition has %d", from+i, r.Partition, r.Offset, r.Err, next[r.Partition])
			}
			next[r.Partition]++
		}
	}
}

func partitionKeepsOrder(s stage) {
	const n = 500
	p := s.opened(penstock.TopicConfig{Partitions: 3})
	j := newJournal()
	s.subscribe("export", j.enter, penstock.PartitionsAtOnce(3))
	s.put(p, 0, n)
	j.await(s.T, n)
	j.inOrder(s.T)
	j.l.Complete(s.T, n, 0)
}

func eachGroup(s stage) {
	const n = 200
	p := s.opened(penstock.TopicConfig{Partitions: 2})
	one, two := newJournal(), newJournal()
	s.subscribe("export", one.enter)
	s.put(p, 0, n)
	s.subscribe("report", two.enter)
	one.await(s.T, n)
	two.await(s.T, n)
	one.inOrder(s.T)
	two.inOrder(s.T)
}

// failedComesAgain: its partition waits for a record that fails.
func failedComesAgain(s stage) {
	const n, bad = 50, 20
	p := s.opened(penstock.TopicConfig{})
	j := newJournal()
	var mu sync.Mutex
	var attempts []int
	s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == bad {
			mu.Lock()
			attempts = append(attempts, r.Attempt)
			mu.Unlock()
			if r.Attempt < 3 {
				return errors.New("not today")
			}
		}
		return j.enter(r)
	}, penstock.RecordRetry(time.Millisecond, 10*time.Millisecond))
	s.put(p, 0, n)
	j.await(s.T, n)
	j.inOrder(s.T)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(attempts, []int{1, 2, 3}) {
		s.Errorf("the attempts are %v", attempts)
	}
}

func recordAttemptsEnd(s stage) {
	const n, bad = 30, 10
	p := s.opened(penstock.TopicConfig{})
	j := newJournal()
	letters := make(chan error, n)
	why := errors.New("never")
	s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == bad {
			return why
		}
		return j.enter(r)
	}, penstock.RecordRetry(time.Millisecond, 10*time.Millisecond), penstock.RecordDeadLetters(2, func(_ context.Context, r penstock.Record, cause error) error {
		if recordNumber(r) != bad {
			s.Errorf("record %d is a dead letter", recordNumber(r))
		}
		letters <- cause
		return nil
	}))
	s.put(p, 0, n)
	if cause := harness.Await(s.T, "the dead letter", letters); !errors.Is(cause, why) {
		s.Errorf("its cause is %v", cause)
	}
	j.await(s.T, n-1)
}

// rejectedAtOnce: the dead-letter handler gets it before its attempts are used up.
func rejectedAtOnce(s stage) {
	const n, bad = 30, 10
	p := s.opened(penstock.TopicConfig{})
	j := newJournal()
	letters := make(chan penstock.Record, n)
	s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == bad {
			return fmt.Errorf("number %d: %w", bad, penstock.ErrReject)
		}
		return j.enter(r)
	}, penstock.RecordRetry(time.Hour, time.Hour), penstock.RecordDeadLetters(5, func(_ context.Context, r penstock.Record, cause error) error {
		if !errors.Is(cause, penstock.ErrReject) {
			s.Errorf("its cause is %v", cause)
		}
		letters <- r
		return nil
	}))
	s.put(p, 0, n)
	if r := harness.Await(s.T, "the dead letter", letters); recordNumber(r) != bad || r.Attempt != 1 {
		s.Errorf("the dead letter is record %d, attempt %d", recordNumber(r), r.Attempt)
	}
	j.await(s.T, n-1)
}

// rejectedIsPassed: without dead letters an event names it, and the others come.
func rejectedIsPassed(s stage) {
	const n, bad = 30, 10
	p := s.opened(penstock.TopicConfig{})
	events := penstocktest.Record(s.T, s.rt)
	j := newJournal()
	c := s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == bad {
			return penstock.ErrReject
		}
		return j.enter(r)
	}, penstock.RecordRetry(time.Hour, time.Hour))
	s.put(p, 0, n)
	j.await(s.T, n-1)
	e := penstocktest.WaitEvent(s.T, events, harness.Patience, func(messages.RecordRejected) bool { return true })
	if e.Offset != bad || e.Group != "export" || e.Attempts != 1 {
		s.Errorf("%+v", e)
	}
	if rows := s.rt.Stats().Subscriptions; len(rows) != 1 || rows[0].Rejected != 1 {
		s.Errorf("counted: %+v", rows)
	}
	if err := c.leave(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
	if g, err := s.rt.DescribeConsumerGroup(harness.Context(s.T), facesTopic, "export"); err != nil || g.Lag != 0 {
		s.Errorf("the group is %+v: %v", g, err)
	}
}

func retriedAfter(s stage) {
	const n, bad = 30, 10
	p := s.opened(penstock.TopicConfig{})
	j := newJournal()
	s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == bad && r.Attempt < 3 {
			return penstock.RetryAfter(5*time.Millisecond, errors.New("not yet"))
		}
		return j.enter(r)
	}, penstock.RecordRetry(time.Hour, time.Hour))
	s.put(p, 0, n)
	j.await(s.T, n)
	j.inOrder(s.T)
}

// receiverEnds: the first receiver ends with a record in hand, and a second one comes.
func receiverEnds(s stage) {
	const n, fatal = 200, 50
	p := s.opened(penstock.TopicConfig{})
	j := newJournal()
	ended := make(chan struct{}, n)
	s.subscribe("export", func(r penstock.Record) error {
		if recordNumber(r) == fatal {
			ended <- struct{}{}
			return errQuit
		}
		return j.enter(r)
	})
	s.put(p, 0, n)
	harness.Await(s.T, "the end of the receiver", ended)
	s.subscribe("export", j.enter)
	j.await(s.T, n)
	// What the first one handled of a batch and did not settle comes again.
	j.l.Complete(s.T, n, 8)
}

func leaveCommits(s stage) {
	const n = 100
	p := s.opened(penstock.TopicConfig{Partitions: 2})
	j := newJournal()
	c := s.subscribe("export", j.enter, penstock.CommitEvery(time.Hour))
	s.put(p, 0, n)
	j.await(s.T, n)
	if err := c.leave(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
	g, err := s.rt.DescribeConsumerGroup(harness.Context(s.T), facesTopic, "export")
	if err != nil || g.Lag != 0 || len(g.Members) != 0 {
		s.Errorf("the group is %+v: %v", g, err)
	}
	s.subscribe("export", j.enter)
	s.put(p, n, 2*n)
	j.await(s.T, 2*n)
	j.l.Complete(s.T, 2*n, 0)
}

// pausedPartition: the others are handed out, and it stays the subscription's.
func pausedPartition(s stage) {
	const n = 140
	p := s.opened(penstock.TopicConfig{Partitions: 3})
	j := newJournal()
	c := s.subscribe("export", j.enter)
	ctx := harness.Context(s.T)
	if err := c.pause(ctx, 0); err != nil {
		s.Fatal(err)
	}
	of := map[int]int{}
	for _, r := range s.put(p, 0, n) {
		of[r.Partition]++
	}
	if of[0] == 0 || of[0] == n {
		s.Fatalf("the partitions have %v records", of)
	}
	j.await(s.T, n-of[0])
	j.mu.Lock()
	if got := len(j.offsets[0]); got > 0 {
		s.Errorf("%d records of the paused partition came", got)
	}
	j.mu.Unlock()
	if err := c.resume(ctx, 0); err != nil {
		s.Fatal(err)
	}
	j.await(s.T, n)
	j.inOrder(s.T)
}

// pausedGroup: of both members, and of one that joins meanwhile; and etcd ends it.
func pausedGroup(s stage) {
	const n = 100
	ctx := harness.Context(s.T)
	events := penstocktest.Record(s.T, s.rt)
	p := s.opened(penstock.TopicConfig{Partitions: 4})
	if err := s.rt.PauseConsumerGroup(ctx, facesTopic, "export", time.Now().Add(time.Hour)); !errors.Is(err, penstock.ErrNoGroup) {
		s.Errorf("paused a group that is not there: %v", err)
	}
	j := newJournal()
	for _, id := range []string{"one", "two"} {
		s.subscribe("export", j.enter, penstock.MemberID(id))
	}
	pause := func(until time.Time, members ...string) {
		if err := s.rt.PauseConsumerGroup(ctx, facesTopic, "export", until); err != nil {
			s.Fatal(err)
		}
		for _, id := range members {
			penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupPaused) bool {
				return e.Member == id && e.Topic == facesTopic && e.Group == "export" && e.Until.Equal(until)
			})
		}
	}
	until := time.Now().Add(time.Hour)
	pause(until, "one", "two")
	s.subscribe("export", j.enter, penstock.MemberID("three"))
	penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupPaused) bool { return e.Member == "three" })
	s.put(p, 0, n)
	if now := j.l.Tally(); now.Total > 0 {
		s.Errorf("%d records were handed out", now.Total)
	}
	if g, err := s.rt.DescribeConsumerGroup(ctx, facesTopic, "export"); err != nil || !g.PausedUntil.Equal(until) || len(g.Members) != 3 {
		s.Errorf("the group is %+v: %v", g, err)
	}
	if err := s.rt.ResumeConsumerGroup(ctx, facesTopic, "export"); err != nil {
		s.Fatal(err)
	}
	j.await(s.T, n)
	pause(time.Now().Add(time.Second), "one", "two", "three")
	s.put(p, n, 2*n)
	j.await(s.T, 2*n) // etcd ends the pause
	j.inOrder(s.T)
	for _, id := range []string{"one", "two", "three"} {
		penstocktest.WaitEvent(s.T, events, harness.Patience, func(e messages.GroupResumed) bool { return e.Member == id })
	}
	if g, err := s.rt.DescribeConsumerGroup(ctx, facesTopic, "export"); err != nil || !g.PausedUntil.IsZero() {
		s.Errorf("the group is %+v: %v", g, err)
	}
}

func recordTooLarge(s stage) {
	p := s.opened(penstock.TopicConfig{MaxRecordBytes: 1000})
	results, err := p.put(harness.Context(s.T), harness.Numbered(0), penstock.Message{Value: make([]byte, 1001)}, harness.Numbered(2))
	if !errors.Is(err, penstock.ErrTooLarge) || len(results) != 3 {
		s.Fatalf("%+v: %v", results, err)
	}
	if results[0].Err != nil || !errors.Is(results[1].Err, penstock.ErrTooLarge) || results[2].Err != nil || results[2].Offset != 1 {
		s.Errorf("the results are %+v", results)
	}
}

func closeCommits(s stage) {
	const n = 500
	p := s.opened(penstock.TopicConfig{})
	s.put(p, 0, n)
	if err := p.close(harness.Context(s.T)); err != nil {
		s.Fatal(err)
	}
	d, err := s.rt.DescribeTopic(harness.Context(s.T), facesTopic)
	if err != nil || d.Partitions[0].End != n {
		s.Errorf("the topic is %+v: %v", d, err)
	}
	// An actor that has ended hears nothing, which who asks is told.
	if _, err := p.put(harness.Context(s.T), harness.Numbered(n)); !errors.Is(err, penstock.ErrClosed) && !errors.Is(err, supervisor.ErrNoActor) {
		s.Errorf("put after close: %v", err)
	}
}

func refusals(s stage) {
	if _, err := s.face.open(s.T, s.rt, facesTopic); !errors.Is(err, penstock.ErrNoTopic) {
		s.Errorf("opened what is not there: %v", err)
	}
	none := func(penstock.Record) error { return nil }
	if _, err := s.face.subscribe(s.T, s.rt, facesTopic, "export", none); !errors.Is(err, penstock.ErrNoTopic) {
		s.Errorf("subscribed to what is not there: %v", err)
	}
	s.opened(penstock.TopicConfig{})
	s.subscribe("export", none, penstock.MemberID("one"))
	if _, err := s.face.subscribe(s.T, s.rt, facesTopic, "export", none, penstock.MemberID("one")); !errors.Is(err, penstock.ErrTaken) {
		s.Errorf("subscribed twice under one id: %v", err)
	}
	if _, err := s.face.subscribe(s.T, s.rt, facesTopic, "export", none, penstock.CommitEvery(time.Nanosecond)); !errors.Is(err, penstock.ErrInvalid) {
		s.Errorf("subscribed with settings that cannot be: %v", err)
	}
}
