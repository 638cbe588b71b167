package commitlog

// Appending: one guarded transaction, sent until its outcome is known.
//
//	fresh ──send──▶ doubtful ──▶ landed
//	  ▲                │ ╲
//	  └── the slot is another's: it never was applied, and never will be
//
// A batch is sent to one base at a time. While an attempt there may still be
// applied, it is sent to no other: the guard on the slot lets one attempt in, and
// the index entry in the slot says whose it was. Once the slot is another's, no
// attempt at it can be applied any more, so the batch may be put elsewhere.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
	"github.com/penstock-io/penstock/transport/commitlog/internal/joined"
)

// AppenderConfig says for whom an Appender appends.
type AppenderConfig struct {
	// Producer names the appender's tickets: no two appenders of a partition
	// that are in use may have the same.
	Producer uint64
	// Lease is the one that holds tickets, 0 while there is none; nil counts
	// as none. Without a ticket appends work, if less fairly.
	Lease func() clientv3.LeaseID
	// Delayed is called for each failure after which an append is tried again.
	// It may be nil.
	Delayed func(error)
	// Expires is called once a batch was put with records that expire by themselves: some
	// keeper has to delete them. It must not block, and may be nil.
	Expires func()
	// Info is the topic as it is known now, for its limits; nil is one without.
	Info func() *messages.TopicInfo
}

// Appender appends to one partition. It remembers the end of the partition and
// its place in the queue, so that an append is one request when no other appender
// is active. One goroutine at a time uses it.
type Appender struct {
	p       *Partition
	cfg     AppenderConfig
	timing  timing
	turn    turn
	end     format.LogEnd
	knows   knowledge
	appends int

	patience patience
	ear      ear
	item     *joined.Item[slot, parcel]
	// floor is where the partition begins, for a topic that refuses what is too much.
	floor floor
	// marked is set once a batch with records that expire was put, and with it the mark that
	// says so, until the mark is found to be gone.
	marked bool
	// apart is set while appends go by themselves: etcd refused the last one.
	apart bool
}

// knowledge says whether an appender knows the end of its partition: it may have
// moved on since, never back.
type knowledge uint8

const (
	nothing knowledge = iota
	theEnd
)

// timing is how patient an appender is.
type timing struct {
	// attempt bounds one request: an etcd that hangs counts as unreachable.
	attempt time.Duration
	// pauses after failures grow from shortest to longest.
	shortest, longest time.Duration
	// barge is how long the head of the queue may do nothing.
	barge time.Duration
	// crowd is how long after it met others it takes tickets.
	crowd time.Duration
}

var usualTiming = timing{
	attempt: 5 * time.Second, shortest: 20 * time.Millisecond, longest: 2 * time.Second,
	barge: time.Second, crowd: time.Second,
}

// hintEvery is how many appends of an appender go between two hints.
const hintEvery = 256

// Appender makes an appender. It does not talk to etcd.
func (p *Partition) Appender(cfg AppenderConfig) *Appender {
	if cfg.Lease == nil {
		cfg.Lease = func() clientv3.LeaseID { return 0 }
	}
	if cfg.Expires == nil {
		cfg.Expires = func() {}
	}
	if cfg.Delayed == nil {
		cfg.Delayed = func(error) {}
	}
	return &Appender{p: p, cfg: cfg, timing: usualTiming, item: joined.NewItem[slot](parcel{})}
}

