package actors

// The sending data path of a destination. Actors own it and hear of changes of
// state; records pass under one short lock from Send to the link that carries
// them, and never through a mailbox. It outlives the incarnations of the
// actors around it.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// outletPhase is where a destination stands with its callers. It is read for
// each message.
type outletPhase uint8

const (
	outletOpen     outletPhase = iota
	outletDraining             // takes no more, delivers the rest
	outletClosed
)

// outlet is what Send feeds and links pull from.
type outlet struct {
	name string
	cfg  DestinationConfig
	emit func(messages.Event) // never blocks, so it may be called under mu

	mu       sync.Mutex
	phase    outletPhase
	cause    error // why it closed
	open     *chunk
	pipes    []*backlog
	room     chan struct{} // closed when a waiting Send should look again
	waiting  int           // Sends that wait on room
	moved    chan struct{} // closed when a waiting Flush should look again
	flushing int
	offers   []offer // scratch
	losses   losses

	later     func(func())
	telling   bool   // tellDrops is to be called
	nobody    drops  // what was dropped while no group was there
	unclaimed uint64 // how many those are in all
}

// newOutlet makes a data path. later has a function called in a while; neither it
// nor emit may block.
func newOutlet(cfg DestinationConfig, emit func(messages.Event), later func(func())) *outlet {
	return &outlet{name: cfg.Name, cfg: cfg, emit: emit, later: later, phase: outletOpen}
}

// send accepts m for every group, or for none. It waits for room until ctx
// ends.
func (o *outlet) send(ctx context.Context, m *messages.Message) error {
	if ctx.Err() != nil {
		return fmt.Errorf("send to %q: %w", o.name, context.Cause(ctx))
	}
	if n := messages.PayloadSize(m); n > o.cfg.MaxMessageSize {
		return fmt.Errorf("send to %q: %d bytes of key, value and headers, the limit is %d: %w",
			o.name, n, o.cfg.MaxMessageSize, messages.ErrTooLarge)
	}
	if n := len(m.Headers); n > messages.MaxHeaders {
		return fmt.Errorf("send to %q: %d headers, the limit is %d: %w", o.name, n, messages.MaxHeaders, messages.ErrTooLarge)
	}
	size := messages.RecordSize(m)
	o.mu.Lock()
	full, err := o.admit(size)
	if full == nil && err == nil {
		o.accept(m, size)
		o.mu.Unlock()
		return nil
	}
	if err != nil {
		o.mu.Unlock()
		return err
	}
	return o.await(ctx, m, size, full)
}

// obstacle names what holds a Send up.
type obstacle struct {
	group string
	why   string
}

var (
	noGroup   = &obstacle{why: "no group has joined"}
	groupFull = "its queue is full"
)

// admit tells whether a message of size bytes can be accepted now, by
// everybody. An obstacle is worth waiting for, an error is not.
func (o *outlet) admit(size int) (*obstacle, error) {
	if o.phase != outletOpen {
		return nil, o.refused()
	}
	if len(o.pipes) == 0 && !o.cfg.DropWithoutGroup {
		return noGroup, nil
	}
	for _, b := range o.pipes {
		if b.room(size, o.cfg.Queue) {
			continue
		}
		switch b.settings.Policy {
		case messages.QueueBlock:
			return &obstacle{b.group, groupFull}, nil
		case messages.QueueError:
			return nil, fmt.Errorf("send to %q: group %q has %d messages and %d bytes waiting: %w",
				o.name, b.group, b.count, b.size, messages.ErrGroupFull)
		}
	}
	return nil, nil
}

func (o *outlet) refused() error {
	if o.cause != nil {
		return fmt.Errorf("send to %q: %w: %w", o.name, messages.ErrClosed, o.cause)
	}
	return fmt.Errorf("send to %q: %w", o.name, messages.ErrClosed)
}

// accept encodes m once and queues it in every pipe.
func (o *outlet) accept(m *messages.Message, size int) {
	if len(o.pipes) == 0 {
		o.unclaimed++
		o.drop(&o.nobody, 1, size)
		return
	}
	if o.open == nil || !o.open.fits(size) {
		if o.open != nil {
			o.open.release(1)
		}
		o.open = newChunk(size)
	}
	c := o.open
	i := c.add(m)
	c.live++ // making room must not take it away
	for _, b := range o.pipes {
		if !b.room(size, o.cfg.Queue) && !o.makeRoom(b, size) {
			continue
		}
		b.append(c, i, size)
		o.wake(b)
	}
	c.live--
}

// makeRoom drops the oldest of a QueueDropOldest group. When links hold
// everything, the new message is the one that goes.
func (o *outlet) makeRoom(b *backlog, size int) bool {
	n, bytes, ok := b.dropOldest(size, o.cfg.Queue)
	if !ok {
		n, bytes = n+1, bytes+size
	}
	b.counters.Dropped += uint64(n)
	o.drop(&b.untold, n, bytes)
	o.progress()
	return ok
}

