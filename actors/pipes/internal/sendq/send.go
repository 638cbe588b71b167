package sendq

// The other ways to send: without waiting, several at once, and with word of when a
// message is settled.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// TrySend is Send that does not wait. Where Send would, it returns messages.ErrGroupFull,
// or messages.ErrNoGroup when there is no group, or a required one is missing.
func (q *Queue) TrySend(ctx context.Context, m *messages.Message) error {
	size, err := q.measure(ctx, m)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	held, err := q.admit(size)
	switch {
	case err != nil:
		return err
	case held == nil:
		q.accept(m, size, nil)
		q.wakeAll()
		return nil
	case held.group == "":
		return fmt.Errorf("send to %q%s: %w", q.name, held.describe(), messages.ErrNoGroup)
	}
	return fmt.Errorf("send to %q%s: %w", q.name, held.describe(), messages.ErrGroupFull)
}

// One hold of the lock accepts this much of a batch, so that links get at it, too.
const (
	acceptedAtOnce      = 128
	acceptedBytesAtOnce = 256 << 10
)

// SendBatch sends msgs, in order, until the first that Send would refuse, and adds to
// accepted as it does. It takes the lock once for many messages.
func (q *Queue) SendBatch(ctx context.Context, msgs []messages.Message, accepted *int) error {
	var sizes [acceptedAtOnce]int
	for len(msgs) > 0 {
		n, bytes := 0, 0
		var refused error // of the message behind the n
		for n < min(len(msgs), len(sizes)) && bytes < acceptedBytesAtOnce {
			if sizes[n], refused = q.measure(ctx, &msgs[n]); refused != nil {
				break
			}
			bytes += sizes[n]
			n++
		}
		done, err := q.sendRun(ctx, msgs[:n], sizes[:n])
		*accepted += done
		if err != nil {
			return err
		}
		if done == n && refused != nil {
			return refused
		}
		msgs = msgs[done:]
	}
	return nil
}

// sendRun sends messages of known sizes, up to one that had to wait, and returns how many.
func (q *Queue) sendRun(ctx context.Context, msgs []messages.Message, sizes []int) (n int, err error) {
	q.mu.Lock()
	for ; n < len(msgs); n++ {
		held, err := q.admit(sizes[n])
		switch {
		case err != nil:
			q.wakeAll()
			q.mu.Unlock()
			return n, err
		case held != nil:
			q.wakeAll()
			if err := q.await(ctx, &msgs[n], sizes[n], nil, held); err != nil {
				return n, err
			}
			return n + 1, nil
		}
		q.accept(&msgs[n], sizes[n], nil)
	}
	q.wakeAll()
	q.mu.Unlock()
	return n, nil
}

// SendAsync is Send. Of a message that was accepted settled is called once: when every
// group that it was accepted for has acked it, with nil, or given it up, with the causes.
// It is called under the queue's lock, so it must not block or call the queue. Where the
// mode is messages.AtMostOnce, a message is settled when a link takes it.
//
// Causes: messages.ErrDropped, messages.ErrDeadLettered, and *messages.AbandonedError
// when the group was removed or, with messages.ErrClosed, the destination ended.
func (q *Queue) SendAsync(ctx context.Context, m *messages.Message, settled func(error)) error {
	return q.send(ctx, m, &watch{settled: settled})
}

// watch is on one message, in all groups. The queue's lock guards it.
type watch struct {
	left    int // groups that have not settled it
	causes  error
	settled func(error)
}

// begin says for how many groups the message is accepted.
func (w *watch) begin(groups int) { w.left = groups }

// settle notes that one group has settled the message, and tells when all have.
func (w *watch) settle(cause error) {
	switch {
	case cause == nil:
	case w.causes == nil:
		w.causes = cause
	default:
		w.causes = errors.Join(w.causes, cause)
	}
	if w.left--; w.left == 0 {
		w.settled(w.causes)
	}
}

// watch has w told of record i, the newest.
func (c *chunk) watch(i uint32, w *watch) {
	for len(c.watches) < int(i) {
		c.watches = append(c.watches, nil)
	}
	c.watches = append(c.watches, w)
}

// watches are those of the records of s, as far as there are any.
func (s span) watches() []*watch {
	n := uint32(len(s.c.watches))
	if n <= s.from {
		return nil
	}
	return s.c.watches[s.from:min(s.to, n)]
}

// expires says when the records of s do, as far as any does.
func (s span) expires() []int64 {
	n := uint32(len(s.c.expires))
	if n <= s.from {
		return nil
	}
	return s.c.expires[s.from:min(s.to, n)]
}

// full is why a group gave up what it had no room for.
func (q *Queue) full(b *Backlog) error {
	return q.dropped(fmt.Sprintf("group %q, %s", b.Group, groupFull))
}

func (q *Queue) dropped(why string) error {
	return fmt.Errorf("send to %q: %s: %w", q.name, why, messages.ErrDropped)
}