// Append puts s at the end of the partition and returns its base. It blocks until
// that is committed, or refused, or ctx ends; while etcd is unreachable it tries
// again. more says that another batch follows at once: when others append too, it
// keeps a place in the queue for it.
//
// The same batch may be given again, to this appender or another one: the outcome
// of earlier attempts is found out first, and for a batch that was appended its
// base is returned. Nothing is ever appended twice.
//
// The error wraps
//   - messages.ErrUnknownOutcome when ctx ended, or the evidence was trimmed,
//     while an attempt may have been, or may yet be, applied; ctx's cause too;
//   - messages.ErrTopicDeleted, ErrTopicFull, ErrNoSpace, ErrDenied or ErrInvalid, or ctx's
//     cause alone, or is a *CorruptError: and then it is not in the log and will
//     not be;
//   - a *messages.LimitError when this etcd takes no batch that large, or its
//     client sends none: the same, and parts of it may be appended. A batch of
//     several records that is larger than what was refused before is not sent;
//   - format.ErrBehind when the partition does not end at s.Only: nothing that was
//     sent of it can be applied any more, and Back shows what is there.
//
// Any other error is returned after some attempts, with ErrUnknownOutcome unless
// the batch was never sent.
func (a *Appender) Append(ctx context.Context, s *format.Sealed, more bool) (base int64, err error) {
	if s.Way.State == format.Landed {
		return s.Way.Base, nil
	}
	if err := s.Check(); err != nil {
		return 0, a.failed(err)
	}
	if most := a.p.log.limits.body.Load(); s.Way.State == format.Fresh && s.Count > 1 && int64(s.Bytes()) > most {
		return 0, a.failed(&messages.LimitError{Limit: messages.LimitRequest, Err: fmt.Errorf("%d bytes, and %d were too much before", s.Bytes(), 2*most)})
	}
	for failures, odd := 0, 0; ; {
		if ctx.Err() != nil {
			return 0, a.gaveUp(s, context.Cause(ctx))
		}
		err := a.step(ctx, s, more)
		switch {
		case err == nil && s.Way.State == format.Landed:
			return s.Way.Base, nil
		case err == nil:
			failures, odd = 0, 0
		case ctx.Err() != nil:
			return 0, a.gaveUp(s, context.Cause(ctx))
		case a.p.log.isFinal(err) || odd == oddTries || errors.Is(err, format.ErrBehind):
			return 0, a.gaveUp(s, err)
		default:
			if !errors.Is(err, messages.ErrUnavailable) {
				odd++
			}
			a.cfg.Delayed(err)
			a.timing.rest(ctx, failures)
			failures++
		}
	}
}

// oddTries is how many attempts are made in spite of an error that has no name.
const oddTries = 8

// gaveUp is the error of an append that ends without success.
func (a *Appender) gaveUp(s *format.Sealed, cause error) error {
	if s.Way.State == format.Doubtful && !errors.Is(cause, messages.ErrUnknownOutcome) {
		return a.failed(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, cause))
	}
	return a.failed(cause)
}

func (a *Appender) failed(err error) error { return fmt.Errorf("append to %s: %w", a.p, err) }

