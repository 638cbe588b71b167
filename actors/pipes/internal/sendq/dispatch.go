package sendq

// Who gets the next batch, and how much of it: work goes where least is out.
// Pure; the queue asks under its lock and performs what is decided.

import (
	"container/heap"
	"math"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// linkPhase says what a link's writer is doing. It is read for each message.
type linkPhase uint8

const (
	linkWriting linkPhase = iota // in a socket write, or not begun
	linkWaiting                  // asleep until its bell rings
	linkRung                     // on its way to the queue
	linkClosed                   // takes nothing any more
)

// offer is what the dispatcher knows of a link.
type offer struct {
	phase        linkPhase
	freeMessages uint64 // credit not used
	freeBytes    uint64
	window       uint64 // messages that the member allows to be out, as it said last
}

// can reports whether the link may carry at least one message. As long as a byte
// of credit is left that may be one of any legal size: the last message of a
// window may overshoot it, and a large one is never stuck.
func (o offer) can() bool {
	return o.phase != linkClosed && o.freeMessages > 0 && o.freeBytes > 0
}

// comes reports whether the link could come for a batch now.
func (o offer) comes() bool { return o.can() && o.phase != linkWriting }

// rank is a link's place among those of its group that could come for a batch.
type rank struct {
	out  uint64 // messages that it was sent and its member has not settled
	turn uint64 // when it is to get its next batch, in messages that each of them got
	free uint64 // credit in messages
}

// before reports whether the next batch goes to r rather than to other. The one with
// least out comes first, so that members who settle equally fast get equally much, however
// large their windows are. Of those that have the same the one that got least comes first,
// so that single messages go round, and who was sent many at once waits for the others.
// Who could not come for a while has missed its turns.
func (r rank) before(other rank) bool {
	switch {
	case r.out != other.out:
		return r.out < other.out
	case r.turn != other.turn:
		return r.turn < other.turn
	}
	return r.free > other.free
}

// lane is a link's place in the lanes of its group.
type lane struct {
	rank
	link *Link
	at   int // index, from 1; 0 when it is not in the lanes
}

// lanes are the links of a group that could come for a batch, as a heap: a change of one
// link costs no look at the others.
type lanes []*lane

func (s lanes) Len() int           { return len(s) }
func (s lanes) Less(i, j int) bool { return s[i].before(s[j].rank) }
func (s lanes) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = i+1, j+1
}

// Push is for the heap.
func (s *lanes) Push(x any) {
	l := x.(*lane)
	*s = append(*s, l)
	l.at = len(*s)
}

// Pop is for the heap.
func (s *lanes) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	last.at = 0
	return last
}

// place puts l where r is, or takes it out unless it comes.
func (s *lanes) place(l *lane, r rank, comes bool) {
	switch {
	case comes && l.at == 0:
		l.rank = r
		heap.Push(s, l)
	case comes && l.rank != r:
		l.rank = r
		heap.Fix(s, l.at-1)
	case !comes && l.at > 0:
		heap.Remove(s, l.at-1)
	}
}

// first is the link that the next batch goes to, or nil.
func (s lanes) first() *Link {
	if len(s) == 0 {
		return nil
	}
	return s[0].link
}

// Where a zone is preferred the links of its members are in the group's lanes, and those of
// all others in lanes of their own, which are asked for what is too much for the zone.

// zones is what is kept of a group whose messages go to members of one zone first.
type zones struct {
	above int    // messages that wait before others get those above it
	far   lanes  // of members elsewhere
	near  int    // members of the zone that are linked and read
	ready int    // of them, those that have credit, though they may be in a write
	taken uint64 // batches of the zone, so far
	pace  pace
	seen  uint64 // taken, when pace was looked at
	since time.Time
}

// nearness is how a member of the zone stands.
type nearness uint8

const (
	nearGone  nearness = iota // it leaves, hangs, or has no reader
	nearFull                  // it has no credit
	nearReady                 // it takes more: now, or when its write is over
)

// pace is how members of the zone take what waits for them.
type pace uint8

const (
	paceGood    pace = iota // nothing waits, as far as is known
	paceWatched             // something waits: lookAtPace comes
	paceStalled             // they took nothing for stalledAfter: all members are alike
)

// stalledAfter is how long messages wait for members of the zone that take nothing.
const stalledAfter = time.Second

// spill is how many of the messages that wait others may take.
func (z *zones) spill(queued int) int {
	switch {
	case z.near == 0 || z.pace == paceStalled:
		return queued
	case z.ready > 0:
		return 0
	}
	return max(0, queued-z.above)
}

// moves notes how a member of the zone stands now.
func (z *zones) moves(l *Link, o offer) {
	to := nearGone
	switch {
	case o.can():
		to = nearReady
	case o.phase != linkClosed && l.reads:
		to = nearFull
	}
	z.count(l.stands, -1)
	z.count(to, 1)
	l.stands = to
}

func (z *zones) count(n nearness, by int) {
	if n != nearGone {
		z.near += by
	}
	if n == nearReady {
		z.ready += by
	}
}

// prefer has the zone's members come first, where there is one and the group keeps no
// order. The queue's lock is held, and links of another mode are gone.
func (q *Queue) prefer(b *Backlog) {
	switch {
	case q.cfg.Zone == "" || b.settings.Mode.Ordered():
		b.zones = nil
	case b.zones == nil:
		b.zones = &zones{above: q.cfg.FarAbove}
	}
}

// first is the link that the next batch goes to, or nil, and how many messages a link to
// another zone may take. The queue's lock is held.
func (b *Backlog) first() (best *Link, most int) {
	best = b.lanes.first()
	if b.zones == nil {
		return best, 0
	}
	if most = b.zones.spill(b.queued()); most > 0 {
		if far := b.zones.far.first(); far != nil && (best == nil || far.lane.before(best.lane.rank)) {
			best = far
		}
	}
	return best, most
}

