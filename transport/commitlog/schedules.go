package commitlog

// Schedules: how they are made and changed, and how a tick is fired.
//
//	fresh ──send──▶ doubtful ──▶ landed
//	  ▲                │ ╲
//	  └── the slot is another's, or the end another
//
// A tick is fired by one transaction, which appends its record and moves the schedule on.
// It compares the whole value of the schedule, and no two values are the same. So of all
// attempts for a tick, by whichever keeper and to whichever slot, one is applied at most,
// and the schedule says whether one was.

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// ErrScheduleMoved says that a schedule is not as its step expected it: it was changed, or
// deleted. Nothing was written, and nothing will be.
var ErrScheduleMoved = errors.New("the schedule was changed meanwhile")

// ScheduleRow is a schedule and its value in etcd.
type ScheduleRow struct {
	messages.ScheduleInfo
	Value string
}

// ParseSchedule reads the key and value of a schedule; false is no such key. The error wraps
// messages.ErrCorrupt; the row has the name then.
func (l *Log) ParseSchedule(key string, value []byte, modRevision int64) (row ScheduleRow, ok bool, err error) {
	k, ok := l.space.Parse(key)
	if !ok || k.Kind != keys.KindSchedule {
		return ScheduleRow{}, false, nil
	}
	info, err := format.ParseSchedule(k.ID, value, modRevision)
	info.Name = k.ID
	return ScheduleRow{ScheduleInfo: info, Value: string(value)}, true, err
}

// Schedule reads a schedule. Errors: messages.ErrInvalid, ErrNoSchedule, ErrCorrupt,
// ErrUnavailable, ErrDenied.
func (l *Log) Schedule(ctx context.Context, name string) (ScheduleRow, error) {
	if err := keys.ValidateName("schedule", name); err != nil {
		return ScheduleRow{}, err
	}
	op := "read schedule " + name
	resp, err := l.get(ctx, op, l.space.Schedule(name))
	if err != nil {
		return ScheduleRow{}, err
	}
	return l.scheduleIn(op, resp)
}

// scheduleIn is the schedule that a range over its key has found.
func (l *Log) scheduleIn(op string, resp *clientv3.GetResponse) (ScheduleRow, error) {
	if len(resp.Kvs) == 0 {
		return ScheduleRow{}, fmt.Errorf("%s: %w", op, messages.ErrNoSchedule)
	}
	kv := resp.Kvs[0]
	row, _, err := l.ParseSchedule(string(kv.Key), kv.Value, kv.ModRevision)
	return row, err
}

// Schedules reads all schedules as of one revision, sorted by name. Those that cannot be
// read are left out and named in the error, which then wraps messages.ErrCorrupt and comes
// with the others. Errors besides: messages.ErrUnavailable, ErrDenied.
func (l *Log) Schedules(ctx context.Context) (all []messages.ScheduleInfo, err error) {
	kvs, err := atOneRevision(func() ([]*mvccpb.KeyValue, error) {
		kvs, _, err := l.list(ctx, "list schedules", l.space.Schedules(), 0)
		return kvs, err
	})
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, kv := range kvs {
		row, ok, err := l.ParseSchedule(string(kv.Key), kv.Value, kv.ModRevision)
		switch {
		case err != nil:
			faults = append(faults, err)
		case ok:
			all = append(all, row.ScheduleInfo)
		}
	}
	return all, errors.Join(faults...)
}

// ChangeSchedule writes what change makes of a schedule, nil for one that is not there.
// change returns false when nothing is to be written, and is called again when others
// change the schedule meanwhile. With topic, a topic's name, that has to be there, and
// says from then on that there are schedules for it.
//
// Errors: messages.ErrNoTopic, ErrInvalid for a schedule without a key and a topic that is
// compacted by key, ErrCorrupt, ErrUnavailable, ErrDenied, ErrNoSpace, and those of change. After ErrUnavailable and the end of ctx it may have been written.
func (l *Log) ChangeSchedule(ctx context.Context, op, name, topic string, change func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error)) (messages.ScheduleInfo, error) {
	key := l.space.Schedule(name)
	for failures := 0; ; {
		info, done, err := l.changeSchedule(ctx, op, key, name, topic, change)
		switch {
		case done || err != nil && (ctx.Err() != nil || !errors.Is(err, messages.ErrUnavailable) || failures == tries):
			return info, err
		case err != nil: // what became of it shows when it is read again
			usualTiming.rest(ctx, failures)
			failures++
		}
	}
}

