package keeper

// The job that delivers records when they are due.

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const delaysJob = "delays"

const (
	// delaysEvery is how often the clock is looked at while records wait: it may be set.
	delaysEvery = time.Second
	// delaysLook is how often it is looked what is due, whatever was heard.
	delaysLook = 15 * time.Second
	// delaysRetry is after how long something is tried again that went wrong, and
	// delaysFault when it is about one partition.
	delaysRetry, delaysFault = 500 * time.Millisecond, 5 * time.Second
	// markIdle is how long nothing waits in a partition before its mark is deleted, and a
	// topic is missing before the marks of its partitions are.
	markIdle = 30 * time.Second
	// lateFrom is from when on a delivery is called late.
	lateFrom = time.Second
	// deliveriesPerSecond bounds the deliveries, of which some may follow one another at
	// once. They do not wait for the turns of other jobs: somebody waits for them.
	deliveriesPerSecond, deliveriesAtOnce = 400, 40
	// firstPage is how many records are read of a partition when their size is not known, and
	// readAhead for how many deliveries they are read at once when it is: for each read etcd
	// counts all that is due.
	firstPage, readAhead = 16, 8
)

// delays is one term's. What it knows of a partition is advice: what is written compares
// what was read.
type delays struct {
	marks    *delayMarks
	lease    func() clientv3.LeaseID
	turns    *rate.Limiter
	parts    map[place]*delayedPart
	lists    int
	looked   time.Time
	sequence uint64
}

// unread is the next of a partition of which it is to be read.
const unread = -1

// delayedPart is a partition in which records wait, or did.
type delayedPart struct {
	mark     delayMark
	topic    messages.TopicInfo // without an ID while it is not known
	log      *commitlog.Partition
	appender *commitlog.Appender
	next     int64            // when the first is due; unread, or commitlog.NoneWaits
	near     bool             // and it is not looked further than to the next look
	from     string           // what is before makes no sense
	page     int              // records of the next page
	most     int              // and of the next delivery
	ahead    []format.Waiting // were read, and are not delivered yet
	more     bool             // and more was due behind them
	idle     time.Time
	after    time.Time // not before: something went wrong
	fault    error
	told     map[string]bool // what makes no sense, and was told
}

func newDelays(k *Keeper) *delays {
	return &delays{
		marks: &k.marks, parts: make(map[place]*delayedPart), turns: rate.NewLimiter(deliveriesPerSecond, deliveriesAtOnce),
		lease: func() clientv3.LeaseID { return clientv3.LeaseID(k.node.Trusted.Load()) },
	}
}

// Name is "delays".
func (*delays) Name() string { return delaysJob }

// Do delivers what is due. What is wrong with one partition holds up no other, nor does one of
// which much is due.
func (d *delays) Do(ctx context.Context, w *Work) (time.Duration, error) {
	for {
		seen := d.marks.take()
		if seen.refused != nil {
			return refusedFor, seen.refused
		}
		d.follow(seen)
		if len(d.parts) == 0 {
			return refusedFor, nil
		}
		if err := d.name(ctx, w); err != nil {
			return delaysRetry, err
		}
		if err := d.look(ctx, w); err != nil {
			return delaysRetry, err
		}
		due := d.due(w)
		if len(due) == 0 {
			break
		}
		if err := d.pages(ctx, w, due); err != nil {
			return delaysRetry, err
		}
	}
	if err := d.tidy(ctx, w); err != nil {
		return delaysRetry, err
	}
	return d.rest(w)
}

// pages delivers some of what is due in each of partitions. Its error is none of one
// partition.
func (d *delays) pages(ctx context.Context, w *Work, due []*delayedPart) error {
	for _, p := range due {
		switch err := d.page(ctx, w, p); {
		case errors.Is(err, commitlog.ErrNotKeeper), errors.Is(err, messages.ErrUnavailable), ctx.Err() != nil:
			return err
		case err != nil:
			p.fault, p.after = err, time.Now().Add(delaysFault)
		default:
			p.fault = nil
		}
	}
	return nil
}

