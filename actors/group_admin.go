package actors

// Groups of destinations as administrators see them.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// DeleteGroup removes a group of a destination that has no members, in
// particular one that is kept forever. Errors: messages.ErrNoGroup, ErrGroupLive,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed.
func (e *Engine) DeleteGroup(ctx context.Context, dest, group string) error {
	fail := func(err error) error { return fmt.Errorf("delete group %q of %q: %w", group, dest, err) }
	switch err := errors.Join(keys.ValidateName("destination", dest), keys.ValidateName("group", group)); {
	case err != nil:
		return fail(err)
	case e.begun.Load():
		return fail(messages.ErrClosed)
	case ctx.Err() != nil:
		return fail(context.Cause(ctx))
	}
	if err := e.groups.Delete(ctx, e.groupKeys(dest, group)); err != nil {
		return fail(err)
	}
	return nil
}