func (l *Log) changeSchedule(ctx context.Context, op, key, name, topic string, change func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error)) (info messages.ScheduleInfo, done bool, err error) {
	reads := []clientv3.Op{clientv3.OpGet(key)}
	if topic != "" {
		reads = append(reads, clientv3.OpGet(l.space.Topic(topic)))
	}
	found, err := l.do(ctx, op, nil, reads, nil)
	if err != nil {
		return info, false, err
	}
	var old *messages.ScheduleInfo
	guard := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	if resp := ranged(found, 0); len(resp.Kvs) > 0 {
		row, err := l.scheduleIn(op, resp)
		if err != nil && topic == "" {
			return info, false, err
		}
		if err == nil { // what cannot be read is overwritten
			old = &row.ScheduleInfo
		}
		guard = clientv3.Compare(clientv3.Value(key), "=", string(resp.Kvs[0].Value))
	}
	guards, then, compacted := []clientv3.Cmp{guard}, []clientv3.Op(nil), false
	if topic != "" {
		resp := ranged(found, 1)
		t, err := l.topicIn(op, topic, resp)
		if err != nil {
			return info, false, err
		}
		guards = append(guards, clientv3.Compare(clientv3.Value(l.space.Topic(topic)), "=", string(resp.Kvs[0].Value)))
		if compacted = t.Config.Compaction == messages.CompactByKey; !t.Scheduled {
			t.Scheduled = true
			then = append(then, clientv3.OpPut(l.space.Topic(topic), format.TopicValue(t)))
		}
	}
	info, writes, err := change(old)
	if err != nil {
		return info, false, err
	}
	if writes && compacted && len(info.Key) == 0 {
		return info, false, fmt.Errorf("%s: no key: topic %q keeps the newest record of each key: %w", op, topic, messages.ErrInvalid)
	}
	if writes {
		then = append(then, clientv3.OpPut(key, format.ScheduleValue(&info)))
	}
	if len(then) == 0 {
		return info, true, nil
	}
	resp, err := l.do(ctx, op, guards, then, nil)
	if err != nil {
		return info, false, err
	}
	info.Name = name
	if resp.Succeeded && writes {
		info.Revision = resp.Header.Revision
	}
	return info, resp.Succeeded, nil
}

// DeleteSchedule deletes a schedule. One of that name that is made meanwhile stays. Errors:
// messages.ErrNoSchedule, ErrUnavailable, ErrDenied; after the second it may be gone.
func (l *Log) DeleteSchedule(ctx context.Context, name string) error {
	op := "delete schedule " + name
	made := int64(0) // the CreateRevision of what an attempt may have deleted
	for failures := 0; ; {
		done, err := l.deleteSchedule(ctx, op, name, &made)
		switch {
		case done || err != nil && (ctx.Err() != nil || !errors.Is(err, messages.ErrUnavailable) || failures == tries):
			return err
		case err != nil:
			usualTiming.rest(ctx, failures)
			failures++
		}
	}
}

func (l *Log) deleteSchedule(ctx context.Context, op, name string, made *int64) (done bool, err error) {
	key := l.space.Schedule(name)
	found, err := l.get(ctx, op, key)
	if err != nil {
		return false, err
	}
	switch at := createRevision(found); {
	case *made != 0 && at != *made:
		return true, nil
	case at == 0:
		return true, fmt.Errorf("%s: %w", op, messages.ErrNoSchedule)
	}
	resp, err := l.do(ctx, op, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(found.Kvs[0].Value))},
		[]clientv3.Op{clientv3.OpDelete(key)}, nil)
	if err != nil {
		*made = found.Kvs[0].CreateRevision
		return false, err
	}
	return resp.Succeeded, nil // else it has ticked, or was changed
}

// Tick is a step of a schedule: what it is and what it becomes, and the record that is put
// with that.
type Tick struct {
	From, To ScheduleRow
	// Appender is of the partition of the record; nil for a step that puts none. The caller
	// has it to itself for the call.
	Appender *Appender
	// Batch is the record, sealed and never sent.
	Batch *format.Sealed

	state   format.WayState // of a step without a record
	unheard int
	// strayed: the record is where an earlier attempt has put it.
	strayed bool
}

// Base is the offset of the record, once the step is made; -1 when that is not known.
func (t *Tick) Base() int64 {
	if t.Batch == nil || t.strayed {
		return -1
	}
	return t.Batch.Way.Base
}

// askedTwice is how often a step is sent that is not answered.
const askedTwice = 3