// follow takes in the marks.
func (d *delays) follow(seen marksSeen) {
	for at := range d.parts {
		if _, ok := seen.all[at]; !ok {
			delete(d.parts, at)
		}
	}
	listed := seen.lists != d.lists // this may be another etcd
	again := listed || time.Since(d.looked) >= delaysLook
	if again {
		d.lists, d.looked = seen.lists, time.Now()
	}
	for at, mark := range seen.all {
		p := d.parts[at]
		if p == nil {
			p = &delayedPart{next: unread, page: firstPage}
			d.parts[at] = p
		}
		if again || mark.revision < p.mark.revision {
			p.next, p.near = unread, false
		}
		if listed {
			p.from, p.ahead = "", nil
		}
		if mark != p.mark {
			p.mark, p.from, p.ahead = mark, "", nil
			if p.next != unread {
				p.next = min(p.next, mark.due)
			}
		}
	}
}

// name finds the topics of partitions of which they are not known.
func (d *delays) name(ctx context.Context, w *Work) error {
	missing := false
	for _, p := range d.parts {
		missing = missing || p.topic.ID == "" && !time.Now().Before(p.after)
	}
	if !missing {
		return nil
	}
	topics, err := w.Topics(ctx)
	if err != nil {
		return err
	}
	byID := make(map[string]*messages.TopicInfo, len(topics))
	for i := range topics {
		byID[topics[i].ID] = &topics[i]
	}
	for at, p := range d.parts {
		if p.topic.ID != "" {
			continue
		}
		t := byID[at.topic]
		if t == nil { // the list may be older than the mark
			p.after = time.Now().Add(2 * topicsEvery)
			continue
		}
		p.topic, p.log, p.idle, p.after = *t, w.Log.Partition(*t, at.p), time.Time{}, time.Time{}
		p.appender = p.log.Appender(commitlog.AppenderConfig{Producer: rand.Uint64(), Lease: d.lease})
	}
	return nil
}

// look reads when the first record is due where that is not known. Etcd counts whatever is in
// a range that is read, so after a delivery it looks only as far as it has to.
func (d *delays) look(ctx context.Context, w *Work) error {
	var ask []commitlog.Ahead
	var of []*delayedPart
	soon := w.Clock.Now().Add(2 * delaysLook).UnixNano()
	for _, p := range d.parts {
		if p.log == nil || p.next != unread {
			continue
		}
		a := commitlog.Ahead{P: p.log, From: p.from, By: math.MaxInt64}
		if p.near {
			a.By = soon
		}
		ask, of = append(ask, a), append(of, p)
	}
	if len(ask) == 0 {
		return nil
	}
	due, err := w.Log.FirstDue(ctx, ask)
	if err != nil {
		return err
	}
	for i, p := range of {
		p.next = due[i]
		if p.near && p.next == commitlog.NoneWaits {
			p.next = soon // more is known before
		}
		if p.near = false; p.next != commitlog.NoneWaits {
			p.idle = time.Time{}
		}
	}
	return nil
}

// due are the partitions of which something is.
func (d *delays) due(w *Work) (due []*delayedPart) {
	now := w.Clock.Now().UnixNano()
	for _, p := range d.parts {
		if p.log != nil && p.next <= now && !time.Now().Before(p.after) {
			due = append(due, p)
		}
	}
	return due
}

