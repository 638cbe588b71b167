package groups

// One transaction for what records lead to: what is put because of them, the user's own
// keys, and how far the group is.
//
// The transaction is made on the goroutine of the caller, for whom the actor holds back
// its commits meanwhile: the offset of a partition has one writer at a time.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// setPartitions bounds the partitions that one transaction moves: each takes two of the
// 128 comparisons that etcd allows.
const setPartitions = 16

// Tx gathers a transaction. One goroutine uses it, while the function runs that it was
// given to.
type Tx struct {
	// Out is what is put.
	Out topiclog.Outgoing

	ctx   context.Context
	ifs   []commitlog.Cmp
	thens []commitlog.Op
	acks  []messages.Record
	fault error
	over  bool
}

// NewTx makes a transaction with nothing in it, for a call with that context.
func NewTx(ctx context.Context) *Tx { return &Tx{ctx: ctx} }

// Context is that of the call.
func (tx *Tx) Context() context.Context { return tx.ctx }

// If is penstock.Tx.If.
func (tx *Tx) If(cs ...commitlog.Cmp) { tx.live("If"); tx.ifs = append(tx.ifs, cs...) }

// Then is penstock.Tx.Then.
func (tx *Tx) Then(ops ...commitlog.Op) { tx.live("Then"); tx.thens = append(tx.thens, ops...) }

// Ack is penstock.Tx.Ack.
func (tx *Tx) Ack(recs ...messages.Record) { tx.live("Ack"); tx.acks = append(tx.acks, recs...) }

// GivenNone returns what is wrong when the transaction acks records and was given none.
func (tx *Tx) GivenNone() error {
	if len(tx.acks) == 0 {
		return nil
	}
	r := tx.acks[0]
	return fmt.Errorf("ack of topic %q, partition %d, offset %d: %w: the transaction was given no records", r.Topic, r.Partition, r.Offset, messages.ErrInvalid)
}

// Fail lets the transaction fail with err.
func (tx *Tx) Fail(err error) { tx.fault = errors.Join(tx.fault, err) }

// Put counts as use of tx by Put.
func (tx *Tx) Put() { tx.live("Put") }

// live panics when the function that tx was given to has returned: what is added then
// would be lost.
func (tx *Tx) live(what string) {
	if tx.over {
		panic("penstock: " + what + " on a Tx whose function has returned")
	}
}

// Fill has the user's function fill tx, and returns why the transaction is not made.
func (tx *Tx) Fill(fn func(*Tx) error) error {
	defer func() { tx.over = true }()
	return cmp.Or(fn(tx), tx.fault)
}

// Send writes tx in one transaction of etcd, with inputs, which may be none.
func (tx *Tx) Send(ctx context.Context, env *topiclog.Env, inputs []commitlog.Input, delayed func(error)) (moved []commitlog.Input, err error) {
	t := env.Log.Begin()
	t.Inputs, t.If, t.Then, t.Delayed = inputs, tx.ifs, tx.thens, delayed
	t.Lease = func() clientv3.LeaseID { return clientv3.LeaseID(env.Lease.Load()) }
	err = tx.Out.Send(ctx, env.Log, t)
	return t.Inputs, err
}

// Questions and facts.
type (
	// mayMove asks for the right to move claims by a transaction of the caller's. It is
	// answered with *mayMove itself, and ended by *moved, also when nobody has waited for
	// the answer.
	mayMove struct{ asker *actor.PID }
	// moved ends it. lost are claims that are not to be held any more: of forfeited ones
	// it is not known whether they were moved.
	moved struct {
		of        *mayMove
		lost      []*prefetch.Claim
		forfeited []*prefetch.Claim
		cause     error
	}
)

func (a *subscription) mayMove(ctx actor.Context, m *mayMove) {
	m.asker = ctx.Sender()
	a.commits.asking = append(a.commits.asking, m)
	a.grant(ctx)
}

// grant lets the next transaction begin when nothing else writes offsets.
func (a *subscription) grant(ctx actor.Context) {
	c := &a.commits
	if c.running != commitIdle || len(a.releasing) > 0 || len(c.asking) == 0 {
		return
	}
	c.running, c.granted, c.asking = commitGranted, c.asking[0], c.asking[1:]
	supervisor.Notify(ctx, c.granted.asker, c.granted)
}

