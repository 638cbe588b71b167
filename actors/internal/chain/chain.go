package chain

// Middleware around a function of a message: a handler, a record's handler, a send.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// Check returns messages.ErrInvalid when one of use is nil, as those are that were made
// of nothing.
func Check[F any](use []func(next F) F) error {
	for i, wrap := range use {
		if wrap == nil {
			return fmt.Errorf("middleware %d of %d is nil; give a function, a limiter or a positive time: %w", i+1, len(use), messages.ErrInvalid)
		}
	}
	return nil
}

// Wrap puts use around f, the first of them outermost. Each is called once. One that
// returns nil is messages.ErrInvalid.
func Wrap[F ~func(context.Context, M) error, M any](f F, use []func(next F) F) (F, error) {
	for i := len(use) - 1; i >= 0; i-- {
		if f = use[i](f); f == nil {
			return nil, fmt.Errorf("middleware %d of %d returned nil: %w", i+1, len(use), messages.ErrInvalid)
		}
	}
	return f, nil
}
