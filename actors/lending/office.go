package lending

// The lending side: one sender for all owners of a group in this process.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/penstock-io/penstock/actors/pipes"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Lending is over the pipes of a runtime. It is safe for concurrent use.
type Lending struct {
	pipes    *pipes.Pipes
	register func(ctx context.Context, name string) (sender, error)

	mu      sync.Mutex
	offices map[string]*office // by destination
	ending  map[string]sender  // abandoned, whose name may not be free yet
}

// sender is a *senders.Destination.
type sender interface {
	Lend(ctx context.Context, m *messages.Message, loan senders.Loan) error
	Recall(tag int64)
	Unregister(ctx context.Context) error
	Abandon()
	Done() <-chan struct{}
	Gone() bool
}

// office is a sender and who lends through it.
type office struct {
	name  string
	ready chan struct{} // closed when dest or err is there
	dest  sender
	err   error
	users int
}

// New makes the lending over some pipes.
func New(p *pipes.Pipes) *Lending {
	register := func(ctx context.Context, name string) (sender, error) {
		return p.Register(ctx, senders.Config{
			Name: name, Lends: true, MaxMessageSize: messages.MaxRecordBytes + mostPrefix, MaxAttempts: -1, MaxDeaths: -1,
		})
	}
	return &Lending{pipes: p, register: register, offices: make(map[string]*office), ending: make(map[string]sender)}
}

// Lend is groups.Lending.Lend.
func (l *Lending) Lend(ctx context.Context, topicID, group string) (groups.Lender, error) {
	name := keys.Loans(topicID, group)
	l.mu.Lock()
	o := l.offices[name]
	if o != nil && o.isOver() {
		o = nil // somebody has ended it; who lent through it asks again
	}
	if o != nil {
		o.users++
		l.mu.Unlock()
	} else {
		o = &office{name: name, ready: make(chan struct{}), users: 1}
		l.offices[name] = o
		before := l.ending[name]
		delete(l.ending, name)
		l.mu.Unlock()
		if before != nil {
			_ = before.Unregister(ctx) // the name is free then; what it gave up its owner has
		}
		o.dest, o.err = l.register(ctx, name)
		close(o.ready)
	}
	select {
	case <-o.ready:
	case <-ctx.Done():
		l.abandon(o) // it may be ready by now, and this one the last
		return nil, context.Cause(ctx)
	}
	if o.err != nil {
		l.abandon(o)
		return nil, fmt.Errorf("lend to group %q: %w", group, o.err)
	}
	return &lender{lending: l, office: o}, nil
}

// isOver reports whether nothing can be lent through it any more.
func (o *office) isOver() bool {
	select {
	case <-o.ready:
	default:
		return false
	}
	if o.err != nil {
		return true
	}
	select {
	case <-o.dest.Done():
		return true
	default:
		return false
	}
}

// leave notes that one user is gone. It returns the sender, if there is one, when it was
// the last: that is to be ended.
func (l *Lending) leave(o *office) sender {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.users--
	if o.users > 0 {
		return nil // who makes the sender is a user until that is done
	}
	if l.offices[o.name] == o {
		delete(l.offices, o.name)
	}
	if o.err != nil {
		return nil
	}
	maps.DeleteFunc(l.ending, func(_ string, d sender) bool { return d.Gone() })
	l.ending[o.name] = o.dest
	return o.dest
}

// abandon notes that one user is gone, and has the sender end at once after the last one.
func (l *Lending) abandon(o *office) {
	if d := l.leave(o); d != nil {
		d.Abandon()
	}
}

// lender is one owner's use of an office.
type lender struct {
	lending *Lending
	office  *office
	once    sync.Once

	mu    sync.Mutex
	value []byte // is used again: Lend copies
}

// Lend is groups.Lender.Lend.
func (l *lender) Lend(ctx context.Context, r messages.Record, loan groups.Loan) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := r.Message()
	m.ID = r.ID()
	l.value = appendValue(l.value[:0], &r)
	m.Value = l.value
	err := l.office.dest.Lend(ctx, &m, senders.Loan{Deaths: r.Deaths, First: loan.First, Tag: loan.Tag, Settled: loan.Settled})
	if cap(l.value) > mostKept {
		l.value = nil
	}
	return err
}

// mostKept is how large a value may be that a lender keeps the memory of.
const mostKept = 64 << 10

// Recall is groups.Lender.Recall.
func (l *lender) Recall(tag int64) { l.office.dest.Recall(tag) }

// Close is groups.Lender.Close.
func (l *lender) Close(ctx context.Context) (err error) {
	l.once.Do(func() {
		if d := l.lending.leave(l.office); d != nil {
			err = d.Unregister(ctx)
		}
	})
	if abandoned := (*messages.AbandonedError)(nil); errors.As(err, &abandoned) {
		return nil // its owner has it
	}
	return err
}

// Abandon is groups.Lender.Abandon.
func (l *lender) Abandon() {
	l.once.Do(func() { l.lending.abandon(l.office) })
}
