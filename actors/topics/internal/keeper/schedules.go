package keeper

// The job that fires schedules.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/actors/topics/internal/schedule"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// schedulesJob is the name of the job.
	schedulesJob = "schedules"
	// grace is how late a tick may be after nobody was there, and is not missed yet. So a
	// keeper that takes over in order misses none.
	grace = 10 * time.Second
	// latestFired is how late a tick may be with a keeper who has more to do than it can.
	latestFired = 10 * time.Minute
	// schedulesEvery is how often the time is looked at, because clocks are set; absentAfter
	// is what is taken for a time in which nobody was there: longer than a job that fails
	// rests.
	schedulesEvery, absentAfter = 10 * time.Second, 3 * time.Minute
	// topicFor is for how long a topic's settings are used.
	topicFor = 10 * time.Second
	// troubleBytes bounds what is kept of an error.
	troubleBytes = 1 << 10
)

// schedules is one term's. The watch tells it of changes, on another goroutine than Do's.
type schedules struct {
	// watch begins a watch that tells heard.
	watch func() (stop func())
	// producer and sequence are the identities of its batches.
	producer, sequence uint64
	// topics are used by Do alone, as are since and looked.
	topics map[string]*scheduledTopic
	// since is the time from which on a keeper was there, looked when it looked last.
	since, looked time.Time

	mu     sync.Mutex
	loaded loadedState
	rows   rows
	// stop ends the watch; refused is why etcd allows none, refusedAt since when.
	stop      func()
	refused   error
	refusedAt time.Time
}

// loadedState says whether the schedules are known.
type loadedState string

const (
	notLoaded loadedState = "not loaded"
	loaded    loadedState = "loaded"
	// denied: etcd does not let them be watched; it is asked again after a while.
	denied loadedState = "denied"
	// unfollowed: the term is over.
	unfollowed loadedState = "unfollowed"
)

// scheduledTopic is a topic that records are put into.
type scheduledTopic struct {
	info      messages.TopicInfo
	read      time.Time
	appenders map[int]*commitlog.Appender
}

func newSchedules() *schedules {
	return &schedules{producer: rand.Uint64(), topics: make(map[string]*scheduledTopic), loaded: notLoaded}
}

// Name is "schedules".
func (*schedules) Name() string { return schedulesJob }

// follow has the schedules watched until stop is called.
func (j *schedules) follow(k *Keeper) (stop func()) {
	j.watch = func() func() {
		return k.node.Watches.Watch(k.node.Keys.Schedules(), func(e discovery.WatchEvent) {
			j.heard(k, e)
			k.Ring(schedulesJob)
		})
	}
	j.begin()
	return j.unfollow
}

// begin begins the watch.
func (j *schedules) begin() {
	stop := j.watch()
	j.mu.Lock()
	over := j.loaded == unfollowed
	if !over {
		j.stop = stop
	}
	j.mu.Unlock()
	if over {
		stop()
	}
}