func (a *subscription) moved(ctx actor.Context, m *moved) {
	c := &a.commits
	for i, asking := range c.asking {
		if asking == m.of { // it has not waited
			c.asking = append(c.asking[:i:i], c.asking[i+1:]...)
			break
		}
	}
	for _, claim := range m.lost {
		if h := a.holds[claim.Partition]; h != nil && h.c == claim {
			a.lose(ctx, claim, m.cause)
		}
	}
	if len(m.forfeited) > 0 {
		a.forfeit(ctx, m.forfeited, m.cause)
	}
	if c.granted == m.of {
		c.granted, c.running = nil, commitIdle
		a.releaseIdle()
		if len(c.next) > 0 || a.sub.async.waits() {
			a.commit(ctx)
		}
		a.grant(ctx)
	}
	if len(m.lost)+len(m.forfeited) > 0 {
		a.emptied(ctx)
		a.decide(ctx)
	}
}

// forfeit gives up claims in etcd, so that a transaction that may be under way moves
// nothing any more. They are claimed again then, and begin where the group is.
func (a *subscription) forfeit(ctx actor.Context, claims []*prefetch.Claim, cause error) {
	positions := make([]format.Position, len(claims))
	for i, c := range claims {
		positions[i] = format.Position{Partition: c.Partition, Fence: c.Fence, Offset: -1, Base: -1}
		if h := a.holds[c.Partition]; h != nil && h.c == c {
			a.lose(ctx, c, cause)
		}
	}
	if a.state != subLeaving {
		a.releaseOrphans(positions)
	}
}

// fnError is an error of the user's function, which may succeed with the same records.
type fnError struct{ error }

// Unwrap is what the function returned.
func (e fnError) Unwrap() error { return e.error }

// Transact is penstock.Subscription.Transact.
func (s *Subscription) Transact(ctx context.Context, limit int, fn func(*Tx, []messages.Record) error) (int, error) {
	if err := errors.Join(node.ContextGiven(ctx), node.HandlerGiven(fn == nil)); err != nil {
		return 0, fmt.Errorf("%s: %w", s.transacting(), err)
	}
	if err := cmp.Or(s.refuses("Transact", transactInstead), s.unused()); err != nil {
		return 0, fmt.Errorf("%s: %w", s.transacting(), err)
	}
	n, _, err := s.transactOnce(ctx, limit, fn)
	if err != nil {
		var of fnError
		if errors.As(err, &of) {
			err = of.error
		}
		return n, fmt.Errorf("%s: %w", s.transacting(), err)
	}
	return n, nil
}

// unused is why a subscription with middleware makes no transactions: it surrounds the
// handling of one record, and would be passed over in silence.
func (s *Subscription) unused() error {
	if len(s.cfg.Use) == 0 {
		return nil
	}
	return fmt.Errorf("middleware of UseRecords, Recover, Timeout or Throttle is not called around a transaction, which has several records: call it in the function, or use a subscription without: %w", messages.ErrInvalid)
}

// transactInstead is what takes the place of a transaction in a shared group.
const transactInstead = "use a group that is not shared, or Runtime.Transact and what makes a second handling harmless"

func (s *Subscription) transacting() string {
	return fmt.Sprintf("transact in group %q of %q", s.cfg.Group, s.cfg.Topic)
}

// transactOnce returns the first record of the set, too.
func (s *Subscription) transactOnce(ctx context.Context, limit int, fn func(*Tx, []messages.Record) error) (n int, first messages.Record, err error) {
	set, err := s.buffer.TakeSet(ctx, limit, setPartitions)
	if err != nil {
		return 0, first, err
	}
	first = set.Records[0]
	ended := false
	defer func() {
		if !ended { // runtime.Goexit in fn
			set.Back(true, nil)
		}
	}()
	tx := NewTx(ctx)
	err = s.runFn(tx, set.Records, fn)
	ended = true
	if err != nil {
		set.Back(true, nil)
		return 0, first, fnError{err}
	}
	n, err = s.move(ctx, set, tx)
	return n, first, err
}

