package actors

// Groups of destinations when they are deleted, or made again with other settings.

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// DeleteGroup removes a group of a destination that has no members, in
// particular one that is kept forever. Errors: messages.ErrNoGroup, ErrGroupLive,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed.
func (e *Engine) DeleteGroup(ctx context.Context, dest, group string) error {
	fail := func(err error) error { return fmt.Errorf("delete group %q of %q: %w", group, dest, err) }
	switch err := errors.Join(contextGiven(ctx), keys.ValidateName("destination", dest), keys.ValidateName("group", group)); {
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

// unlike ends the members of a group that was removed and made again with other
// settings, while this process could not keep it.
func (a *engineActor) unlike(ctx actor.Context, m *groupUnlike) {
	have, err := messages.GroupSettingsOf(m.meta.Mode, m.meta.Policy, m.meta.KeepForMs)
	if err != nil {
		return // of a newer version
	}
	for h, p := range a.book.members {
		cfg := h.in.cfg
		if err := have.Differ(cfg.group()); err != nil && a.eng.groupKeys(cfg.Destination, cfg.Group) == m.group {
			h.in.leave(inletLeft, fmt.Errorf("the group was made again meanwhile: %w", err))
			ctx.Send(p.pid, &retire{})
		}
	}
}