// page delivers some of what is due in a partition.
func (d *delays) page(ctx context.Context, w *Work, p *delayedPart) error {
	now := w.Clock.Now().UnixNano()
	p.next, p.near = unread, true
	if len(p.ahead) == 0 {
		page, err := p.log.Waits(ctx, p.from, now, p.page)
		if err != nil {
			return err
		}
		for _, bad := range page.Bad {
			p.tellBad(w, bad)
		}
		if len(page.Records) == 0 {
			p.from = page.Next
			return nil
		}
		p.ahead, p.more = page.Records, page.More
		p.most = deliverable(p.ahead)
		p.page = p.most * readAhead
	}
	some := p.ahead[:min(len(p.ahead), p.most)]
	if err := turn(ctx, d.turns); err != nil {
		return err
	}
	d.sequence++
	n, err := p.appender.Deliver(ctx, w.Office, some, now, d.sequence)
	var limit *messages.LimitError
	if errors.As(err, &limit) && len(some) > 1 {
		p.most, p.next = len(some)/2, some[0].Due
		return nil
	}
	if err != nil || n == 0 {
		p.ahead = nil // it is not as it was read
		return err
	}
	tellDelivered(w, p, n, time.Duration(w.Clock.Now().UnixNano()-some[0].Due))
	switch p.ahead = p.ahead[n:]; {
	case len(p.ahead) > 0:
		p.next = p.ahead[0].Due
	case p.more:
		p.next = now
	}
	return nil
}

// deliverable is how many records like these are delivered together.
func deliverable(read []format.Waiting) int {
	bytes := 0
	for _, r := range read {
		bytes += len(r.Raw)
	}
	return min(max(1, messages.MaxBatchBytes*len(read)/(bytes+1)), commitlog.DeliveredTogether)
}

// tellBad tells once of a record that cannot be delivered. It stays where it is.
func (p *delayedPart) tellBad(w *Work, err error) {
	if p.told[err.Error()] {
		return
	}
	if p.told == nil {
		p.told = make(map[string]bool)
	}
	p.told[err.Error()] = true
	offset := int64(0)
	if c := (*commitlog.CorruptError)(nil); errors.As(err, &c) {
		offset = c.Base
	}
	w.Emit(messages.BatchCorrupt{Topic: p.topic.Name, Partition: p.log.Number(), Offset: offset, Err: err})
}

// tellDelivered counts records that were delivered, and tells of them.
func tellDelivered(w *Work, p *delayedPart, n int, late time.Duration) {
	w.Count(func(s *messages.KeeperStats) { s.Delivered += uint64(n) })
	w.Emit(messages.RecordsDelivered{Topic: p.topic.Name, Partition: p.log.Number(), Count: n, Late: late})
	if late >= lateFrom {
		w.Emit(messages.RecordsLate{Topic: p.topic.Name, Partition: p.log.Number(), Count: n, Late: late})
	}
}

// tidy deletes the marks of partitions in which nothing waits for a while, and of topics that
// are gone.
func (d *delays) tidy(ctx context.Context, w *Work) error {
	for at, p := range d.parts {
		if p.log != nil && p.next != commitlog.NoneWaits {
			continue
		}
		if p.idle.IsZero() {
			p.idle = time.Now()
		}
		if time.Since(p.idle) < markIdle {
			continue
		}
		if err := w.Turn(ctx); err != nil {
			return err
		}
		p.idle = time.Time{}
		if p.log == nil {
			if err := w.Log.UnmarkGone(ctx, w.Office, at.topic, at.p, p.mark.revision); err != nil {
				return err
			}
			continue
		}
		gone, err := p.log.Unmark(ctx, w.Office, p.mark.revision)
		switch {
		case errors.Is(err, messages.ErrTopicDeleted):
			p.log, p.topic = nil, messages.TopicInfo{}
		case err != nil:
			return err
		case !gone:
			p.next, p.near = unread, false
		}
	}
	return nil
}

// rest is how long nothing is due, and what is wrong.
func (d *delays) rest(w *Work) (time.Duration, error) {
	now := w.Clock.Now().UnixNano()
	wait := delaysEvery
	var faults []error
	for at, p := range d.parts {
		switch {
		case errors.Is(p.fault, messages.ErrTopicDeleted):
			d.parts[at] = &delayedPart{mark: p.mark, next: unread, most: firstPage}
			continue
		case p.log == nil:
			continue
		}
		faults = append(faults, p.fault)
		left := time.Duration(p.next - now)
		if p.next == unread {
			left = 0
		}
		wait = min(wait, max(left, time.Until(p.after), 0))
	}
	return wait, errors.Join(faults...)
}
