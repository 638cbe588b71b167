package commitlog

// What became of a transaction whose attempt was not applied: the same read says what
// hindered it and whether an earlier attempt was.

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// The values of marks.
const (
	markDone = "done" // the transaction was applied
	markVoid = "void" // it never will be
)

// mostSpent is how many marks of others a transaction removes.
const mostSpent = 4

func (t *Transaction) mark() string {
	return t.log.space.Transaction(fmt.Sprintf("%016x-%d", t.Producer, t.Sequence))
}

// landedMark notes that the mark is of no use any more, if every attempt was answered: one
// that comes late must find it. That one ends with the session.
func (t *Transaction) landedMark() {
	t.spent = nil
	if t.marked != 0 && t.unheard == 0 {
		t.spent = []string{t.mark()}
	}
}

// returnSpent hands over to others the marks that are to be removed.
func (t *Transaction) returnSpent() {
	s := &t.log.steps
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent = append(s.spent, t.spent...)
	t.spent = nil
}

func (s *steps) takeSpent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.spent), mostSpent)
	taken := append([]string(nil), s.spent[:n]...)
	s.spent = s.spent[n:]
	return taken
}

// evidence is what an attempt found that was not applied.
type evidence struct {
	slots  []refusal  // by output
	places []standing // by input
	mark   string     // its value, empty for none
	holds  bool       // what the user compares
}

// evidence reads the response to an attempt. The error is a *CorruptError.
func (t *Transaction) evidence(resp *clientv3.TxnResponse) (evidence, error) {
	e := evidence{holds: true}
	at := 0
	for i := range t.Outputs {
		r, err := t.Outputs[i].Appender.p.refusal(t.Outputs[i].Batch.Way.Base, part(resp, at, at+1))
		if err != nil {
			return e, err
		}
		e.slots = append(e.slots, r)
		at++
	}
	for range t.Inputs {
		e.places = append(e.places, standingIn(ranged(resp, at).Kvs, createRevision(ranged(resp, at+1)), resp.Header.Revision))
		at += 2
	}
	if t.needsMark() {
		if kvs := kvsOf(resp, at); len(kvs) > 0 {
			e.mark = string(kvs[0].Value)
		}
		at++
	}
	if len(t.If) > 0 {
		e.holds = nested(resp, at).Succeeded
	}
	return e, nil
}

// isBy reports whether a committed offset was written by t.
func (t *Transaction) isBy(c *pb.Committed) bool {
	return c.GetProducer() == t.Producer && c.GetSequence() == t.Sequence
}

// landed reports whether e shows that an attempt was applied.
func (t *Transaction) landed(e evidence) bool {
	for i, r := range e.slots {
		if s := t.Outputs[i].Batch; len(r.entries) > 0 && r.entries[0].Producer == s.Producer && r.entries[0].Sequence == s.Sequence {
			return true
		}
	}
	for i, p := range e.places {
		if t.Inputs[i].moves() && t.isBy(p.value) {
			return true
		}
	}
	return e.mark == markDone
}

// landEarlier notes that an earlier attempt was applied.
func (t *Transaction) landEarlier(e evidence) {
	t.state = format.Landed
	for i := range t.Outputs {
		t.Outputs[i].Appender.turn.doubt()
		t.Outputs[i].Appender.land(t.Outputs[i].Batch)
	}
	for i := range t.Inputs {
		if in := &t.Inputs[i]; in.moves() && i < len(e.places) && t.isBy(e.places[i].value) {
			in.Position.Known = e.places[i].modRevision
		}
	}
	t.landedMark()
}

// conclude acts upon what an attempt found. Without an error t has landed, or is to be
// sent again.
func (t *Transaction) conclude(ctx context.Context, e evidence) error {
	if t.landed(e) {
		t.landEarlier(e)
		return nil
	}
	moved, err := t.otherSlots(ctx, e)
	if err != nil {
		return err
	}
	again, err := t.otherPlaces(ctx, e)
	switch {
	case err != nil:
		return err
	case !e.holds:
		return t.refusedByUser(ctx)
	case moved || again:
		return nil
	case e.mark == markVoid:
		return fmt.Errorf("its mark says that it is void: %w", messages.ErrCorrupt)
	}
	return t.why(ctx)
}

// otherSlots is for slots that are other batches' by now: t never was applied with
// its own there, and never will be. It goes behind them.
func (t *Transaction) otherSlots(ctx context.Context, e evidence) (moved bool, err error) {
	for i, r := range e.slots {
		if len(r.entries) > 0 {
			moved = true
			t.state = format.Fresh
			if err := t.Outputs[i].Appender.overtaken(ctx, t.Outputs[i].Batch, r); err != nil {
				return moved, err
			}
		}
	}
	for i, r := range e.slots {
		if o := &t.Outputs[i]; len(r.entries) > 0 && o.End != AnyEnd {
			return moved, o.conflict()
		}
	}
	return moved, nil
}

