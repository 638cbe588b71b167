package groups

// Shared groups: the owners of partitions lend records to all members of the group, this
// one too, and everybody reads what is lent to him.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Lending makes the two ends over which the members of shared groups lend each other
// records. The engine has one, over its pipes. It is safe for concurrent use.
type Lending interface {
	// Lend makes the end of an owner. It blocks until members can find it, or ctx ends.
	Lend(ctx context.Context, topicID, group string) (Lender, error)
	// Borrow makes the end of a member.
	Borrow(ctx context.Context, b Borrowing) (Borrower, error)
}

// Loan is how a record is lent.
type Loan = prefetch.Loan

// Borrowing is what a member borrows, and how.
type Borrowing struct {
	// Topic is the topic's name, TopicID its id.
	Topic, TopicID, Group, Member string
	// Concurrency is how many records Consume handles at once, Bytes how many bytes each
	// owner may have lent to this member.
	Concurrency, Bytes int
	// AckWait is how long a record may be in hand, negative without a limit.
	AckWait time.Duration
}

// Lender is the end of an owner.
type Lender interface {
	// Lend lends a record to one of the members. It blocks until there is room and a member,
	// or ctx ends, and copies the record. Loan.Settled is called once of a record that was
	// taken, under a lock: it must not block. It gets nil when the record was handled; the error of
	// its handler, as messages.GiveBackOf reads it; *messages.DeathError where a member may
	// have died over it; messages.ErrExpired; messages.Untried where it was recalled; and
	// *messages.AbandonedError where the lender has ended.
	Lend(ctx context.Context, r messages.Record, loan Loan) error
	// Recall has what was lent under a tag settled, as far as nobody has begun it.
	Recall(tag int64)
	// Close ends it when all is settled, or ctx has ended.
	Close(ctx context.Context) error
	// Abandon ends it at once.
	Abandon()
}

// Borrower is the end of a member. Consume, Records and Poll are those of Subscription.
type Borrower interface {
	Consume(ctx context.Context, handler messages.RecordHandler) error
	Records(ctx context.Context) iter.Seq2[messages.Record, error]
	Poll(ctx context.Context, limit int) ([]messages.Record, error)
	// Release gives back what the last Poll returned.
	Release()
	Pause()
	Resume()
	// Reads reports whether a run of user code reads here.
	Reads(c *usercode.Run) bool
	// Leave ends it once what is in hand is finished; LeaveUnasked begins that, and Abandon
	// ends it at once.
	Leave(ctx context.Context) error
	LeaveUnasked()
	Abandon()
}

// shares is what a subscription to a shared group has of the lending. It outlives the
// incarnations of the actor.
type shares struct {
	over    Lending
	lending *prefetch.Lending

	mu       sync.Mutex
	borrower Borrower // nil before Subscribe has it
	lender   Lender   // nil before the first claim
	ended    bool
}

// SetLending gives the subscriptions what shared groups need. It is called once, before
// anything is subscribed to.
func (s *Subscriptions) SetLending(l Lending) { s.lending = l }

// borrow makes the end of a subscription that has come into its group.
func (s *Subscription) borrow(ctx context.Context) error {
	sh := s.shared
	b, err := sh.over.Borrow(ctx, Borrowing{
		Topic: s.cfg.Topic, TopicID: s.path.ID, Group: s.cfg.Group, Member: s.cfg.ID,
		Concurrency: s.cfg.Workers(), Bytes: s.cfg.MaxFetched, AckWait: s.cfg.AckWait,
	})
	if err != nil {
		return err
	}
	sh.mu.Lock()
	sh.borrower = b
	over := sh.ended
	sh.mu.Unlock()
	if over {
		b.Abandon()
		return cmp.Or(s.buffer.Cause(), messages.ErrClosed)
	}
	return nil
}

// ends are the two ends, as far as there are any.
func (sh *shares) ends() (Borrower, Lender) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.borrower, sh.lender
}

// keep takes an end in use, unless the subscription has ended.
func (sh *shares) keep(l Lender) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended {
		l.Abandon()
		return
	}
	sh.lender = l
}