// step makes one attempt, or one step towards it. Without an error, s has landed
// or another step is needed.
func (a *Appender) step(ctx context.Context, s *format.Sealed, more bool) error {
	if s.Way.State == format.Fresh {
		if a.knows == nothing {
			_, t, err := a.p.bounds(ctx)
			if err != nil {
				return err
			}
			a.learn(t)
		}
		if a.await(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.goBehind(ctx, s); err != nil {
			return err
		}
	}
	return a.attempt(ctx, s, more)
}

func (a *Appender) learn(t format.LogEnd) { a.end, a.knows = t, theEnd }

// forget is for what does not stand as it was known: that the partition begins earlier
// than before is seen by nothing else.
func (a *Appender) forget() { a.knows, a.floor = nothing, floor{} }

// attempt sends s to its base and concludes what it can from the response.
func (a *Appender) attempt(ctx context.Context, s *format.Sealed, more bool) error {
	leave, err := a.p.log.room.enter(ctx, s.Bytes())
	if err != nil {
		return err
	}
	defer leave()
	before := s.Way.State
	s.Way.State = format.Doubtful
	lease := a.lease()
	resp, err := a.send(ctx, s, lease, more)
	switch {
	case errors.Is(err, errNotSent):
		s.Way.State = before
		return err
	case errors.Is(err, errUntold): // the next attempt finds out what became of it
		return nil
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		// etcd looks at the lease before it writes anything, and this attempt
		// is no longer under way.
		s.Way.State = before
		a.turn.lost(lease)
		return nil
	case errors.Is(err, messages.ErrNoSpace):
		return a.look(ctx, s, before, err)
	case errors.Is(err, messages.ErrDenied), errors.Is(err, messages.ErrInvalid):
		// Turned away unread.
		s.Way.State = before
		a.apart = true
		return err
	case isLimit(err) != "":
		return a.limited(s, before, err)
	case err != nil:
		return err
	case resp.Succeeded:
		a.turn.took(resp, a.timing)
		a.land(s)
		return nil
	}
	// This attempt is over. Those before it, if any, may not be.
	s.Way.State = before
	r, err := a.p.refusal(s.Way.Base, resp)
	if err == nil && len(r.entries) == 0 {
		r, err = a.p.why(ctx, s.Way.Base)
	}
	if err != nil {
		return err
	}
	return a.refused(ctx, s, r)
}

// limited is for an attempt that ran into a limit of this etcd, or of its client.
func (a *Appender) limited(s *format.Sealed, before format.WayState, err error) error {
	l := a.p.log.limits
	switch isLimit(err) {
	case messages.LimitResponse: // it may have been applied; the next attempt finds out
		if l.fewer(pages, l.of(pages), err) {
			return nil
		}
		return err
	case messages.LimitOps:
		s.Way.State = before
		if n := len(a.turn.overtaken); l.fewer(overtook, n, err) {
			a.turn.overtaken = a.turn.overtaken[:n/2]
			return nil
		}
		return err
	default:
		s.Way.State = before
		if s.Count > 1 {
			lower(&l.body, int64(s.Bytes()/2))
		}
		return err
	}
}

// land notes that s is in the log.
func (a *Appender) land(s *format.Sealed) {
	s.Way.State = format.Landed
	a.apart = false
	a.learn(s.Way.Behind)
	a.appends++
	if s.Expires != 0 && !a.marked {
		a.marked = true
		a.cfg.Expires()
	}
	if a.turn.place != waiting {
		a.ear.close()
	}
}

// send is the transaction of an append, once.
func (a *Appender) send(ctx context.Context, s *format.Sealed, lease clientv3.LeaseID, more bool) (*clientv3.TxnResponse, error) {
	p := a.p
	guards := append(a.slotGuards(s), p.log.lives(p.topic))
	if s.Expires != 0 && a.marked { // the keeper removes a mark that nothing stands behind
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(p.expiringKey()), ">", 0))
	}
	then := append(a.putOps(s, !a.marked), a.turn.ops(p, lease, s.Way.Behind, more)...)
	one := parcel{txn: p.log.wire.encode(guards, then, p.refusalOp(s.Way.Base))}
	if len(s.Later()) > 0 { // it has more operations than one of several may have
		return a.alone(ctx, one)
	}
	return a.carry(ctx, one, s.Bytes())
}

// look is for an attempt that ended with an error of etcd although it may have been
// applied: it is over, so what is in the slot now decides.
func (a *Appender) look(ctx context.Context, s *format.Sealed, before format.WayState, cause error) error {
	r, err := a.p.why(ctx, s.Way.Base)
	if err != nil {
		return errors.Join(cause, err)
	}
	if r.isEmpty() {
		s.Way.State = before
		return cause
	}
	if err := a.refused(ctx, s, r); err != nil || s.Way.State == format.Landed {
		return err
	}
	return cause
}

// refused acts upon what is in the slot in place of the last attempt.
func (a *Appender) refused(ctx context.Context, s *format.Sealed, r refusal) error {
	v := r.judge(s)
	if v == notTheEnd && s.Expires != 0 && a.marked {
		// Or the mark is gone. Earlier attempts may land once somebody puts it: so the next one
		// goes to the same slot, and puts it.
		a.marked = false
		return nil
	}
	switch v {
	case hasLanded:
		a.turn.doubt()
		a.land(s)
		return nil
	case topicGone:
		// With the topic everything is gone that may have been applied.
		s.Way.State = format.Fresh
		return messages.ErrTopicDeleted
	case evidenceGone:
		a.knows = nothing
		return fmt.Errorf("%w: what was at offset %d is trimmed", messages.ErrUnknownOutcome, s.Way.Base)
	case slotTrimmed, notTheEnd:
		s.Way.State = format.Fresh
		a.forget()
		return nil
	}
	s.Way.State = format.Fresh
	return a.overtaken(ctx, s, r)
}