// unfollow ends the watch for good.
func (j *schedules) unfollow() {
	j.mu.Lock()
	stop := j.stop
	j.loaded, j.stop = unfollowed, nil
	j.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// allowed returns why etcd lets the schedules not be watched, and after how long to ask
// again; after that time it asks.
func (j *schedules) allowed(now time.Time) (time.Duration, error) {
	j.mu.Lock()
	if j.loaded != denied {
		j.mu.Unlock()
		return 0, nil
	}
	if wait := refusedFor - now.Sub(j.refusedAt); wait > 0 {
		defer j.mu.Unlock()
		return wait, j.refused
	}
	err := j.refused
	j.refusedAt = now
	j.mu.Unlock()
	j.begin()
	return refusedFor, err
}

// heard takes in what the watch says.
func (j *schedules) heard(k *Keeper, e discovery.WatchEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.loaded == unfollowed {
		return
	}
	// at is the revision that e shows. It counts, and not when the schedule was written: a
	// list may show something that is older than what is known, when etcd was set back.
	see := func(kv discovery.KV, at int64, force bool) string {
		row, ok, err := k.log.ParseSchedule(kv.Key, kv.Value, kv.ModRevision)
		if !ok {
			return ""
		}
		if fault := j.rows.see(row, err, at, force); fault != nil {
			k.node.Events.Emit(messages.ScheduleFailed{Schedule: row.Name, Topic: row.Topic, Err: fault})
		}
		return row.Name
	}
	switch e := e.(type) {
	case discovery.Snapshot:
		there := make(map[string]bool, len(e.KVs))
		for _, kv := range e.KVs {
			there[see(kv, e.Revision, e.Reset)] = true
		}
		j.rows.keep(there)
		j.loaded = loaded
	case discovery.Delta:
		for _, kv := range e.Puts {
			see(kv, e.Revision, false)
		}
		for _, kv := range e.Deletes {
			if key, ok := k.node.Keys.Parse(kv.Key); ok {
				j.rows.remove(key.ID)
			}
		}
	case discovery.Refused:
		j.loaded, j.refused, j.refusedAt, j.stop = denied, e.Err, time.Now(), nil
	}
}

// Do fires what is due.
func (j *schedules) Do(ctx context.Context, w *Work) (time.Duration, error) {
	if wait, err := j.allowed(time.Now()); err != nil {
		return wait, err
	}
	for {
		now := j.now(w)
		r, wait := j.due(now)
		if r == nil {
			return wait, nil
		}
		if err := j.step(ctx, w, *r, now); err != nil {
			return 0, err
		}
	}
}

func (j *schedules) now(w *Work) time.Time {
	now := w.Clock.Now()
	j.since = presentSince(j.since, j.looked, now)
	j.looked = now
	return now
}

// presentSince is from when on a keeper was there, after it looked last at a time, zero for
// never: a host that slept was not, and neither was one whose clock was set.
func presentSince(since, looked, now time.Time) time.Time {
	if looked.IsZero() || now.Sub(looked) > absentAfter || now.Before(looked) {
		since = now.Add(-grace)
	}
	if least := now.Add(-latestFired); since.Before(least) {
		return least
	}
	return since
}

// due is the row that is due first, or nil and how long to wait.
func (j *schedules) due(now time.Time) (*row, time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.loaded != loaded {
		return nil, schedulesEvery
	}
	first := j.rows.first()
	if first == nil {
		return nil, schedulesEvery
	}
	if wait := first.Next.Sub(now); wait > 0 {
		return nil, min(wait, schedulesEvery)
	}
	r := *first
	return &r, 0
}

// step does what is due of a schedule.
func (j *schedules) step(ctx context.Context, w *Work, r row, now time.Time) error {
	if r.sent != "" { // what became of the last step is not known
		return j.again(ctx, w, r)
	}
	s, due := schedule.Decide(r.times, &r.ScheduleInfo, j.since, now)
	if !due {
		return nil
	}
	if err := w.Turn(ctx); err != nil {
		return err
	}
	to := r.ScheduleInfo
	to.Next, to.MissedCount = s.Next, to.MissedCount+s.Missed
	if s.Fire.IsZero() {
		return j.send(ctx, w, r, &commitlog.Tick{From: r.ScheduleRow, To: rowOf(to)}, s)
	}
	_, known := j.topics[r.Topic]
	err := j.fire(ctx, w, r, to, s, now)
	if known && ctx.Err() == nil && failsTick(err) { // the topic may be another one by now
		delete(j.topics, r.Topic)
		err = j.fire(ctx, w, r, to, s, now)
	}
	if ctx.Err() != nil || !failsTick(err) {
		return err
	}
	delete(j.topics, r.Topic)
	tick := s.Fire
	to.FailedCount, to.Trouble = to.FailedCount+1, trouble(err)
	s.Fire = time.Time{}
	if ferr := j.send(ctx, w, r, &commitlog.Tick{From: r.ScheduleRow, To: rowOf(to)}, s); ferr != nil {
		return ferr
	}
	w.Count(func(s *messages.KeeperStats) { s.TicksFailed++ })
	w.Emit(messages.ScheduleFailed{Schedule: r.Name, Topic: r.Topic, Tick: tick, Err: err})
	return nil
}

// fire makes a step that puts a record.
func (j *schedules) fire(ctx context.Context, w *Work, r row, to messages.ScheduleInfo, s schedule.Step, now time.Time) error {
	t, part, err := j.tick(ctx, w, r, to, s.Fire, now)
	if err != nil {
		return err
	}
	r.part = part
	return j.send(ctx, w, r, t, s)
}

// failsTick reports whether an error says that the record of a tick cannot be put, and
// will not be with another attempt.
func failsTick(err error) bool {
	for _, final := range []error{messages.ErrNoTopic, messages.ErrTopicDeleted, messages.ErrTopicFull, messages.ErrTooLarge, messages.ErrDenied, messages.ErrInvalid, messages.ErrCorrupt} {
		if errors.Is(err, final) && !errors.Is(err, messages.ErrUnknownOutcome) {
			return true
		}
	}
	var limit *messages.LimitError
	return errors.As(err, &limit) && !errors.Is(err, messages.ErrUnknownOutcome)
}

// trouble is an error as it is kept.
func trouble(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), troubleBytes)], "")
}