// runFn calls the user's function.
func (s *Subscription) runFn(tx *Tx, recs []messages.Record, fn func(*Tx, []messages.Record) error) (err error) {
	code := s.buffer.Run("the function of a transaction")
	defer s.env.Runs.Enter(code)()
	tx.ctx = code.Mark(tx.ctx)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the function panicked: %v", p)
			s.panicked(fmt.Sprint(p), debug.Stack())
		}
	}()
	return tx.Fill(func(tx *Tx) error { return fn(tx, recs) })
}

// move writes a transaction, and ends the set as that went.
func (s *Subscription) move(ctx context.Context, set *prefetch.Set, tx *Tx) (int, error) {
	right := &mayMove{}
	if _, err := supervisor.Ask[*mayMove](ctx, s.env.System, s.pid.Load(), right); err != nil {
		set.Back(false, nil)
		s.env.Send(s.pid.Load(), &moved{of: right})
		switch {
		case errors.Is(err, supervisor.ErrNoActor):
			err = cmp.Or(s.buffer.Cause(), messages.ErrClosed)
		case errors.Is(err, supervisor.ErrFailed):
			err = fmt.Errorf("%w: %w", messages.ErrRestarted, err)
		}
		return 0, err
	}
	end := &moved{of: right}
	defer func() { s.env.Send(s.pid.Load(), end) }()
	stakes, err := set.Stakes(tx.acks)
	if err != nil {
		set.Back(errors.Is(err, messages.ErrInvalid), nil)
		return 0, err
	}
	inputs := make([]commitlog.Input, len(stakes))
	for i, to := range stakes {
		inputs[i] = commitlog.Input{Me: s.me(0), Position: to.Position, From: to.From, FromBase: to.FromBase, FromProgress: to.FromProgress}
	}
	inputs, err = tx.Send(ctx, s.env, inputs, s.delayed)
	known := make([]int64, len(inputs))
	for i, in := range inputs {
		known[i] = in.Position.Known
		if in.Fenced {
			end.lost, end.cause = append(end.lost, stakes[i].Claim), messages.ErrFenced
		}
	}
	switch {
	case err == nil:
		return set.Landed(known), nil
	case errors.Is(err, messages.ErrUnknownOutcome):
		end.forfeited, end.lost, end.cause = set.Forfeit(err), nil, err
	default:
		set.Back(false, known)
	}
	return 0, err
}

// delayed tells that etcd does not respond to a transaction.
func (s *Subscription) delayed(err error) {
	s.env.Events.Emit(messages.CommitDelayed{Topic: s.cfg.Topic, Group: s.cfg.Group, Err: err})
}

// ConsumeTx is penstock.Subscription.ConsumeTx.
func (s *Subscription) ConsumeTx(ctx context.Context, limit int, fn func(*Tx, []messages.Record) error) error {
	if err := errors.Join(node.ContextGiven(ctx), node.HandlerGiven(fn == nil)); err != nil {
		return fmt.Errorf("%s: %w", s.transacting(), err)
	}
	if err := cmp.Or(s.refuses("ConsumeTx", transactInstead), s.unused()); err != nil {
		return fmt.Errorf("%s: %w", s.transacting(), err)
	}
	for failures := 0; ; {
		_, first, err := s.transactOnce(ctx, limit, fn)
		var of fnError
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case s.buffer.IsOver(), errors.Is(err, messages.ErrClosed) && s.isLeaving():
			return s.buffer.Cause()
		case errors.As(err, &of): // its partition rests already
			s.env.Events.Emit(messages.RecordFailed{
				Topic: first.Topic, Group: s.cfg.Group, Partition: first.Partition, Offset: first.Offset,
				Attempt: first.Attempt, Delay: s.cfg.Retry.Delay(first.Attempt), Err: of.error,
			})
			continue
		case lasting(err):
			return fmt.Errorf("%s: %w", s.transacting(), err)
		}
		failures++
		pauseTx(ctx, failures)
	}
}