// Fire makes a step, all of it or nothing, if the office is o's. It blocks until that is
// done, or refused, or ctx ends. Where others append to the same partition, the record is
// put behind theirs.
//
// The error wraps ErrScheduleMoved, ErrNotKeeper, messages.ErrTopicDeleted, ErrTopicFull,
// ErrDenied, ErrInvalid, ErrNoSpace or ctx's cause, or is a *messages.LimitError. With one
// that wraps messages.ErrUnknownOutcome the step may have been made, or may yet be made:
// Schedule shows the value of To then, and while it shows that of From it may be sent again,
// in any shape.
func (l *Log) Fire(ctx context.Context, o Office, t *Tick) (revision int64, err error) {
	fail := func(err error) (int64, error) {
		if t.doubtful() {
			err = fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err)
		}
		return 0, fmt.Errorf("fire schedule %s: %w", t.From.Name, err)
	}
	for {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		revision, err = l.fire(ctx, o, t)
		switch {
		case err == nil && revision != 0:
			return revision, nil
		case err == nil:
		case !errors.Is(err, messages.ErrUnavailable) || t.unheard >= askedTwice:
			return fail(err)
		default:
			t.unheard++
			usualTiming.rest(ctx, t.unheard)
		}
	}
}

func (t *Tick) way() *format.WayState {
	if t.Batch == nil {
		return &t.state
	}
	return &t.Batch.Way.State
}

func (t *Tick) doubtful() bool { return *t.way() == format.Doubtful }

// fire makes one attempt. Without an error and a revision another one is to be made.
func (l *Log) fire(ctx context.Context, o Office, t *Tick) (revision int64, err error) {
	key, a, s := l.space.Schedule(t.From.Name), t.Appender, t.Batch
	guards := append(l.holds(o), clientv3.Compare(clientv3.Value(key), "=", t.From.Value))
	then := []clientv3.Op{clientv3.OpPut(key, t.To.Value)}
	otherwise := []clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(l.space.Keeper())}
	if a != nil {
		if !t.doubtful() {
			if err := a.place(ctx, s); err != nil {
				return 0, err
			}
		}
		guards = append(append(guards, a.slotGuards(s)...), l.lives(a.p.topic))
		then = append(append(then, a.putOps(s, true)...), a.turn.ops(a.p, 0, s.Way.Behind, false)...)
		otherwise = append(otherwise, a.p.refusalOp(s.Way.Base), exists(l.space.Topic(a.p.topic.Name)))
	}
	before := *t.way()
	*t.way() = format.Doubtful
	resp, err := l.do(ctx, "fire schedule "+t.From.Name, guards, then, otherwise)
	switch {
	case errors.Is(err, messages.ErrDenied), errors.Is(err, messages.ErrInvalid), isLimit(err) != "" && isLimit(err) != messages.LimitResponse:
		*t.way() = before // turned away unread
		return 0, err
	case err != nil:
		return 0, err
	case resp.Succeeded:
		t.landed()
		return resp.Header.Revision, nil
	}
	// This attempt is over. Those before it are not applied any more once what they
	// compare is not so.
	*t.way() = before
	row := ranged(resp, 0)
	var slot refusal
	if a != nil {
		if slot, err = a.p.refusal(s.Way.Base, part(resp, 2, 3)); err != nil {
			return 0, err
		}
	}
	switch {
	case a != nil && slot.judge(s) == hasLanded:
		t.landed()
		return resp.Header.Revision, nil
	case len(row.Kvs) > 0 && string(row.Kvs[0].Value) == t.To.Value:
		t.landed()
		if t.strayed = a != nil; t.strayed {
			a.forget()
		}
		return resp.Header.Revision, nil
	case len(row.Kvs) == 0 || string(row.Kvs[0].Value) != t.From.Value:
		*t.way() = format.Fresh
		return 0, ErrScheduleMoved
	case !o.heldBy(ranged(resp, 1)):
		*t.way() = format.Fresh
		return 0, ErrNotKeeper
	case a == nil: // it came back meanwhile
		return 0, nil
	case !isTopic(kvsOf(resp, 3), a.p.topic):
		*t.way() = format.Fresh
		return 0, messages.ErrTopicDeleted
	}
	// Whatever was sent before can only be applied while the schedule is as it is, and then
	// this is not. So the record may go elsewhere.
	*t.way() = format.Fresh
	if len(slot.entries) > 0 {
		return 0, a.overtaken(ctx, s, slot)
	}
	a.forget()
	return 0, nil
}

// place makes the end of its partition the place of s.
func (a *Appender) place(ctx context.Context, s *format.Sealed) error {
	if a.knows == nothing {
		_, end, err := a.p.bounds(ctx)
		if err != nil {
			return err
		}
		a.learn(end)
	}
	if a.await(ctx); ctx.Err() != nil {
		return ctx.Err()
	}
	return a.goBehind(ctx, s)
}

// landed notes that the step was made.
func (t *Tick) landed() {
	*t.way() = format.Landed
	if t.Appender != nil {
		t.Appender.turn.overtaken = nil
		t.Appender.land(t.Batch)
	}
}