// abandon ends both ends at once: nobody is there any more.
func (sh *shares) abandon() {
	sh.mu.Lock()
	sh.ended = true
	b, l := sh.borrower, sh.lender
	sh.mu.Unlock()
	if b != nil {
		b.Abandon()
	}
	if l != nil {
		l.Abandon()
	}
}

// leave waits until what this member has borrowed is finished.
func (sh *shares) leave(ctx context.Context) error {
	if b, _ := sh.ends(); b != nil {
		return b.Leave(ctx)
	}
	return nil
}

// recall has what was lent of a claim come back, as far as nobody has begun it.
func (sh *shares) recall(c *prefetch.Claim) {
	if sh == nil {
		return
	}
	sh.lending.Interrupt()
	if _, l := sh.ends(); l != nil {
		l.Recall(c.Tag)
	}
}

// reads reports whether a run of user code reads here.
func (sh *shares) reads(c *usercode.Run) bool {
	if sh == nil {
		return false
	}
	b, _ := sh.ends()
	return b != nil && b.Reads(c)
}

// refuses is why something cannot be done in a shared group, or nil.
func (s *Subscription) refuses(what, instead string) error {
	if s.shared == nil {
		return nil
	}
	return fmt.Errorf("group %q of %q is shared: %s is not for it, because other members have records of the same partition; %s: %w", s.cfg.Group, s.cfg.Topic, what, instead, messages.ErrInvalid)
}