// tick is the transaction that puts the record of a tick.
func (j *schedules) tick(ctx context.Context, w *Work, r row, to messages.ScheduleInfo, at, now time.Time) (*commitlog.Tick, int, error) {
	t, err := j.topic(ctx, w, r.Name, r.Topic)
	if err != nil {
		return nil, 0, err
	}
	m := r.Record(at, now)
	if len(m.Key) == 0 && t.info.Config.Compaction == messages.CompactByKey {
		return nil, 0, fmt.Errorf("put to %q: a schedule without a key: this topic keeps the newest record of each key: %w", r.Topic, messages.ErrInvalid)
	}
	size, most := messages.RecordSize(&m), t.info.Config.MaxRecordBytes
	if size > most {
		return nil, 0, fmt.Errorf("put to %q: %d bytes with key and headers, the limit is %d, both as encoded: %w", r.Topic, size, most, messages.ErrTooLarge)
	}
	if w.Pass != nil {
		if err := w.Pass(ctx, size); err != nil {
			return nil, 0, err
		}
	}
	p := produce.PartitionOf(r.Key, r.Name, t.info.Config.Partitions)
	a := t.appenders[p]
	if a == nil {
		a = w.Log.Partition(t.info, p).Appender(commitlog.AppenderConfig{Producer: j.producer, Info: func() *messages.TopicInfo { return &t.info }})
		t.appenders[p] = a
	}
	var g produce.Gathered
	g.Add(&m)
	j.sequence++
	batch, err := g.Seal(t.info.Config.Compression, j.producer, j.sequence)
	if err != nil {
		return nil, 0, err
	}
	to.Tick, to.Fired, to.FiredCount, to.Trouble = at, now, to.FiredCount+1, ""
	return &commitlog.Tick{
		From: r.ScheduleRow, To: rowOf(to), Appender: a, Batch: batch,
	}, p, nil
}

func rowOf(s messages.ScheduleInfo) commitlog.ScheduleRow {
	return commitlog.ScheduleRow{ScheduleInfo: s, Value: format.ScheduleValue(&s)}
}

// asIs changes nothing of a schedule.
func asIs(old *messages.ScheduleInfo) (s messages.ScheduleInfo, writes bool, err error) {
	if old != nil {
		s = *old
	}
	return s, false, nil
}

// topic is the topic of a schedule as it was some seconds ago at most.
func (j *schedules) topic(ctx context.Context, w *Work, name, topic string) (*scheduledTopic, error) {
	t := j.topics[topic]
	if t != nil && time.Since(t.read) < topicFor {
		return t, nil
	}
	info, err := w.Log.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	if !info.Scheduled { // it was made again under that name
		if _, err := w.Log.ChangeSchedule(ctx, "mark topic "+topic, name, topic, asIs); err != nil {
			return nil, err
		}
	}
	if t == nil || t.info.CreateRevision != info.CreateRevision || t.info.ID != info.ID {
		t = &scheduledTopic{appenders: make(map[int]*commitlog.Appender)}
		j.topics[topic] = t
	}
	t.info, t.read = info, time.Now()
	return t, nil
}

// send makes a step, and takes in what became of it.
func (j *schedules) send(ctx context.Context, w *Work, r row, t *commitlog.Tick, s schedule.Step) error {
	revision, err := w.Log.Fire(ctx, w.Office, t)
	switch {
	case err == nil:
		t.To.Revision = revision
		j.made(w, r, t.To, s, t.Base())
		if t.Batch != nil {
			t.Batch.Free()
		}
		return nil
	case errors.Is(err, commitlog.ErrScheduleMoved):
		return j.again(ctx, w, r)
	case errors.Is(err, messages.ErrUnknownOutcome):
		j.mu.Lock()
		j.rows.doubt(r.Name, r.Value, t.To.Value, s, r.part)
		j.mu.Unlock()
	}
	return err
}

// made takes in a step that was made, and tells of it.
func (j *schedules) made(w *Work, r row, to commitlog.ScheduleRow, s schedule.Step, base int64) {
	j.mu.Lock()
	_ = j.rows.see(to, nil, to.Revision, false)
	j.mu.Unlock()
	if s.Missed > 0 {
		w.Count(func(c *messages.KeeperStats) { c.TicksMissed += s.Missed })
		w.Emit(messages.ScheduleMissed{Schedule: r.Name, Topic: r.Topic, Count: int(s.Missed), Since: r.Next, Policy: r.Missed})
	}
	if !s.Fire.IsZero() {
		w.Count(func(c *messages.KeeperStats) { c.TicksFired++ })
		w.Emit(messages.ScheduleFired{Schedule: r.Name, Topic: r.Topic, Partition: r.part, Offset: base, Tick: s.Fire, Late: to.Fired.Sub(s.Fire)})
	}
}

// again reads a schedule that is not as it was known, or of whose last step it is not known
// whether it was made. What the watch has told meanwhile is newer than r.
func (j *schedules) again(ctx context.Context, w *Work, r row) error {
	is, err := w.Log.Schedule(ctx, r.Name)
	if errors.Is(err, messages.ErrNoSchedule) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.rows.has(r.Name, r.Value) {
			j.rows.remove(r.Name)
		}
		return nil
	}
	if err != nil && !errors.Is(err, messages.ErrCorrupt) {
		return err
	}
	if r.sent != "" && is.Value == r.sent {
		j.made(w, r, is, r.step, -1)
		return nil
	}
	j.mu.Lock()
	fault := j.rows.see(is, err, is.Revision, j.rows.has(r.Name, r.Value))
	j.mu.Unlock()
	if fault != nil {
		w.Emit(messages.ScheduleFailed{Schedule: r.Name, Topic: r.Topic, Err: fault})
	}
	return nil
}
