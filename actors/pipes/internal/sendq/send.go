package sendq

// The other ways to send: without waiting, several at once, with word of when a
// message is settled, and as a request to some groups.

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
// Causes: messages.ErrDropped, messages.ErrDeadLettered, messages.ErrExpired, and
// *messages.AbandonedError when the group was removed or, with messages.ErrClosed, the destination ended.
func (q *Queue) SendAsync(ctx context.Context, m *messages.Message, settled func(error)) error {
	return q.send(ctx, m, &watch{settled: settled})
}

// watch is on one message, in all groups. The queue's lock guards it.
type watch struct {
	left    int // groups that have not settled it
	causes  error
	settled func(error)
	// each, in place of settled, is told of each group.
	each func(group string, cause error)
	// Of what is lent, as Loan says.
	deaths int
	first  bool
	tag    int64
}

// begin says for how many groups the message is accepted.
func (w *watch) begin(groups int) { w.left = groups }

// settle notes that one group has settled the message, and tells when all have.
func (w *watch) settle(group string, cause error) {
	if w.each != nil {
		w.each(group, cause)
		return
	}
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

// full is why a group gave up what it had no room for.
func (q *Queue) full(b *Backlog) error {
	return q.dropped(fmt.Sprintf("group %q, %s", b.Group, groupFull))
}

func (q *Queue) dropped(why string) error {
	return fmt.Errorf("send to %q: %s: %w", q.name, why, messages.ErrDropped)
}

// Asking is a request on its way to some of the groups.
type Asking struct {
	// Groups are asked, each named once.
	Groups []string
	// Some has the groups asked that can be, and Each told of the others.
	Some bool
	// Grace is how long a member may take to link that etcd shows in its group.
	Grace time.Duration
	// Each is told once of each group how the request ended there, unless that was with
	// an ack of a group that is messages.AtMostOnce: nil is an ack. It is called under the
	// queue's lock, so it must not block or call the queue.
	Each func(group string, cause error)

	placed []placed
}

// placed is where a request stands in a group's queue.
type placed struct {
	b   *Backlog
	seq uint64
	key []byte
}

// Ask accepts m, which has the number of a request, for the groups of a that have a link
// to a member. It waits for room as Send does.
//
// Errors, with which nobody gets m: those of Send; messages.ErrNoGroup of a group that is
// not known, and messages.ErrNoMember of one without a link, unless a.Some.
func (q *Queue) Ask(ctx context.Context, m *messages.Message, a *Asking) error {
	size, err := q.measure(ctx, m)
	if err != nil {
		return err
	}
	var grace <-chan time.Time
	patient := true
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		to, why, err := q.askable(a, size, patient)
		if err != nil {
			return err
		}
		if why == "" {
			q.ask(m, size, a, to)
			return nil
		}
		if grace == nil {
			timer := time.NewTimer(a.Grace)
			defer timer.Stop()
			grace = timer.C
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.waiting++
		q.mu.Unlock()
		select {
		case <-room:
		case <-grace:
			patient = false
		case <-ctx.Done():
			err = fmt.Errorf("request to %q: %s: %w", q.name, why, context.Cause(ctx))
		}
		q.mu.Lock()
		q.waiting--
		if err != nil {
			return err
		}
	}
}

// askable returns the groups that a can be accepted for now, or what it has to wait for.
// patient says that members may be on their way. mu is held.
func (q *Queue) askable(a *Asking, size int, patient bool) (to []*Backlog, why string, err error) {
	if q.phase != queueOpen {
		return nil, "", q.refused()
	}
	for _, name := range a.Groups {
		i := slices.IndexFunc(q.backlogs, func(b *Backlog) bool { return b.Group == name })
		if i < 0 {
			if !a.Some {
				return nil, "", fmt.Errorf("request to %q: group %q: %w", q.name, name, messages.ErrNoGroup)
			}
			continue
		}
		b := q.backlogs[i]
		switch {
		case b.linked():
		case patient && b.expected:
			return nil, fmt.Sprintf("the member of group %q is not linked", name), nil
		case !a.Some:
			return nil, "", fmt.Errorf("request to %q: group %q: %w", q.name, name, messages.ErrNoMember)
		default:
			continue
		}
		if !b.room(size, q.cfg.Queue) {
			switch q.policy(b) {
			case messages.QueueBlock:
				return nil, fmt.Sprintf("group %q, %s", name, groupFull), nil
			case messages.QueueError:
				return nil, "", fmt.Errorf("request to %q: group %q has %d messages and %d bytes waiting: %w",
					q.name, name, b.count, b.size, messages.ErrGroupFull)
			}
		}
		to = append(to, b)
	}
	return to, "", nil
}

// ask queues m for groups, and tells of the others. mu is held.
func (q *Queue) ask(m *messages.Message, size int, a *Asking, groups []*Backlog) {
	for _, name := range a.Groups {
		if !slices.ContainsFunc(groups, func(b *Backlog) bool { return b.Group == name }) {
			a.Each(name, fmt.Errorf("request to %q: group %q: %w", q.name, name, messages.ErrNoMember))
		}
	}
	if len(groups) == 0 {
		return
	}
	q.accepted++
	modes := make(map[string]messages.Mode, len(groups))
	before := make([]uint64, len(groups))
	for i, b := range groups {
		modes[b.Group], before[i] = b.settings.Mode, b.accepted
	}
	q.queue(m, size, &watch{each: func(group string, cause error) {
		if cause != nil || modes[group] != messages.AtMostOnce {
			a.Each(group, cause)
		}
	}}, groups)
	for i, b := range groups {
		if b.accepted > before[i] {
			a.placed = append(a.placed, placed{b, b.accepted, slices.Clone(m.Key)})
		}
		q.wake(b)
	}
}

// linked reports whether a member is linked that does not leave. The queue's lock is held.
func (b *Backlog) linked() bool {
	return slices.ContainsFunc(b.links, func(l *Link) bool { return l.phase != linkClosed && !l.draining })
}

// Expect notes which members etcd shows in the group, with their CreateRevisions. It keeps
// the map.
func (q *Queue) Expect(b *Backlog, members map[string]int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.since = members
	if expected := len(members) > 0; b.expected != expected {
		b.expected = expected
		q.progress()
	}
}

// Withdraw takes a request back where no member has it: its requester waits no more. It
// counts as dropped there.
func (q *Queue) Withdraw(a *Asking) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range a.placed {
		if s, ok := p.b.extract(p.key, p.seq); ok {
			p.b.counters.Dropped++
			p.b.settle(s)
		}
	}
	if len(a.placed) > 0 {
		for _, p := range a.placed {
			q.wake(p.b)
		}
		a.placed = nil
		q.progress()
	}
}

