package sendq

// The queue as a whole: how a message is accepted for every group, and who waits
// for that.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/asks"
	"github.com/penstock-io/penstock/messages"
)

// Config is what a queue needs to know of its destination. Everything is set: there
// are no defaults here.
type Config struct {
	// MaxMessageSize bounds a message, in bytes as messages.PayloadSize counts them.
	MaxMessageSize int
	// Queue bounds what is accepted and not settled, for each group.
	Queue messages.QueueLimits
	// Policy, when set, is that of each group, in place of the one that its members chose.
	Policy messages.QueuePolicy
	// DropWithoutGroup drops, and counts, what is sent while there is no group.
	DropWithoutGroup bool
	// Require names groups that a Send waits for, each once.
	Require []string
	// MaxAttempts is how many failed handlings exhaust a message; no limit when it is
	// not positive.
	MaxAttempts int
	// MaxDeaths is how often a member may have died over a message before it is
	// exhausted as well; no limit when it is not positive.
	MaxDeaths int
	// Retry spaces the attempts.
	Retry messages.Retry
	// DeadLetters says that somebody takes exhausted messages with NextExhausted.
	// Otherwise a copy of each is kept to be looked at, and it is tried on.
	DeadLetters bool
	// Zone, unless empty, is the zone whose members get messages before others; not where
	// the group keeps an order.
	Zone string
	// FarAbove is how many messages of a group wait for members of the zone before others
	// get those above it.
	FarAbove int
	// Lends says that who sent a message decides what becomes of it when a member did not
	// handle it: it is settled then, see Lend, and not tried again.
	Lends bool
}

// queuePhase is where a destination stands with its callers. It is read for each
// message.
type queuePhase uint8

const (
	queueOpen     queuePhase = iota
	queueDraining            // takes no more, delivers the rest
	queueClosed
)

// Queue is what Send feeds and links pull from: the data path of one destination.
// All methods are safe for concurrent use, and none but Send, Flush and Settled
// waits for more than its lock.
type Queue struct {
	// Emit is told what happens. It is called under the lock, so it must not block or
	// call the queue. It may be replaced before the queue is used.
	Emit func(messages.Event)
	// Expired, unless it is nil, is given what expired, as Emit is what happens. It
	// reports whether it took it.
	Expired func(messages.ExpiredMessage) bool
	// Asks are the requests that wait for replies.
	Asks asks.Table

	name string
	cfg  Config

	mu       sync.Mutex
	phase    queuePhase
	cause    error // why it closed
	open     openChunks
	backlogs []*Backlog
	missing  []string      // of Config.Require, those that are no group now
	accepted uint64        // messages so far, for whichever groups
	room     chan struct{} // closed when a waiting Send should look again
	waiting  int           // Sends that wait on room
	moved    chan struct{} // closed when a waiting Flush should look again
	flushing int
	losses   losses
	recalled map[int64]struct{} // tags of what is lent, while it is wanted back

	later     func(func())
	telling   bool          // tellDrops is to be called
	sweeping  bool          // sweep is to be called
	nobody    drops         // what was dropped while no group was there
	unclaimed uint64        // how many those are in all
	over      chan struct{} // closed once phase is queueClosed
}

// New makes the queue of the destination of that name. later has a function called
// in a while; neither it nor emit may block.
func New(name string, cfg Config, emit func(messages.Event), later func(func())) *Queue {
	return &Queue{
		name: name, cfg: cfg, Emit: emit, later: later, phase: queueOpen,
		missing: slices.Clone(cfg.Require), over: make(chan struct{}),
	}
}

// Ended is closed once the queue is: by Close or End.
func (q *Queue) Ended() <-chan struct{} { return q.over }

// Cause is why the queue takes no more, when nobody asked for that.
func (q *Queue) Cause() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}

// Name is the destination's name.
func (q *Queue) Name() string { return q.name }

// Config is what New was given.
func (q *Queue) Config() Config { return q.cfg }

// Send accepts m for every group, or for none. It waits for room until ctx ends,
// and does not keep m.
//
// Errors: messages.ErrTooLarge, messages.ErrGroupFull of a group whose policy is
// QueueError, messages.ErrClosed once the queue takes no more, and the cause of ctx.
func (q *Queue) Send(ctx context.Context, m *messages.Message) error { return q.send(ctx, m, nil) }

// send is Send of a message whose settling w notes, unless that is nil.
func (q *Queue) send(ctx context.Context, m *messages.Message, w *watch) error {
	size, err := q.measure(ctx, m)
	if err != nil {
		return err
	}
	q.mu.Lock()
	full, err := q.admit(size)
	if full == nil && err == nil {
		q.accept(m, size, w)
		q.wakeAll()
		q.mu.Unlock()
		return nil
	}
	if err != nil {
		q.mu.Unlock()
		return err
	}
	return q.await(ctx, m, size, w, full)
}