// why is what a reader hears whose borrowing has ended with err.
func (s *Subscription) why(ctx context.Context, err error) error {
	if cause := s.buffer.Cause(); cause != nil {
		return cause
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// borrowed is Records of a shared group.
func (s *Subscription) borrowed(ctx context.Context) iter.Seq2[messages.Record, error] {
	b, _ := s.shared.ends()
	return func(yield func(messages.Record, error) bool) {
		for r, err := range b.Records(ctx) {
			if err != nil {
				yield(r, s.why(ctx, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if cause := s.buffer.Cause(); cause != nil {
			yield(messages.Record{}, cause)
		}
	}
}

// consumeBorrowed is Consume of a shared group.
func (s *Subscription) consumeBorrowed(ctx context.Context, handler messages.RecordHandler) error {
	b, _ := s.shared.ends()
	runs := s.env.Runs
	return s.why(ctx, b.Consume(ctx, func(ctx context.Context, r messages.Record) error {
		defer runs.Took(runs.Begins(), usercode.TimedRecords, s.cfg.Topic, s.cfg.Group)
		return handler(ctx, r)
	}))
}

// lendingState says how far a subscription's actor is with its end of an owner.
type lendingState string

const (
	lendingNot    lendingState = "" // it has had no claim
	lendingBegins lendingState = "begins"
	lendingOn     lendingState = "on"
)

type (
	// lendingBegun: members can find this owner, or why not.
	lendingBegun struct {
		lender Lender
		err    error
	}
	lendAgain    struct{}
	leaseDoubted struct{}
)

// lendCall names the loop that lends.
const lendCall = "lend"

// settleLentCall names the loop that decides about what came back, which runs user code.
const settleLentCall = "settle what was lent"

// lend begins to lend what is claimed.
func (a *subscription) lend() {
	sh := a.sub.shared
	if sh == nil || a.lending != lendingNot || a.state == subLeaving || len(a.holds) == 0 {
		return
	}
	if _, l := sh.ends(); l != nil { // of an earlier incarnation
		a.lendThrough(l)
		return
	}
	a.lending = lendingBegins
	id, group := a.sub.path.ID, a.sub.cfg.Group
	supervisor.Call(&a.host, "begin to lend", func(ctx context.Context) lendingBegun {
		l, err := sh.over.Lend(ctx, id, group)
		if err == nil {
			sh.keep(l)
		}
		return lendingBegun{l, err}
	})
}

func (a *subscription) lendingBegun(m lendingBegun) {
	a.lending = lendingNot
	switch {
	case m.err != nil:
		a.delayed(m.err)
		a.host.After(claimPause, lendAgain{})
	case len(a.holds) == 0:
		a.dropLender()
	default:
		a.lendThrough(m.lender)
	}
}

func (a *subscription) lendThrough(l Lender) {
	a.lending = lendingOn
	lending := a.sub.shared.lending
	var running context.Context
	running, a.unlend = context.WithCancel(a.host.Context())
	a.host.Run(lendCall, func(context.Context) error { return lending.Run(running, l.Lend, l.Recall) })
	if !a.settles {
		a.settles = true
		a.settleLent()
		a.watchLease()
	}
}

// leaseEvery is how often an owner that lends looks whether its lease can be trusted.
const leaseEvery = time.Second

// watchLease has what nobody has begun come back while the session's lease cannot be
// trusted, and when there is another one: the partitions may be somebody else's.
func (a *subscription) watchLease() {
	trusted := &a.env.Trusted
	seen := trusted.Load()
	a.host.EveryWhen(leaseEvery, leaseDoubted{}, func() bool {
		now := trusted.Load()
		doubted := now == 0 || now != seen
		seen = now
		return doubted
	})
}

func (a *subscription) leaseDoubted() {
	lease := a.env.Trusted.Load()
	for _, h := range a.holds {
		if h.c.Lease != lease {
			a.sub.shared.recall(h.c)
		}
	}
}

// settleLent begins the loop that decides about what came back.
func (a *subscription) settleLent() {
	a.host.RunUser(settleLentCall, usercode.Patience, a.sub.shared.lending.Settle)
}

// settleLentEnded: a handler of dead letters has ended its goroutine, or the loop has
// failed.
func (a *subscription) settleLentEnded(ctx actor.Context, err error) {
	if !errors.Is(err, supervisor.ErrGoexit) {
		supervisor.Fail(ctx, err)
		return
	}
	a.settleLent()
}

// dropLender ends the end of an owner that has nothing to lend. What members have of it
// counts for nothing any more.
func (a *subscription) dropLender() {
	sh := a.sub.shared
	if sh == nil || a.lending == lendingBegins {
		return
	}
	if a.unlend != nil {
		a.unlend()
		a.unlend = nil
	}
	a.lending = lendingNot
	sh.mu.Lock()
	l := sh.lender
	sh.lender = nil
	sh.mu.Unlock()
	if l != nil {
		l.Abandon()
	}
}

// lendEnded: the lender is gone, which somebody has ended from outside, or nothing more is
// to be lent.
func (a *subscription) lendEnded(ctx actor.Context, err error) {
	switch {
	case err == nil || a.state != subEntering && a.state != subInside:
	case !errors.Is(err, messages.ErrClosed):
		supervisor.Fail(ctx, err)
	default:
		a.dropLender()
		a.delayed(fmt.Errorf("lend to group %q: %w", a.sub.cfg.Group, err))
		a.host.After(claimPause, lendAgain{})
	}
}

// recallAll has all come back that nobody has begun: the group is paused, or this member
// leaves.
func (a *subscription) recallAll() {
	for _, h := range a.holds {
		a.sub.shared.recall(h.c)
	}
}

// leaveShared begins the end of what this member borrows.
func (a *subscription) leaveShared() {
	if a.sub.shared == nil {
		return
	}
	if b, _ := a.sub.shared.ends(); b != nil {
		b.LeaveUnasked()
	}
}

// closeShared ends both ends in order. What was lent has come back, or ctx has ended.
func (s *Subscription) closeShared(ctx context.Context) error {
	if s.shared == nil {
		return nil
	}
	_, l := s.shared.ends()
	if l == nil {
		return nil
	}
	if err := l.Close(ctx); err != nil {
		return fmt.Errorf("unsubscribe %q from %q: %w", s.cfg.Group, s.cfg.Topic, err)
	}
	return nil
}

// lent is how many records of this owner's members have.
func (s *Subscription) lent() int {
	if s.shared == nil {
		return 0
	}
	return s.buffer.Lent()
}