// rivals is how many others could come for what l could. The queue's lock is held.
func (b *Backlog) rivals(l *Link) int {
	if l.far {
		return len(b.zones.far) - 1
	}
	return len(b.lanes) - 1
}

// took notes that l got n messages. The queue's lock is held.
func (b *Backlog) took(l *Link, n int) {
	switch z := b.zones; {
	case z == nil:
	case l.far:
		b.counters.Far += uint64(n)
	default:
		if z.taken++; z.pace == paceStalled {
			z.pace = paceGood
		}
	}
}

// next calls best, or sees to it that what waits for the zone does not wait without end.
// mu is held.
func (q *Queue) next(b *Backlog, best *Link) {
	if best != nil {
		q.call(best)
		return
	}
	q.watch(b)
}

// watch has somebody look at the pace of the zone while something waits for it that
// others could take. mu is held.
func (q *Queue) watch(b *Backlog) {
	z := b.zones
	if z == nil || z.pace != paceGood || len(z.far) == 0 {
		return
	}
	z.pace, z.seen, z.since = paceWatched, z.taken, time.Now()
	q.later(func() { q.lookAtPace(b, z) })
}

func (q *Queue) lookAtPace(b *Backlog, z *zones) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	switch {
	case b.queued() == 0:
		z.pace = paceGood
		return
	case z.taken != z.seen:
		z.seen, z.since = z.taken, now
	case now.Sub(z.since) >= stalledAfter:
		z.pace = paceStalled
		q.wake(b)
		return
	}
	q.later(func() { q.lookAtPace(b, z) })
}

// A window that grew to quickWindow belongs to a member that has more than once taken all
// that it was sent. It may be sent quickShare messages at once, whatever its window is: who
// has a larger one shall not get more at each turn.
const (
	quickWindow = 256
	quickShare  = 1024
)

// share returns how many records of the queue's front span a link takes: what
// its credit allows, and no more than its part when others could carry too. A quick
// member takes a larger one: what it is sent does not wait there for long, and many small
// batches cost more than they gain.
func share(front span, queued, others int, o offer) int {
	n := front.len()
	part := (queued + others) / (others + 1)
	if o.window >= quickWindow {
		part = max(part, quickShare)
	}
	n = min(n, part)
	if uint64(n) > o.freeMessages {
		n = int(o.freeMessages)
	}
	head, _ := front.cut(n)
	return max(1, head.within(o.freeBytes))
}

// apart returns how many suspects a link takes, which has nothing else out until they are
// settled: else the acks of its neighbours could die with the member, and the death be
// counted for them. At the first time these are as many as the member handles at once,
// later one.
func apart(front span, concurrency int) int {
	if front.deaths > 1 {
		return 1
	}
	return max(1, concurrency)
}

// A group that is messages.Failover has one link that gets everything, and that in the
// order in which it was accepted.

// serves reports whether l may get a batch. Where the mode is Failover that is the active
// link, unless something waits that comes before what could be sent. The queue's lock is
// held.
func (b *Backlog) serves(l *Link) bool {
	return b.settings.Mode != messages.Failover || l == b.active && b.resting == 0
}

// elect makes sure that the link that can carry everything does. Who is active stays so,
// whoever comes, as long as its member reads, and longer while it has something out. The
// queue's lock is held.
func (b *Backlog) elect() {
	was := b.active
	if was == nil || was.phase == linkClosed || !was.eligible() && was.out.empty() {
		b.active = nil
		for _, l := range b.links {
			if l.eligible() && (b.active == nil || b.age(l) < b.age(b.active)) {
				b.active = l
			}
		}
	}
	if was != nil && was != b.active {
		b.place(was)
	}
	if b.active != nil {
		b.place(b.active)
	}
}

// eligible reports whether a member reads, and stays.
func (l *Link) eligible() bool {
	return l.phase != linkClosed && l.reads && !l.draining
}

// age is when a member joined, as etcd says: its CreateRevision. Who is not listed yet
// comes last.
func (b *Backlog) age(l *Link) int64 {
	if at, ok := b.since[l.Member]; ok {
		return at
	}
	return math.MaxInt64
}

// takeBehind queues again what is out on l behind a sequence, which its member has given
// back: it hands out nothing of that. The queue's lock is held.
func (b *Backlog) takeBehind(l *Link, seq uint64) {
	l.out.remove(seq+1, math.MaxUint64, func(x *sentSpan) {
		s := x.span
		s.again = true
		b.counters.Redelivered += uint64(s.len())
		b.requeue(s)
	})
}

// handles is how many messages of what l has out a handler may have at once.
func (b *Backlog) handles(l *Link) int {
	if b.settings.Mode == messages.Failover {
		return 1
	}
	return l.concurrency
}

// rests notes that messages have to wait before they are sent again, and rested that they
// do not any more. The queue's lock is held.
func (b *Backlog) rests(s span) {
	if b.resting += s.len(); b.keyed != nil {
		s.each(b.keyed.Rest)
	}
}

func (b *Backlog) rested(s span) {
	if b.resting -= s.len(); b.keyed != nil {
		s.each(func(key []byte) { b.keyed.stir(b.keyed.Rested(key)) })
	}
}

// Heard notes a ping of the member, and has the writer repeat its number.
func (q *Queue) Heard(l *Link, p frame.Ping, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.lease.Ping(p.Number, now) {
		l.echo.Store(p.Number)
		l.ring()
	}
}

// Echo is the number of a ping for the writer to repeat, once: 0 when there is none.
func (l *Link) Echo() uint64 {
	if l.echo.Load() == 0 {
		return 0
	}
	return l.echo.Swap(0)
}
