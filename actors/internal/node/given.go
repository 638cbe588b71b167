package node

// What every exported call asks of its arguments before it does anything.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// ContextGiven returns messages.ErrInvalid for a nil context.
func ContextGiven(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("the context is nil: give context.Background() at least: %w", messages.ErrInvalid)
	}
	return nil
}

// HandlerGiven returns messages.ErrInvalid for a nil handler.
func HandlerGiven(isNil bool) error {
	if isNil {
		return fmt.Errorf("the handler is nil: %w", messages.ErrInvalid)
	}
	return nil
}

// Faults collects everything wrong with a configuration.
type Faults []error

// Add notes a fault, which wraps messages.ErrInvalid.
func (f *Faults) Add(format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), messages.ErrInvalid))
}

// Join notes err, unless it is nil.
func (f *Faults) Join(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

// Err is all of them, joined; nil for none.
func (f Faults) Err() error { return errors.Join(f...) }