// otherPlaces is for claims that are lost, and for offsets that are not as they were
// known. A claim that is gone never comes back, and no more does a revision.
func (t *Transaction) otherPlaces(ctx context.Context, e evidence) (again bool, err error) {
	for i, found := range e.places {
		in := &t.Inputs[i]
		mine, same := found.claim == in.Position.Fence, !in.moves() || found.modRevision == in.Position.Known
		switch {
		case mine && same:
			continue
		case !mine, found.isUnheard(in.Position), judge(commits, in.Position, found) == refused:
			in.Fenced = true
			err = errors.Join(err, fenced("move a group", in.Position))
		default: // an earlier commit of this member's, that it has not heard of
			in.Position.Known = found.modRevision
			again = true
		}
	}
	if err == nil {
		if again {
			t.state = format.Fresh
		}
		return again, nil
	}
	if t.state == format.Doubtful && !t.isAbsent(ctx, e) {
		return false, fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err)
	}
	t.state = format.Fresh
	return false, err
}

// isAbsent reports whether e shows that t was not applied, though it does not say so by
// what is there instead.
func (t *Transaction) isAbsent(ctx context.Context, e evidence) bool {
	if len(t.Outputs) > 0 { // the slot is free, unless it was trimmed
		r, err := t.Outputs[0].Appender.p.why(ctx, t.Outputs[0].Batch.Way.Base)
		return err == nil && r.alive && r.start <= r.base
	}
	for i, found := range e.places {
		if in := &t.Inputs[i]; in.moves() && found.modRevision == in.Position.Known {
			return true
		}
	}
	return false
}

// refusedByUser is for what the user compares and does not hold. An attempt that may be
// under way yet must not be applied when it does.
func (t *Transaction) refusedByUser(ctx context.Context) error {
	if t.state == format.Doubtful {
		if err := t.void(ctx); err != nil || t.state == format.Landed {
			return err
		}
	}
	return messages.ErrCondition
}

// void makes sure that no attempt is applied any more, or finds that one was: t is
// fresh then, or has landed.
func (t *Transaction) void(ctx context.Context) error {
	l := t.log
	in := t.move()
	if in == nil {
		resp, err := l.do(ctx, "make it void", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(t.mark()), "=", 0)},
			[]clientv3.Op{clientv3.OpPut(t.mark(), markVoid, clientv3.WithLease(t.marked))}, []clientv3.Op{clientv3.OpGet(t.mark())})
		switch {
		case err != nil:
			return err
		case !resp.Succeeded && string(kvsOf(resp, 0)[0].Value) == markDone:
			t.landEarlier(evidence{})
		default:
			t.state = format.Fresh
		}
		return nil
	}
	claim, committed := in.keys(l)
	stays := in.Position
	stays.Offset, stays.Base, stays.Progress = in.From, in.FromBase, in.FromProgress
	resp, err := l.do(ctx, "make it void", positionGuards(in.Position, claim, committed),
		[]clientv3.Op{clientv3.OpPut(committed, committedValue(stays, 0, 0))}, []clientv3.Op{clientv3.OpGet(committed), exists(claim)})
	if err != nil {
		return err
	}
	if resp.Succeeded {
		in.Position.Known = resp.Header.Revision
		t.state = format.Fresh
		return nil
	}
	e, err := t.now(ctx)
	if err != nil {
		return err
	}
	if t.landed(e) {
		t.landEarlier(e)
		return nil
	}
	_, err = t.otherPlaces(ctx, e)
	return err
}

// now asks for the evidence as it is now.
func (t *Transaction) now(ctx context.Context) (evidence, error) {
	r := t.request()
	resp, err := t.log.do(ctx, "look what became of it", nil, r.otherwise, nil)
	if err != nil {
		return evidence{}, err
	}
	return t.evidence(resp)
}

// look is for an attempt that ended with an error of etcd although it may have been
// applied: it is over, so what is there now decides.
func (t *Transaction) look(ctx context.Context, before format.WayState, cause error) error {
	e, err := t.now(ctx)
	if err != nil {
		return errors.Join(cause, err)
	}
	if t.landed(e) {
		t.landEarlier(e)
		return nil
	}
	t.state = before
	return cause
}

// why finds out what hindered t besides: a topic that was deleted, a log that was
// trimmed, or set back.
func (t *Transaction) why(ctx context.Context) error {
	for i := range t.Outputs {
		a, s := t.Outputs[i].Appender, t.Outputs[i].Batch
		r, err := a.p.why(ctx, s.Way.Base)
		switch {
		case err != nil:
			return err
		case len(r.entries) > 0: // it came since
			return nil
		case !r.alive:
			t.state = format.Fresh
			return fmt.Errorf("topic %q: %w", a.p.topic.Name, messages.ErrTopicDeleted)
		case r.start > r.base && t.state == format.Doubtful:
			a.knows = nothing
			return fmt.Errorf("%w: what was at offset %d of %s is trimmed", messages.ErrUnknownOutcome, s.Way.Base, a.p)
		}
		a.forget()
	}
	t.state = format.Fresh
	if len(t.Outputs) == 0 {
		return fmt.Errorf("it was refused, and everything is as it has to be: %w", messages.ErrUnavailable)
	}
	return nil
}