// lasting reports whether a transaction that failed will fail again, until a person acts.
func lasting(err error) bool {
	for _, class := range []error{
		messages.ErrInvalid, messages.ErrTooLarge, messages.ErrDenied, messages.ErrTopicDeleted, messages.ErrNoPartition,
		messages.ErrBusy, messages.ErrClosed, messages.ErrCorrupt,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// pauseTx waits between transactions that were refused: the longer, the more there were.
func pauseTx(ctx context.Context, failures int) {
	t := time.NewTimer(min(time.Millisecond<<min(failures, 10), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// letters are a record as a dead letter, in forms that are smaller and smaller.
func (s *Subscription) letters(r messages.Record, cause error) iter.Seq2[messages.Message, string] {
	m := r.Message()
	m.ExpiresAt = time.Time{}
	return messages.DeadRecord{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Group: s.cfg.Group,
		Attempts: r.Attempt, Deaths: r.Deaths, Cause: cause.Error(), Time: time.Now(),
	}.Letters(m)
}

// sendLetter sends the first of its forms that there is room for, and returns what is
// omitted in that.
func (s *Subscription) sendLetter(ctx context.Context, inputs []commitlog.Input, r messages.Record, cause error) (omitted string, moved []commitlog.Input, err error) {
	var m messages.Message
	for m, omitted = range s.letters(r, cause) {
		tx := NewTx(ctx)
		err = tx.Fill(func(tx *Tx) error {
			s.cfg.Letters.PutIn(tx, []messages.Message{m})
			return nil
		})
		if err == nil {
			inputs, err = tx.Send(ctx, s.env, inputs, s.delayed)
		}
		if !errors.Is(err, messages.ErrTooLarge) || errors.Is(err, messages.ErrUnknownOutcome) {
			break
		}
	}
	return omitted, inputs, err
}

// bury puts a record into the dead-letter topic, in the transaction that acks it. It
// returns what had to be left out.
func (s *Subscription) bury(ctx context.Context, d *prefetch.Burial, r messages.Record, cause error) (omitted string, err error) {
	right := &mayMove{}
	if _, err := supervisor.Ask[*mayMove](ctx, s.env.System, s.pid.Load(), right); err != nil {
		s.env.Send(s.pid.Load(), &moved{of: right})
		return "", err
	}
	end := &moved{of: right}
	defer func() { s.env.Send(s.pid.Load(), end) }()
	stake, err := d.Stake()
	if err != nil {
		return "", err
	}
	omitted, inputs, err := s.sendLetter(ctx, []commitlog.Input{{
		Me: s.me(0), Position: stake.Position, From: stake.From, FromBase: stake.FromBase, FromProgress: stake.FromProgress,
	}}, r, cause)
	if inputs[0].Fenced {
		end.lost, end.cause = []*prefetch.Claim{stake.Claim}, messages.ErrFenced
	}
	switch {
	case err == nil:
		d.Landed(inputs[0].Position.Known)
	case errors.Is(err, messages.ErrUnknownOutcome):
		end.forfeited, end.lost, end.cause = []*prefetch.Claim{d.Forfeit(err)}, nil, err
	default:
		d.Back(inputs[0].Position.Known)
	}
	return omitted, err
}

// tripped: too many dead letters.
type tripped struct{ prefetch.Tripped }

// trip pauses the group, because not the records but what handles them may be at fault. A
// pause that lasts longer stays: somebody wants that one.
func (a *subscription) trip(t prefetch.Tripped) {
	sub, log, delayed := a.sub, a.env.Log, a.delayed
	pause := sub.cfg.BreakerPause
	if t.Run == 0 {
		pause = sub.cfg.SharePause
	}
	until, longer := time.Now().Add(pause), false
	if value, paused := a.view.Paused(); paused {
		if at := messages.PauseUntil(value); at.IsZero() || at.After(until) {
			until, longer = at, true
		}
	}
	a.env.Events.Emit(messages.DeadLettersRepeated{Topic: sub.cfg.Topic, Group: sub.cfg.Group, Member: sub.cfg.ID, Run: t.Run, Letters: t.Letters, Of: t.Of, Until: until})
	if longer {
		return
	}
	a.host.Run("pause group", func(ctx context.Context) error {
		if err := log.PauseGroup(ctx, sub.path.Info(), sub.cfg.Group, until); err != nil && ctx.Err() == nil {
			delayed(fmt.Errorf("pause after %d dead letters: %w", t.Run+t.Letters, err))
		}
		return nil
	})
}
