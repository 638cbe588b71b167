package actors

// What every exported call asks of its arguments before it does anything.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

func contextGiven(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("the context is nil: give context.Background() at least: %w", messages.ErrInvalid)
	}
	return nil
}

func handlerGiven(isNil bool) error {
	if isNil {
		return fmt.Errorf("the handler is nil: %w", messages.ErrInvalid)
	}
	return nil
}