// measure returns how many bytes m takes encoded, or why it can be sent to nobody.
func (q *Queue) measure(ctx context.Context, m *messages.Message) (size int, err error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("send to %q: %w", q.name, context.Cause(ctx))
	}
	if n := messages.PayloadSize(m); n > q.cfg.MaxMessageSize {
		return 0, fmt.Errorf("send to %q: %d bytes of key, value and headers, the limit is %d: %w",
			q.name, n, q.cfg.MaxMessageSize, messages.ErrTooLarge)
	}
	if n := len(m.Headers); n > messages.MaxHeaders {
		return 0, fmt.Errorf("send to %q: %d headers, the limit is %d: %w", q.name, n, messages.MaxHeaders, messages.ErrTooLarge)
	}
	return messages.RecordSize(m), nil
}

// obstacle names what holds a Send up.
type obstacle struct {
	group   string // empty when it is not one group's queue
	missing []string
	why     string
}

var (
	noGroup      = &obstacle{why: "no group has joined"}
	groupFull    = "its queue is full"
	groupMissing = "required groups are neither declared nor joined"
)

// admit reports whether a message of size bytes can be accepted now, by
// everybody. An obstacle is worth waiting for, an error is not.
func (q *Queue) admit(size int) (*obstacle, error) {
	if q.phase != queueOpen {
		return nil, q.refused()
	}
	if len(q.missing) > 0 {
		return &obstacle{missing: q.missing, why: groupMissing}, nil
	}
	if len(q.backlogs) == 0 && !q.cfg.DropWithoutGroup {
		return noGroup, nil
	}
	for _, b := range q.backlogs {
		if b.room(size, q.cfg.Queue) {
			continue
		}
		switch q.policy(b) {
		case messages.QueueBlock:
			return &obstacle{group: b.Group, why: groupFull}, nil
		case messages.QueueError:
			return nil, fmt.Errorf("send to %q: group %q has %d messages and %d bytes waiting: %w",
				q.name, b.Group, b.count, b.size, messages.ErrGroupFull)
		}
	}
	return nil, nil
}

// policy is what a full group does to Send. That of plain peers is theirs: a policy that
// holds Send for groups shall not hold it for a stranger who does not read.
func (q *Queue) policy(b *Backlog) messages.QueuePolicy {
	if b.Plain() {
		return b.settings.Policy
	}
	return cmp.Or(q.cfg.Policy, b.settings.Policy)
}

func (q *Queue) refused() error {
	if q.cause != nil {
		return fmt.Errorf("send to %q: %w: %w", q.name, messages.ErrClosed, q.cause)
	}
	return fmt.Errorf("send to %q: %w", q.name, messages.ErrClosed)
}

// accept encodes m once and queues it for every group. Nobody is woken.
func (q *Queue) accept(m *messages.Message, size int, w *watch) {
	q.accepted++
	if len(q.backlogs) == 0 {
		q.unclaimed++
		q.drop(&q.nobody, 1, size)
		if w != nil {
			w.begin(1)
			w.settle("", q.dropped(noGroup.why))
		}
		return
	}
	q.queue(m, size, w, q.backlogs)
}

// queue encodes m once and queues it for groups.
func (q *Queue) queue(m *messages.Message, size int, w *watch, groups []*Backlog) {
	c, own := q.open.take(size, q.crowded)
	i := c.add(m)
	c.live++ // making room must not take it away
	if w != nil {
		w.begin(len(groups))
		c.watch(i, w)
		delete(q.recalled, w.tag) // which is 0 of what is not lent
	}
	for _, b := range groups {
		if !b.room(size, q.cfg.Queue) && !q.makeRoom(b, size) {
			if w != nil {
				w.settle(b.Group, q.full(b))
			}
			continue
		}
		switch {
		case w != nil && (w.first || w.deaths > 0):
			b.appendFirst(c, i, size, w.deaths)
		case b.keyed != nil && len(m.Key) > 0:
			b.appendKeyed(c, i, m.Key, size)
		default:
			b.append(c, i, size)
		}
		if !m.ExpiresAt.IsZero() {
			q.expiring(b)
		}
	}
	c.live--
	if own {
		c.release(1)
	}
}

// crowded reports whether what some group has not settled would fill a roomy chunk.
func (q *Queue) crowded() bool {
	return slices.ContainsFunc(q.backlogs, func(b *Backlog) bool { return b.size >= roomyChunk })
}

// wakeAll calls the links that should carry what was accepted.
func (q *Queue) wakeAll() {
	for _, b := range q.backlogs {
		q.wake(b)
	}
}

