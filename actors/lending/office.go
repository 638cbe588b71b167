package lending

// The lending side: one sender for all owners of a group in this process.

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/actors/pipes"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// Lending is over the pipes of a runtime. It is safe for concurrent use.
type Lending struct {
	pipes *pipes.Pipes

	mu      sync.Mutex
	offices map[string]*office              // by destination
	ending  map[string]*senders.Destination // abandoned, whose name may not be free yet
}

// office is a sender and who lends through it.
type office struct {
	name  string
	ready chan struct{} // closed when dest or err is there
	dest  *senders.Destination
	err   error
	users int
}

// New makes the lending over some pipes.
func New(p *pipes.Pipes) *Lending {
	return &Lending{pipes: p, offices: make(map[string]*office), ending: make(map[string]*senders.Destination)}
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
		o.dest, o.err = l.pipes.Register(ctx, senders.Config{
			Name: name, Lends: true, MaxMessageSize: messages.MaxRecordBytes + mostPrefix, MaxAttempts: -1, MaxDeaths: -1,
		})
		close(o.ready)
	}
	select {
	case <-o.ready:
	case <-ctx.Done():
		l.leave(o)
		return nil, context.Cause(ctx)
	}
	if o.err != nil {
		l.leave(o)
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

// leave notes that one user is gone, and reports whether it was the last.
func (l *Lending) leave(o *office) (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.users--
	if o.users == 0 && l.offices[o.name] == o {
		delete(l.offices, o.name)
	}
	return o.users == 0
}

// abandon ends the sender of an office at once.
func (l *Lending) abandon(o *office) {
	l.mu.Lock()
	l.ending[o.name] = o.dest
	l.mu.Unlock()
	o.dest.Abandon()
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
func (l *lender) Lend(ctx context.Context, r messages.Record, tag int64, settled func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := r.Message()
	m.ID = r.ID()
	l.value = appendValue(l.value[:0], &r)
	m.Value = l.value
	err := l.office.dest.Lend(ctx, &m, r.Deaths, tag, settled)
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
		if l.lending.leave(l.office) {
			err = l.office.dest.Unregister(ctx)
		}
	})
	if abandoned := (*messages.AbandonedError)(nil); errors.As(err, &abandoned) {
		return nil // its owner has it
	}
	return err
}

// Abandon is groups.Lender.Abandon.
func (l *lender) Abandon() {
	l.once.Do(func() {
		if l.lending.leave(l.office) {
			l.lending.abandon(l.office)
		}
	})
}
