package supervisor

// What a failure leads to: rules, budgets, strategies and delays. Nothing here
// performs anything.

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Directive is what a policy does about a failed actor.
type Directive int

const (
	// Restart gives the actor a new incarnation after the backoff's delay: same
	// PID, same mailbox, a new instance from the producer. The message that
	// failed is not handled again.
	Restart Directive = iota
	// Terminate stops the actor for good. Its parent is sent *Failed first.
	Terminate
	// Escalate fails the parent with the same cause. At the top it stops the
	// actor.
	Escalate
)

// String is the directive in lower case.
func (d Directive) String() string {
	switch d {
	case Restart:
		return "restart"
	case Terminate:
		return "terminate"
	case Escalate:
		return "escalate"
	}
	return fmt.Sprintf("directive(%d)", int(d))
}

// Rule says what to do about some errors.
type Rule struct {
	// If reports whether the rule is about this error. It is called from an actor
	// and must not block. A nil If matches every error.
	If func(error) bool
	// Then is what to do.
	Then Directive
	// Backoff replaces the policy's, when not nil.
	Backoff *Backoff
	// Budget replaces the policy's, when not nil. Every rule counts its own
	// restarts, so that many restarts for an expected error do not use up the
	// budget of a bug.
	Budget *Budget
}

// ForError matches target, in the sense of errors.Is.
func ForError(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// ForType matches errors that are, or wrap, an E, in the sense of errors.As.
func ForType[E error]() func(error) bool {
	return func(err error) bool {
		var target E
		return errors.As(err, &target)
	}
}

// Budget is how many restarts a child may have: at most Restarts in any span of
// Window. The failure that would need one more escalates with a *BudgetError.
//
// Restarts of zero or less means no limit. A Window of zero or less counts over
// the child's whole life.
type Budget struct {
	Restarts int
	Window   time.Duration
}

// Policy says how an actor's failures are treated. The first rule that matches
// decides; when none does, Default, Backoff and Budget do.
//
// The zero Policy restarts forever with DefaultBackoff.
type Policy struct {
	Rules   []Rule
	Default Directive
	Backoff Backoff
	Budget  Budget
}

// DefaultPolicy restarts with DefaultBackoff, at most five times in a minute,
// and then escalates. A child that always fails escalates after some three
// seconds.
func DefaultPolicy() Policy {
	return Policy{Default: Restart, Backoff: DefaultBackoff(), Budget: Budget{Restarts: 5, Window: time.Minute}}
}

// BudgetError is the cause of an escalation: a child failed more often than its
// budget allows. It unwraps to the last failure.
type BudgetError struct {
	// Child is the PID's id.
	Child string
	// Restarts and Window are the budget that was used up.
	Restarts int
	Window   time.Duration
	// Err is the failure that found it used up.
	Err error
}

// Error tells the child, the budget and the last failure.
func (e *BudgetError) Error() string {
	if e.Window <= 0 {
		return fmt.Sprintf("%s: %d restarts used up: %v", e.Child, e.Restarts, e.Err)
	}
	return fmt.Sprintf("%s: %d restarts in %v used up: %v", e.Child, e.Restarts, e.Window, e.Err)
}

// Unwrap is the last failure.
func (e *BudgetError) Unwrap() error { return e.Err }

// history is what a policy remembers about one supervised actor.
type history struct {
	id      string
	since   time.Time      // when the present incarnation began
	tallies map[int]*tally // by rule; -1 for the default
}

type tally struct {
	restarts []time.Time // those inside the budget's window, oldest first
	attempt  int         // restarts since the last healthy time
}

// verdict is what a policy makes of one failure.
type verdict struct {
	directive Directive
	attempt   int
	delay     time.Duration
	err       error
}

// judge decides about one failure and writes it down in h. random is in [0,1).
func (p Policy) judge(h *history, err error, now time.Time, random float64) verdict {
	index, rule := p.match(err)
	if rule.Then != Restart {
		return verdict{directive: rule.Then, err: err}
	}
	backoff, budget := rule.Backoff.orDefault(), *rule.Budget
	for i, t := range h.tallies {
		if now.Sub(h.since) >= p.rule(i).Backoff.orDefault().Healthy {
			t.attempt = 0
		}
	}
	t := h.tallies[index]
	if t == nil {
		t = &tally{}
		if h.tallies == nil {
			h.tallies = make(map[int]*tally)
		}
		h.tallies[index] = t
	}
	if budget.Restarts > 0 {
		if budget.Window > 0 {
			for len(t.restarts) > 0 && now.Sub(t.restarts[0]) >= budget.Window {
				t.restarts = t.restarts[1:]
			}
		}
		if len(t.restarts) >= budget.Restarts {
			return verdict{
				directive: Escalate,
				attempt:   t.attempt,
				err:       &BudgetError{Child: h.id, Restarts: budget.Restarts, Window: budget.Window, Err: err},
			}
		}
		t.restarts = append(t.restarts, now)
	}
	t.attempt++
	return verdict{directive: Restart, attempt: t.attempt, delay: backoff.Delay(t.attempt, random), err: err}
}

// match returns the rule for err with nothing left open, and its index.
func (p Policy) match(err error) (int, Rule) {
	for i, r := range p.Rules {
		if r.If == nil || r.If(err) {
			return i, p.rule(i)
		}
	}
	return -1, p.rule(-1)
}

// rule is one of the policy's rules with nothing left open; -1 is the default.
func (p Policy) rule(index int) Rule {
	rule := Rule{Then: p.Default}
	if index >= 0 {
		rule = p.Rules[index]
	}
	if rule.Backoff == nil {
		rule.Backoff = &p.Backoff
	}
	if rule.Budget == nil {
		rule.Budget = &p.Budget
	}
	return rule
}

// Strategy says which children a failed one takes along when it is restarted.
// It is about restarts only: Terminate and Escalate concern the failed child.
type Strategy int

const (
	// OneForOne restarts the failed child alone.
	OneForOne Strategy = iota
	// RestForOne restarts the failed child and those spawned after it.
	RestForOne
	// AllForOne restarts all children.
	AllForOne
)

// from is the index of the first child to restart, and to the one after the
// last, when the failed one of n children in spawn order is at index i.
func (s Strategy) span(i, n int) (from, to int) {
	switch s {
	case RestForOne:
		return i, n
	case AllForOne:
		return 0, n
	}
	return i, i + 1
}

// Backoff is a delay that grows with each failure in a row.
//
// The zero Backoff means DefaultBackoff. In any other one a negative Min counts
// as 0, a Max below Min as Min, a Factor below 1 as 1 (2 when it is 0), and
// Jitter is held within 0 and 1.
type Backoff struct {
	// Min is the first delay, Max the longest. With a Min of 0 every delay is 0.
	Min, Max time.Duration
	// Factor is how much longer each delay is than the one before.
	Factor float64
	// Jitter spreads a delay d evenly over d·(1−Jitter) to d·(1+Jitter), cut
	// off at Min and Max, so that many that failed together do not all come
	// back together.
	Jitter float64
	// Healthy is how long an incarnation has to live for the next failure to
	// count as the first again; 0 means Max.
	Healthy time.Duration
}

// DefaultBackoff runs from 100 ms to 30 s, doubles, spreads by a fifth, and
// starts again after a healthy minute.
func DefaultBackoff() Backoff {
	return Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Jitter: 0.2, Healthy: time.Minute}
}

// Delay is how long to wait before attempt, counted from 1. random, in [0,1),
// picks the place within the jitter. The result is within Min and Max.
func (b Backoff) Delay(attempt int, random float64) time.Duration {
	b = b.orDefault()
	lowest, highest := float64(b.Min), float64(b.Max)
	base := lowest * math.Pow(b.Factor, float64(max(attempt, 1)-1))
	base = min(base, highest) // also when Pow overflowed to +Inf
	from := max(lowest, base*(1-b.Jitter))
	to := min(highest, base*(1+b.Jitter))
	d := from + (to-from)*random
	if d >= highest { // which a float rounds up
		return b.Max
	}
	return max(time.Duration(d), b.Min)
}

// orDefault is b with every field usable.
func (b Backoff) orDefault() Backoff {
	if b == (Backoff{}) {
		return DefaultBackoff()
	}
	b.Min = max(b.Min, 0)
	b.Max = max(b.Max, b.Min)
	if b.Factor == 0 {
		b.Factor = 2
	}
	b.Factor = max(b.Factor, 1)
	b.Jitter = min(max(b.Jitter, 0), 1)
	if b.Healthy <= 0 {
		b.Healthy = b.Max
	}
	return b
}
