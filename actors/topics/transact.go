package topics

// Puts of several records that are made together or not at all.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
)

// Transact is penstock.Runtime.Transact.
func (t *Topics) Transact(ctx context.Context, fn func(*groups.Tx) error) error {
	fail := func(err error) error { return fmt.Errorf("transact: %w", err) }
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	if fn == nil {
		return fail(node.HandlerGiven(true))
	}
	if t.env.Stopping() {
		return fail(messages.ErrClosed)
	}
	tx := groups.NewTx(ctx)
	if err := tx.Fill(fn); err != nil {
		return fail(err)
	}
	if err := tx.GivenNone(); err != nil {
		return fail(err)
	}
	_, err := tx.Send(ctx, t.env, nil, nil)
	return err
}

// PutIn is penstock.Tx.Put.
func (t *Topic) PutIn(tx *groups.Tx, msgs []messages.Message) {
	tx.Put()
	for i := range msgs {
		if err := t.gather(tx.Context(), &tx.Out, msgs[i], nil); err != nil {
			tx.Fail(err)
			return
		}
	}
}

// windowless refuses an id that nobody would look for: a transaction compares the ends of
// its partitions, and what it is sent behind is found out by etcd alone.
func (t *Topic) windowless(m *messages.Message) error {
	if m.ID == "" || t.path.Info().Config.DedupeWindow == 0 {
		return nil
	}
	return fmt.Errorf("put id %q to %q in a transaction: %w: its window of ids is not looked into there, so the record might be there twice; put it by Put or PutBatch, or leave the id out", m.ID, t.Name(), messages.ErrInvalid)
}

// gather takes a message through the middleware of the handle. part, which may be nil, is
// told where it goes; what a middleware keeps back goes nowhere.
func (t *Topic) gather(ctx context.Context, out *topiclog.Outgoing, m messages.Message, part func(int)) error {
	add := func(_ context.Context, m messages.Message) error {
		if err := t.windowless(&m); err != nil {
			return err
		}
		p, err := out.Add(t.path, t.producer, &m)
		if err == nil && part != nil {
			part(p)
		}
		return err
	}
	if t.use != nil {
		return t.use.Do(ctx, m, add)
	}
	return add(ctx, m)
}

// PutIf is penstock.Topic.PutIf. end is where the partition has to end.
func (t *Topic) PutIf(ctx context.Context, end int64, msgs []messages.Message) (int, int64, error) {
	fail := func(p int, err error) (int, int64, error) { return p, -1, fmt.Errorf("put to %q: %w", t.Name(), err) }
	if err := node.ContextGiven(ctx); err != nil {
		return fail(-1, err)
	}
	if end < 0 {
		return fail(-1, fmt.Errorf("expect the end %d: %w: the first is 0", end, messages.ErrOffsetOutOfRange))
	}
	var out topiclog.Outgoing
	at := -1
	for i := range msgs {
		var other error
		err := t.gather(ctx, &out, msgs[i], func(p int) {
			if at >= 0 && at != p {
				other = fmt.Errorf("message %d goes to partition %d, and those before it to %d: %w: what is put under one condition goes to one partition; give them the same key", i, p, at, messages.ErrInvalid)
			}
			at = p
		})
		if err != nil {
			return at, -1, err
		}
		if other != nil {
			return fail(at, other)
		}
	}
	if out.Len() == 0 {
		return fail(-1, fmt.Errorf("no message: %w", messages.ErrInvalid))
	}
	out.ExpectEnd(end)
	env := t.path.Env
	if err := out.Send(ctx, env.Log, env.Log.Begin()); err != nil {
		return fail(at, err)
	}
	return at, out.Base(), nil
}