// await holds a Send until its obstacle is gone. It is called with mu held and
// releases it.
func (o *outlet) await(ctx context.Context, m *messages.Message, size int, held *obstacle) error {
	since := time.Now()
	slow := time.NewTimer(time.Second)
	defer slow.Stop()
	for {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.waiting++
		o.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-slow.C:
			o.emit(messages.SendBlocked{Destination: o.name, Group: held.group, Since: since, Why: held.why})
		case <-ctx.Done():
			err = fmt.Errorf("send to %q: waited %s%s: %w", o.name,
				time.Since(since).Round(time.Millisecond), held.describe(), context.Cause(ctx))
		}
		o.mu.Lock()
		o.waiting--
		if err != nil {
			o.mu.Unlock()
			return err
		}
		full, err := o.admit(size)
		if full == nil || err != nil {
			if err == nil {
				o.accept(m, size)
			}
			o.mu.Unlock()
			return err
		}
		held = full
	}
}

func (h *obstacle) describe() string {
	if h.group == "" {
		return ", " + h.why
	}
	return fmt.Sprintf(" for group %q, %s", h.group, h.why)
}

// progress lets waiting Sends and Flushes look again. mu is held.
func (o *outlet) progress() {
	if o.waiting > 0 && o.room != nil {
		close(o.room)
		o.room = nil
	}
	if o.flushing > 0 && o.moved != nil {
		close(o.moved)
		o.moved = nil
	}
	if o.open != nil && o.open.live == 1 {
		// Nobody needs what is in it: an idle destination keeps no buffer.
		o.open.release(1)
		o.open = nil
	}
}

// pipe answers the group's backlog, made when the group is new.
func (o *outlet) pipe(group string, s messages.GroupSettings) *backlog {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.pipes {
		if b.group == group {
			return b
		}
	}
	b := &backlog{group: group, settings: s}
	o.pipes = append(o.pipes, b)
	o.progress()
	return b
}

// resettle changes a group's settings. One of another mode or policy must have no
// lanes.
func (o *outlet) resettle(b *backlog, s messages.GroupSettings) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.settings = s
	o.progress()
}

// modeOf returns a group's mode.
func (o *outlet) modeOf(b *backlog) messages.Mode {
	o.mu.Lock()
	defer o.mu.Unlock()
	return b.settings.Mode
}

// backlogs answers the groups' queues.
func (o *outlet) backlogs() []*backlog {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.pipes)
}

// parkedCopies answers what is kept for inspection, group by group.
func (o *outlet) parkedCopies() (out []messages.Parked) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.pipes {
		out = append(out, b.parked...)
	}
	return out
}

// settled waits until what was accepted before the call is acked or given up, or
// ctx ends. Once only groups without a link, and without a dead letter in hand, are left, it waits for patience at
// most; 0 is without limit.
func (o *outlet) settled(ctx context.Context, patience time.Duration) error {
	type goal struct {
		b   *backlog
		seq uint64
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var goals []goal
	for _, b := range o.pipes {
		goals = append(goals, goal{b, b.accepted})
	}
	linked := func(g goal) bool { return len(g.b.lanes)+len(g.b.dying) > 0 }
	var alone *time.Timer // runs while nobody who is left has a link
	defer func() {
		if alone != nil {
			alone.Stop()
		}
	}()
	for {
		goals = slices.DeleteFunc(goals, func(g goal) bool { return g.b.done(g.seq) || !slices.Contains(o.pipes, g.b) })
		if len(goals) == 0 {
			return nil
		}
		var over <-chan time.Time
		switch {
		case patience == 0:
		case !slices.ContainsFunc(goals, linked):
			if alone == nil {
				alone = time.NewTimer(patience)
			}
			over = alone.C
		case alone != nil:
			alone.Stop()
			alone = nil
		}
		if o.moved == nil {
			o.moved = make(chan struct{})
		}
		moved := o.moved
		o.flushing++
		o.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-over:
			err = messages.ErrNoMember
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		o.mu.Lock()
		o.flushing--
		if err != nil {
			return fmt.Errorf("flush %q: %s: %w", o.name, o.laggards(), err)
		}
	}
}

// laggards says who has not acked how much, for people.
func (o *outlet) laggards() string {
	const most = 3
	var parts []string
	more := 0
	for _, b := range o.pipes {
		switch {
		case b.count == 0:
		case len(parts) == most:
			more++
		case len(b.lanes) == 0:
			parts = append(parts, fmt.Sprintf("group %q, which has no member linked, has not acked %d messages", b.group, b.count))
		default:
			parts = append(parts, fmt.Sprintf("group %q has not acked %d messages", b.group, b.count))
		}
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("%d more groups neither", more))
	}
	return strings.Join(parts, ", ")
}

func (o *outlet) unsettled() (n int) {
	for _, b := range o.pipes {
		n += b.count
	}
	return n
}

// pending is what was accepted and is not settled, over all groups.
func (o *outlet) pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsettled()
}