// LateReply counts a reply of a group that nobody waits for.
func (q *Queue) LateReply(b *Backlog) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.counters.LateReplies++
}

// extract takes out the message of that sequence, if it is queued or waits to be tried
// again. What a member may hand out still stays: its order waits for that.
func (b *Backlog) extract(key []byte, seq uint64) (span, bool) {
	if s, ok := b.extractKeyed(key, seq); ok {
		return s, true
	}
	for _, q := range []*spans{&b.fresh, &b.again} {
		if s, ok := q.extract(seq); ok {
			return s, true
		}
	}
	for i, d := range b.delayed {
		if d.seq == seq && d.len() == 1 && !d.leased {
			if d.restsOrder() {
				b.rested(d.span)
			}
			return heap.Remove(&b.delayed, i).(delay).span, true
		}
	}
	return span{}, false
}

// extract takes out the record of that sequence, if it is there.
func (q *spans) extract(seq uint64) (span, bool) {
	at, found := slices.BinarySearchFunc(q.items[q.head:], seq, func(x span, seq uint64) int {
		switch {
		case x.seq > seq:
			return 1
		case x.seq+uint64(x.len()) <= seq:
			return -1
		}
		return 0
	})
	if !found {
		return span{}, false
	}
	at += q.head
	before, rest := q.items[at].cut(int(seq - q.items[at].seq))
	one, after := rest.cut(1)
	left := make([]span, 0, 2)
	for _, s := range []span{before, after} {
		if s.len() > 0 {
			left = append(left, s)
		}
	}
	q.items = slices.Replace(q.items, at, at+1, left...)
	q.count--
	q.size -= one.size()
	if q.empty() {
		q.items, q.head = q.items[:0], 0
	}
	return one, true
}

// Loan is how a message is lent.
type Loan struct {
	// Deaths is how often members have died over it.
	Deaths int
	// First: it is sent before what waits. One with Deaths always is.
	First bool
	// Tag is what Recall finds it by. It is not zero.
	Tag int64
	// Settled gets, besides the causes of SendAsync, the error of a handler, as
	// messages.GiveBackOf reads it; *messages.DeathError where a member may have died over it;
	// and messages.Untried where it was recalled.
	Settled func(error)
}

// Lend is SendAsync of a message that the caller answers for. The queue must be one that
// Lends.
func (q *Queue) Lend(ctx context.Context, m *messages.Message, loan Loan) error {
	return q.send(ctx, m, &watch{settled: loan.Settled, deaths: loan.Deaths, first: loan.First, tag: loan.Tag})
}

var errRecalled = messages.Untried(errors.New("it was recalled"))

// Recall has what was lent under a tag settled that no member has begun, with
// messages.Untried: what waits here at once, and what members give back when it comes. It
// holds until something is lent under that tag again.
func (q *Queue) Recall(tag int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for t := range q.recalled {
		if !q.isOut(t) {
			delete(q.recalled, t)
		}
	}
	if q.recalled == nil {
		q.recalled = make(map[int64]struct{})
	}
	q.recalled[tag] = struct{}{}
	for _, b := range q.backlogs {
		for _, from := range []*spans{&b.again, &b.fresh} {
			all := from.items[from.head:]
			*from = spans{}
			for _, s := range all {
				q.comesHome(b, s, from.push)
			}
		}
		delayed := b.delayed
		b.delayed, b.resting = nil, 0
		for _, d := range delayed {
			q.comesHome(b, d.span, func(s span) { b.delay(s, d.due) })
		}
	}
	q.progress()
}

// isOut reports whether a link has something that was lent under a tag. mu is held.
func (q *Queue) isOut(tag int64) bool {
	for _, b := range q.backlogs {
		for _, l := range b.links {
			for f := range l.out.all() {
				if slices.ContainsFunc(f.watches(), func(w *watch) bool { return w != nil && w.tag == tag }) {
					return true
				}
			}
		}
	}
	return false
}

// comesHome settles what of s is recalled, and has keep called with the rest. mu is held.
func (q *Queue) comesHome(b *Backlog, s span, keep func(span)) {
	for len(q.recalled) > 0 && s.len() > 0 {
		n := slices.IndexFunc(s.watches(), q.isRecalled)
		if n < 0 {
			break
		}
		var before, one span
		before, s = s.cut(n)
		one, s = s.cut(1)
		if before.len() > 0 {
			keep(before)
		}
		b.finish(one, errRecalled)
	}
	if s.len() > 0 {
		keep(s)
	}
}

func (q *Queue) isRecalled(w *watch) bool {
	if w == nil {
		return false
	}
	_, recalled := q.recalled[w.tag]
	return recalled
}