// makeRoom drops the oldest of a QueueDropOldest group. When links hold
// everything, the new message is the one that goes.
func (q *Queue) makeRoom(b *Backlog, size int) bool {
	n, bytes, ok := b.dropOldest(size, q.cfg.Queue, q.full)
	if !ok {
		n, bytes = n+1, bytes+size
	}
	b.counters.Dropped += uint64(n)
	q.drop(&b.untold, n, bytes)
	q.progress()
	return ok
}

// await holds a Send until its obstacle is gone. It is called with mu held and
// releases it.
func (q *Queue) await(ctx context.Context, m *messages.Message, size int, w *watch, held *obstacle) error {
	since := time.Now()
	slow := time.NewTimer(time.Second)
	defer slow.Stop()
	for {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.waiting++
		q.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-slow.C:
			q.Emit(messages.SendBlocked{Destination: q.name, Group: held.group, Missing: held.missing, Since: since, Why: held.why})
		case <-ctx.Done():
			err = fmt.Errorf("send to %q: waited %s%s: %w", q.name,
				time.Since(since).Round(time.Millisecond), held.describe(), context.Cause(ctx))
		}
		q.mu.Lock()
		q.waiting--
		if err != nil {
			q.mu.Unlock()
			return err
		}
		full, err := q.admit(size)
		if full == nil || err != nil {
			if err == nil {
				q.accept(m, size, w)
				q.wakeAll()
			}
			q.mu.Unlock()
			return err
		}
		held = full
	}
}

func (h *obstacle) describe() string {
	switch {
	case len(h.missing) > 0:
		return fmt.Sprintf(", %s: %q", h.why, h.missing)
	case h.group == "":
		return ", " + h.why
	}
	return fmt.Sprintf(" for group %q, %s", h.group, h.why)
}

// progress lets waiting Sends and Flushes look again. mu is held.
func (q *Queue) progress() {
	if q.waiting > 0 && q.room != nil {
		close(q.room)
		q.room = nil
	}
	if q.flushing > 0 && q.moved != nil {
		close(q.moved)
		q.moved = nil
	}
	q.open.rest()
}

// Backlog returns what is kept for the group, made when the group is new. It tells when
// messages were accepted before, which that group has not seen.
func (q *Queue) Backlog(group string, s messages.GroupSettings) *Backlog {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.backlogs {
		if b.Group == group {
			return b
		}
	}
	b := &Backlog{Group: group}
	b.remode(s)
	q.prefer(b)
	q.backlogs = append(q.backlogs, b)
	if q.accepted > 0 {
		q.Emit(messages.GroupBegan{Destination: q.name, Group: group, Missed: q.accepted})
	}
	q.lookForRequired()
	q.progress()
	return b
}

// lookForRequired notes which required groups are missing, when a group came or went.
// mu is held; the slice is a new one, because waiting Sends have the one before.
func (q *Queue) lookForRequired() {
	q.missing = nil
	for _, name := range q.cfg.Require {
		if !slices.ContainsFunc(q.backlogs, func(b *Backlog) bool { return b.Group == name }) {
			q.missing = append(q.missing, name)
		}
	}
}

// Resettle changes a group's settings. One of another mode or policy must have no
// links.
func (q *Queue) Resettle(b *Backlog, s messages.GroupSettings) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.remode(s)
	q.prefer(b)
	q.progress()
}

// Settings returns a group's settings.
func (q *Queue) Settings(b *Backlog) messages.GroupSettings {
	q.mu.Lock()
	defer q.mu.Unlock()
	return b.settings
}

// Backlogs returns what is kept for each group.
func (q *Queue) Backlogs() []*Backlog {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.backlogs)
}

// Missing returns those of the required groups that Send waits for.
func (q *Queue) Missing() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.missing
}

// Links is how many members are linked, over all groups. Plain peers are none.
func (q *Queue) Links() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.backlogs {
		if !b.Plain() {
			n += len(b.links)
		}
	}
	return n
}

// Parked returns copies of the exhausted messages that nobody takes, group by group:
// the newest parkedLimit of each.
func (q *Queue) Parked() (out []messages.Parked) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.backlogs {
		out = append(out, b.parked...)
	}
	return out
}

// Stats returns a row for each group, and one without a group's name when messages
// were dropped because there was none.
func (q *Queue) Stats() (out []messages.PipeStats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.unclaimed; n > 0 {
		out = append(out, messages.PipeStats{Destination: q.name, PipeCounters: messages.PipeCounters{Accepted: n, Dropped: n}})
	}
	for _, b := range q.backlogs {
		out = append(out, messages.PipeStats{
			Destination: q.name, Group: b.Group, PipeCounters: b.counters,
			Pending: b.count, PendingBytes: b.size, Links: len(b.links), Policy: q.policy(b), PipeOrder: b.inOrder(),
		})
	}
	return out
}