// overtaken learns the end from what is in the slot of s in place of s.
func (a *Appender) overtaken(ctx context.Context, s *format.Sealed, r refusal) error {
	a.turn.clashed(s.Bytes(), a.timing)
	a.learn(r.end())
	if r.complete() {
		return nil
	}
	// The rest of the entries need not be read to find the end.
	t, err := a.p.seek(ctx, searchFrom(a.end))
	if err != nil {
		a.knows = nothing
		return err
	}
	a.learn(t)
	return nil
}

// refusal is what a transaction found that did not append.
type refusal struct {
	base  int64
	alive bool // the topic is there, and the partition's start
	start int64
	// entries follow one another from base on; full says that there may be
	// more.
	entries []format.Entry
	full    bool
}

// refusalPage is how many entries a refusal has, in so many offsets.
const refusalPage, refusalWindow = 128, 4 * window

func (p *Partition) refusalPage() int { return min(refusalPage, p.log.limits.of(pages)) }

// refusalOp asks what stands in the slot, and after it. Nearly always that shows
// why an append was refused; whatever else each append asked for would cost time.
func (p *Partition) refusalOp(base int64) clientv3.Op {
	return clientv3.OpGet(p.indexKey(base), clientv3.WithRange(p.indexKey(base+refusalWindow)), clientv3.WithLimit(int64(p.refusalPage())))
}

// why asks for all that shows why an append at base was refused.
func (p *Partition) why(ctx context.Context, base int64) (refusal, error) {
	resp, err := p.log.do(ctx, "look for what is in "+p.String(), nil, []clientv3.Op{
		p.refusalOp(base), clientv3.OpGet(p.startKey()), exists(p.log.space.Topic(p.topic.Name)),
	}, nil)
	if err != nil {
		return refusal{}, err
	}
	r, err := p.refusal(base, resp)
	if err != nil {
		return r, err
	}
	start, ok, err := p.parseStart(kvsOf(resp, 1))
	if err != nil {
		return r, err
	}
	r.start, r.alive = start, ok && isTopic(kvsOf(resp, 2), p.topic)
	return r, nil
}

// refusal reads the response to refusalOp, the first of resp. The error is a
// *CorruptError.
func (p *Partition) refusal(base int64, resp *clientv3.TxnResponse) (refusal, error) {
	r := refusal{base: base, alive: true}
	found := kvsOf(resp, 0)
	at := base
	for i, kv := range found {
		e, err := p.parse(kv)
		if err != nil {
			return r, err
		}
		if e.Base != at {
			// base is no longer the start of a batch, or entries after it were
			// trimmed: start shows which.
			r.full = i > 0
			return r, nil
		}
		r.entries = append(r.entries, e)
		at = e.End()
	}
	r.full = len(found) >= p.refusalPage() || at >= base+refusalWindow
	return r, nil
}

func isTopic(kvs []*mvccpb.KeyValue, t messages.TopicInfo) bool {
	return len(kvs) == 1 && kvs[0].CreateRevision == t.CreateRevision
}

// isEmpty reports whether nothing hinders an append at base, and nothing is there.
func (r refusal) isEmpty() bool { return r.alive && r.start <= r.base && len(r.entries) == 0 }

// end is the last end that r knows of.
func (r refusal) end() format.LogEnd {
	return r.entries[len(r.entries)-1].LogEnd()
}

// complete reports whether there was nothing after end.
func (r refusal) complete() bool { return !r.full }

// verdict is what a refusal means for the batch that was refused.
type verdict uint8

const (
	hasLanded    verdict = iota // an earlier attempt was applied
	slotTaken                   // by another batch: none of ours ever will be there
	slotTrimmed                 // the slot is before the start, and nothing of ours was ever sent there
	evidenceGone                // the same, and something was
	topicGone
	notTheEnd // the batch before it is not there any more
)

// judge says what r means for s, whose attempts at the slot may have been
// applied if it is doubtful.
func (r refusal) judge(s *format.Sealed) verdict {
	switch {
	case len(r.entries) > 0 && r.entries[0].Producer == s.Producer && r.entries[0].Sequence == s.Sequence:
		return hasLanded
	case !r.alive:
		return topicGone
	case len(r.entries) > 0:
		return slotTaken
	case r.start > r.base && s.Way.State == format.Doubtful:
		return evidenceGone
	case r.start > r.base:
		return slotTrimmed
	default:
		return notTheEnd
	}
}
