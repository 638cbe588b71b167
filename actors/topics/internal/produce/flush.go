package produce

// What a flush waits for, and what it returns of records that nobody waited for.

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// fault is what became of records that nobody waited for.
type fault struct {
	err     error
	records int
}

// faultsKept bounds what waits for a Flush that may never come.
const faultsKept = 32

// Flush waits until what was taken before the call is committed or failed and its
// callbacks have returned, or ctx ends. It returns the errors of records that
// nobody waited for since the last flush, and of callbacks that panicked.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.Decided(ctx); err != nil {
		return err
	}
	if err := p.Called(ctx); err != nil {
		return err
	}
	return p.Heard()
}

// Decided waits until what was taken before the call is committed or failed.
func (p *Producer) Decided(ctx context.Context) error {
	type goal struct {
		a     *Accumulator
		taken uint64
	}
	var goals []goal
	for _, a := range p.inUse() {
		if a != nil {
			goals = append(goals, goal{a, a.Taken()})
		}
	}
	for _, g := range goals {
		if err := g.a.Flushed(ctx, g.taken); err != nil {
			return fmt.Errorf("flush %q: %d bytes are not committed: %w", p.info().Name, p.credit.used(), err)
		}
	}
	return nil
}

// Called waits until the callbacks of what is decided have returned.
func (p *Producer) Called(ctx context.Context) error {
	if err := p.calls.flushed(ctx); err != nil {
		return fmt.Errorf("flush %q: callbacks have not returned: %w", p.info().Name, err)
	}
	return nil
}

// Heard returns what was unheard of, once.
func (p *Producer) Heard() error {
	p.mu.Lock()
	faults, more := p.faults, p.more
	p.faults, p.more = nil, 0
	p.mu.Unlock()
	if len(faults) == 0 {
		return nil
	}
	var errs []error
	for _, f := range faults {
		if f.records > 1 {
			errs = append(errs, fmt.Errorf("%d records: %w", f.records, f.err))
		} else {
			errs = append(errs, f.err)
		}
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%d records more, for other reasons", more))
	}
	return fmt.Errorf("flush %q: %w", p.info().Name, errors.Join(errs...))
}

// unheard keeps an error of records that nobody waits for.
func (p *Producer) unheard(err error, records int) {
	text := err.Error()
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.faults, func(f fault) bool { return f.err == err || f.err.Error() == text }) //nolint:errorlint // the very same value, or as good as
	switch {
	case i >= 0:
		p.faults[i].records += records
	case len(p.faults) < faultsKept:
		p.faults = append(p.faults, fault{err, records})
	default:
		p.more += records
	}
}
