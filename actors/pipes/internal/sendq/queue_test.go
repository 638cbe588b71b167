package sendq

// The queue as a whole, against a model: several groups and links, members
// that ack, fail, return, die and leave in any order.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// What the model's messages expire at.
var past, future = time.Unix(1, 0), time.Unix(1<<33, 0)

// whereabouts is where the model believes a message to be, in one group.
type whereabouts string

const (
	isWaiting   whereabouts = "waiting"
	isOut       whereabouts = "out"
	isDelayed   whereabouts = "delayed"
	isExhausted whereabouts = "exhausted"
	isDone      whereabouts = "done"
	isDropped   whereabouts = "dropped"
	isExpired   whereabouts = "expired"
)

// fate is one message in one group.
type fate struct {
	id            uint64
	at            whereabouts
	nacks, deaths int
	returns       int  // given back since it failed
	rejected      bool // no member gets it again
	parked        bool // at a limit, where no handler is
	seen          bool // sent once, so somebody may know it
	handled       int  // acks of it
	lettered      bool // the dead-letter handler took it
	removed       bool // with its group
	due           time.Time
	expires       bool // some time
	late          bool // it has expired
}

// over reports whether the group has nothing more to do with it.
func (f *fate) over() bool { return f.at == isDone || f.at == isDropped || f.at == isExpired }

// fakeGroup is the model of a pipe; fates are in pipe sequence, from 1.
type fakeGroup struct {
	b         *Backlog
	fates     []*fate
	members   []*fakeMember
	exhausted []*fate
	tally     messages.PipeCounters // of what comes back
	parked    int
}

// fakeMember plays a member and the link's writer in front of it.
type fakeMember struct {
	g      *fakeGroup
	l      *Link
	awake  bool // its writer asks for batches; asleep it waits for the bell
	window uint64
	bytes  uint64
	out    map[uint64]*fate // what the sender knows to be out, by link sequence
	held   map[uint64]int   // what the member has not settled, with its size
	done   recvq.AckSet
	freed  uint64
}

// fakeWorld drives a queue and the model side by side.
type fakeWorld struct {
	t      *rapid.T
	o      *Queue
	groups []*fakeGroup
	now    time.Time
	ids    uint64
	seen   map[*chunk]bool
	drops  map[string]int // as the events count them
	deaths map[string]uint64
	asked  []*asked
	newest messages.Message // that was sent, for its ExpiresAt
}

// asked is a message of SendAsync: what became of it in each group, and what was told.
type asked struct {
	id     uint64
	fates  []*fate
	causes []error
}

// check compares what was told with what became of the message.
func (a *asked) check(t *rapid.T) {
	var wrong []error
	rejected := false
	for _, f := range a.fates {
		switch {
		case f.removed:
			wrong = append(wrong, &messages.AbandonedError{})
		case f.at == isDropped:
			wrong = append(wrong, messages.ErrDropped)
		case f.at == isExpired:
			wrong = append(wrong, messages.ErrExpired)
		case f.lettered:
			wrong = append(wrong, messages.ErrDeadLettered)
			rejected = rejected || f.rejected
		case f.at != isDone:
			if len(a.causes) > 0 {
				t.Fatalf("message %d is %s, and was told to be settled with %v", a.id, f.at, a.causes)
			}
			return
		}
	}
	if len(a.causes) != 1 {
		t.Fatalf("message %d is settled, and that was told %d times", a.id, len(a.causes))
	}
	if len(wrong) == 0 && a.causes[0] != nil {
		t.Fatalf("message %d was handled, told was %v", a.id, a.causes[0])
	}
	for _, want := range wrong {
		var abandoned *messages.AbandonedError
		if errors.As(want, &abandoned) && errors.As(a.causes[0], &abandoned) {
			continue
		}
		if !errors.Is(a.causes[0], want) {
			t.Fatalf("of message %d was told %v, not %v", a.id, a.causes[0], want)
		}
	}
	if errors.Is(a.causes[0], messages.ErrReject) != rejected {
		t.Fatalf("of message %d was told %v; a member rejected it: %v", a.id, a.causes[0], rejected)
	}
}

func (w *fakeWorld) emit(e messages.Event) {
	switch d := e.(type) {
	case messages.MessagesDropped:
		w.drops[d.Group] += d.Count
	case messages.DeathCounted:
		w.deaths[d.Group] += uint64(d.Count)
	}
}

func (w *fakeWorld) addGroup() {
	if len(w.groups) == 4 {
		return
	}
	s := messages.GroupSettings{
		Mode:   rapid.SampledFrom([]messages.Mode{messages.AtLeastOnce, messages.AtLeastOnce, messages.AtMostOnce}).Draw(w.t, "mode"),
		Policy: rapid.SampledFrom([]messages.QueuePolicy{messages.QueueBlock, messages.QueueDropOldest, messages.QueueError}).Draw(w.t, "policy"),
	}
	name := fmt.Sprintf("g%d", w.ids)
	w.ids++
	b := w.o.Backlog(name, s)
	if w.o.Backlog(name, s) != b {
		w.t.Fatalf("a group has two backlogs")
	}
	w.groups = append(w.groups, &fakeGroup{b: b})
}

func (w *fakeWorld) group() *fakeGroup {
	if len(w.groups) == 0 {
		return nil
	}
	return w.groups[rapid.IntRange(0, len(w.groups)-1).Draw(w.t, "group")]
}

// member draws a member out of all groups.
func (w *fakeWorld) member() *fakeMember {
	var all []*fakeMember
	for _, g := range w.groups {
		all = append(all, g.members...)
	}
	if len(all) == 0 {
		return nil
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(w.t, "member")]
}

func (w *fakeWorld) attach() {
	g := w.group()
	if g == nil || len(g.members) == 4 {
		return
	}
	m := &fakeMember{
		g: g, awake: true, out: map[uint64]*fate{}, held: map[uint64]int{},
		window: rapid.Uint64Range(1, 20).Draw(w.t, "window"),
		bytes:  rapid.Uint64Range(1, 3).Draw(w.t, "bytes") * rapid.Uint64Range(1, 300).Draw(w.t, "scale"),
	}
	m.l = NewLink(fmt.Sprintf("m%d", w.ids), rapid.IntRange(0, 4).Draw(w.t, "concurrency"), 1<<20)
	w.ids++
	w.o.Attach(g.b, m.l)
	g.members = append(g.members, m)
}

// full is the group that makes a message wait or be refused, as admit sees it.
func (w *fakeWorld) full(size int) *fakeGroup {
	for _, g := range w.groups {
		if g.b.settings.Policy != messages.QueueDropOldest && !g.b.room(size, w.o.cfg.Queue) {
			return g
		}
	}
	return nil
}

func (w *fakeWorld) send() {
	small := rapid.IntRange(8, 150).Draw(w.t, "size")
	big := rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 30 << 10, 61 << 10}).Draw(w.t, "big")
	w.ids++
	m := recordtest.Numbered(w.ids, small+big)
	m.ExpiresAt = rapid.SampledFrom([]time.Time{{}, {}, {}, {}, past, future}).Draw(w.t, "expires")
	w.newest = *m
	size := messages.RecordSize(m)
	full := w.full(size)
	if len(w.groups) == 0 || full != nil && full.b.settings.Policy == messages.QueueBlock {
		held, err := w.o.admit(size)
		if err != nil || held == nil || full != nil && held.group != full.b.Group {
			w.t.Fatalf("Send is held by %+v, %v", held, err)
		}
		want := messages.ErrNoGroup
		if full != nil {
			want = messages.ErrGroupFull
		}
		if err := w.o.TrySend(context.Background(), m); !errors.Is(err, want) {
			w.t.Fatalf("TrySend returns %v, want %v", err, want)
		}
		return
	}
	before := make([][]uint64, len(w.groups))
	for i, g := range w.groups {
		before[i] = held(g.b)
	}
	maps.DeleteFunc(w.drops, func(string, int) bool { return true })
	err := w.sendOne(m)
	clear(m.Value) // the caller's bytes are its own again
	if full != nil {
		if !errors.Is(err, messages.ErrGroupFull) {
			w.t.Fatalf("send into full group %q: %v", full.b.Group, err)
		}
		for i, g := range w.groups {
			if !slices.Equal(before[i], held(g.b)) {
				w.t.Fatalf("a refused message changed group %q", g.b.Group)
			}
		}
		return
	}
	if err != nil {
		w.t.Fatalf("send: %v", err)
	}
	for i, g := range w.groups {
		w.accepted(g, before[i])
	}
}

// sendOne sends m in one of the ways that there are, where none of them has to wait.
func (w *fakeWorld) sendOne(m *messages.Message) error {
	switch rapid.SampledFrom([]string{"send", "try", "batch", "async"}).Draw(w.t, "way") {
	case "try":
		return w.o.TrySend(context.Background(), m)
	case "batch":
		n := 0
		err := w.o.SendBatch(context.Background(), []messages.Message{*m}, &n)
		if (n == 1) != (err == nil) {
			w.t.Fatalf("%d accepted, with %v", n, err)
		}
		return err
	case "async":
		a := &asked{id: w.ids}
		err := w.o.SendAsync(context.Background(), m, func(cause error) { a.causes = append(a.causes, cause) })
		if err == nil {
			w.asked = append(w.asked, a)
		} else if len(a.causes) > 0 {
			w.t.Fatalf("a message that was refused is told of: %v", a.causes)
		}
		return err
	}
	return w.o.Send(context.Background(), m)
}

// asking notes what becomes in one group of the newest message, if somebody is to be told.
func (w *fakeWorld) asking(f *fate) {
	if n := len(w.asked); n > 0 && w.asked[n-1].id == w.ids {
		w.asked[n-1].fates = append(w.asked[n-1].fates, f)
	}
}

// accepted takes a message that Send accepted into g's model.
func (w *fakeWorld) accepted(g *fakeGroup, before []uint64) {
	now := held(g.b)
	dropped := 0
	for _, seq := range before {
		if _, still := slices.BinarySearch(now, seq); still {
			continue
		}
		f := g.fates[seq-1]
		if f.at != isWaiting {
			w.t.Fatalf("group %q dropped %d, which is %s", g.b.Group, f.id, f.at)
		}
		f.at = isDropped
		dropped++
	}
	switch {
	case g.b.accepted == uint64(len(g.fates))+1:
		f := &fate{id: w.ids, at: isWaiting, expires: !w.newest.ExpiresAt.IsZero(), late: w.newest.ExpiresAt.Equal(past)}
		g.fates = append(g.fates, f)
		w.asking(f)
	case g.b.settings.Policy == messages.QueueDropOldest:
		dropped++
		w.asking(&fate{id: w.ids, at: isDropped})
	default:
		w.t.Fatalf("group %q did not take a message that Send accepted", g.b.Group)
	}
	w.o.tellDrops()
	if w.drops[g.b.Group] != dropped {
		w.t.Fatalf("group %q dropped %d, events say %d", g.b.Group, dropped, w.drops[g.b.Group])
	}
}

// write lets a link's writer run: from its bell, or back from the socket.
func (w *fakeWorld) write() {
	if m := w.member(); m != nil {
		w.step(m)
	}
}

// step returns whether the writer got a batch.
func (w *fakeWorld) step(m *fakeMember) bool {
	if !m.awake {
		select {
		case <-m.l.bell:
		default:
			return false
		}
	}
	l := m.l
	sent, sentBytes := l.sent, l.sentBytes
	b, ok := w.o.Next(m.g.b, l)
	m.awake = ok
	m.g.expired()
	if !ok {
		return false
	}
	ids := recordtest.Numbers(w.t, b.Records)
	if b.Count < 1 || len(ids) != b.Count || b.First != sent+1 || l.sent != sent+uint64(b.Count) {
		w.t.Fatalf("batch of %d at %d holds %v; sent was %d and is %d", b.Count, b.First, ids, sent, l.sent)
	}
	if l.sentBytes != sentBytes+uint64(len(b.Records)) {
		w.t.Fatalf("%d bytes counted as %d", len(b.Records), l.sentBytes-sentBytes)
	}
	// The last message of a window may overshoot the bytes, alone.
	if l.sent > l.credit || sentBytes >= l.creditBytes || l.sentBytes > l.creditBytes && b.Count > 1 {
		w.t.Fatalf("%d messages of %d bytes sent, credit is %d of %d", l.sent, l.sentBytes, l.credit, l.creditBytes)
	}
	if len(b.Records) > roomyChunk && b.Count > 1 {
		w.t.Fatalf("%d messages in a frame of %d bytes", b.Count, len(b.Records))
	}
	first := slices.IndexFunc(m.g.fates, func(f *fate) bool { return f.at == isWaiting })
	if first < 0 || first+b.Count > len(m.g.fates) {
		w.t.Fatalf("a batch of %v, and nothing waits", ids)
	}
	for i, f := range m.g.fates[first : first+b.Count] {
		if f.id != ids[i] || f.at != isWaiting {
			w.t.Fatalf("record %d of a batch is %d, want %d, which is %s", i, ids[i], f.id, f.at)
		}
		if b.Attempt != 1+f.nacks || b.Deaths != f.deaths || b.Redelivered != f.seen {
			w.t.Fatalf("message %d goes out as attempt %d, again %t; it is %+v", f.id, b.Attempt, b.Redelivered, f)
		}
		seq := b.First + uint64(i)
		m.held[seq] = len(b.Records) / b.Count
		f.seen = true
		if m.g.b.settings.Mode == messages.AtMostOnce {
			f.at = isDone
			continue
		}
		f.at = isOut
		m.out[seq] = f
	}
	// The rounding of the sizes above is made up for here.
	m.held[b.First] += len(b.Records) % b.Count
	return true
}

// expired notes what the group has given up at the front of what waits.
func (g *fakeGroup) expired() {
	now := held(g.b)
	for i, f := range g.fates {
		if f.at != isWaiting {
			continue
		}
		if _, still := slices.BinarySearch(now, uint64(i+1)); still || !f.late {
			return
		}
		g.expires(f)
	}
}

func (g *fakeGroup) expires(f *fate) {
	f.at = isExpired
	g.tally.Expired++
}

// sweep is what comes a few times a second.
func (w *fakeWorld) sweep() {
	w.o.sweep()
	for _, g := range w.groups {
		for _, f := range g.fates {
			if f.at == isWaiting && f.late {
				g.expires(f)
			}
		}
	}
}

// unsettled draws a delivery that m has not settled.
func (w *fakeWorld) unsettled(m *fakeMember) (uint64, bool) {
	if len(m.held) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.held))).Draw(w.t, "seq"), true
}

func (m *fakeMember) settle(seq uint64) {
	m.freed += uint64(m.held[seq])
	delete(m.held, seq)
	m.done.Add(seq)
}

// handle lets a member settle some deliveries; the sender hears of it later.
func (w *fakeWorld) handle() {
	m := w.member()
	if m == nil {
		return
	}
	for range rapid.IntRange(1, 6).Draw(w.t, "handled") {
		if seq, ok := w.unsettled(m); ok {
			m.settle(seq)
		}
	}
}

// report sends a member's ack.
func (w *fakeWorld) report() {
	if m := w.member(); m != nil {
		w.ack(m)
	}
}

func (w *fakeWorld) ack(m *fakeMember) {
	a := &frame.Ack{
		Cumulative:     m.done.Cumulative,
		CreditMessages: m.done.Count + m.window,
		CreditBytes:    m.freed + m.bytes,
	}
	a.Ranges = append(a.Ranges, m.done.Ranges...)
	if err := w.o.Ack(m.g.b, m.l, a); err != nil {
		w.t.Fatalf("ack %+v: %v", a, err)
	}
	for seq, f := range m.out {
		if m.done.Has(seq) {
			f.at = isDone
			f.handled++
			delete(m.out, seq)
		}
	}
}

func (w *fakeWorld) nack() {
	m := w.member()
	if m == nil {
		return
	}
	seq, ok := w.unsettled(m)
	if !ok {
		return
	}
	n := &frame.Nack{Seq: seq, Reason: "no"}
	n.Kind = rapid.SampledFrom([]uint32{
		frame.NackFailed, frame.NackFailed, frame.NackReturned, frame.NackExpired, frame.NackRejected, frame.NackLapsed, 99,
	}).Draw(w.t, "kind")
	if n.Kind == frame.NackFailed && rapid.Bool().Draw(w.t, "named") {
		n.After = 70 * time.Millisecond
	}
	m.settle(seq)
	back, err := w.o.Nack(m.g.b, m.l, n, w.now)
	if err != nil {
		w.t.Fatalf("nack: %v", err)
	}
	f := m.out[seq]
	if f != nil && n.Kind == frame.NackLapsed && f.expires {
		delete(m.out, seq)
		m.g.expires(f)
		if back != (Outcome{}) {
			w.t.Fatalf("what expired led to %+v", back)
		}
		return
	}
	failed := f != nil && slices.Contains([]uint32{frame.NackFailed, frame.NackLapsed, 99}, n.Kind)
	if back.Failed != failed || back.Rejected != (f != nil && n.Kind == frame.NackRejected) {
		w.t.Fatalf("a nack of kind %d of %d led to %+v, it was out: %t", n.Kind, seq, back, f != nil)
	}
	if f == nil {
		return
	}
	delete(m.out, seq)
	nacks, deaths, tally := f.nacks, f.deaths, &m.g.tally
	switch {
	case failed:
		tally.Nacked++
		tally.Redelivered++
		f.nacks, f.returns = f.nacks+1, 0
		nacks++
		f.at, f.due = isDelayed, w.now.Add(cmp.Or(n.After, w.o.cfg.Retry.Delay(f.nacks)))
		if limit := w.o.cfg.MaxAttempts; limit > 0 && f.nacks >= limit {
			w.exhausts(m.g, f)
		}
	case n.Kind == frame.NackRejected:
		tally.Rejected++
		if f.at, f.rejected = isExhausted, true; w.o.cfg.DeadLetters {
			m.g.exhausted = append(m.g.exhausted, f)
		} else {
			f.at, f.lettered = isDone, true
			m.g.parked++
		}
	case n.Kind == frame.NackReturned:
		tally.Released++
		tally.Redelivered++
		w.returns(f)
	default:
		tally.Redelivered++
		deaths++
		if !w.dies(m.g, f) {
			w.returns(f)
		}
	}
	exhausted := f.at == isExhausted && !f.rejected || f.due.Equal(w.now.Add(w.o.cfg.Retry.Max)) && f.at == isDelayed
	if back.Attempt != nacks || back.Deaths != deaths || back.Exhausted && !exhausted {
		w.t.Fatalf("nack of kind %d led to %+v; it is %+v", n.Kind, back, f)
	}
}

// returns puts a message back that was given back.
func (w *fakeWorld) returns(f *fate) {
	f.returns++
	f.at = isWaiting
	if wait := returnAfter(uint16(f.returns)); wait > 0 {
		f.at, f.due = isDelayed, w.now.Add(wait)
	}
}

// dies counts a death, and reports whether it was one too many.
func (w *fakeWorld) dies(g *fakeGroup, f *fate) bool {
	g.tally.Died++
	f.deaths++
	if limit := w.o.cfg.MaxDeaths; limit <= 0 || f.deaths < limit {
		return false
	}
	w.exhausts(g, f)
	return true
}

// exhausts is what becomes of a message at a limit.
func (w *fakeWorld) exhausts(g *fakeGroup, f *fate) {
	if w.o.cfg.DeadLetters {
		f.at = isExhausted
		g.exhausted = append(g.exhausted, f)
		return
	}
	f.at, f.due = isDelayed, w.now.Add(w.o.cfg.Retry.Max)
	if !f.parked {
		f.parked = true
		g.parked++
	}
}

// deadLetter lets the dead-letter handler take, or refuse, the oldest.
func (w *fakeWorld) deadLetter() {
	g := w.group()
	if g == nil {
		return
	}
	letter, ok := w.o.NextExhausted(g.b)
	if ok != (len(g.exhausted) > 0) {
		w.t.Fatalf("a exhausted message: %t, want %d", ok, len(g.exhausted))
	}
	if !ok {
		return
	}
	id := recordtest.Numbers(w.t, messages.AppendRecord(nil, &letter.Message))[0]
	at := slices.IndexFunc(g.exhausted, func(f *fate) bool { return f.id == id })
	if at < 0 || at > 0 && !g.exhausted[at].rejected { // rejected ones are due again in any order
		w.t.Fatalf("dead letter %+v, want one of %+v", letter, g.exhausted[0])
	}
	f := g.exhausted[at]
	g.exhausted = slices.Delete(g.exhausted, at, at+1)
	if letter.Attempts != f.nacks || letter.Deaths != f.deaths || letter.Rejected != f.rejected || letter.Group != g.b.Group ||
		!slices.Contains([]string{"no", errLinkDied.Error(), errKept.Error()}, letter.Cause) {
		w.t.Fatalf("dead letter %+v of %+v", letter, f)
	}
	var err error
	if rapid.Bool().Draw(w.t, "refused") {
		err = errors.New("no room at the morgue")
	}
	w.o.DeadLettered(g.b, err, w.now)
	f.at, f.lettered = isDone, err == nil
	if err != nil {
		f.at, f.due = isDelayed, w.now.Add(w.o.cfg.Retry.Max)
	}
}

// pass lets time go by.
func (w *fakeWorld) pass() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 400).Draw(w.t, "ms")) * time.Millisecond)
	if g := w.group(); g != nil {
		w.requeueDue(g)
	}
}

func (w *fakeWorld) requeueDue(g *fakeGroup) {
	var next time.Time
	for _, f := range g.fates {
		switch {
		case f.at != isDelayed:
		case !f.due.After(w.now) && f.rejected:
			f.at = isExhausted
			g.exhausted = append(g.exhausted, f)
		case !f.due.After(w.now):
			f.at = isWaiting
		case next.IsZero() || f.due.Before(next):
			next = f.due
		}
	}
	if got := w.o.RequeueDue(g.b, w.now); !got.Equal(next) {
		w.t.Fatalf("come again at %v, want %v", got, next)
	}
}

func (w *fakeWorld) hold() {
	if m := w.member(); m != nil {
		if got := w.o.Hold(m.g.b, m.l); got != m.l.sent {
			w.t.Fatalf("a drain up to %d of %d", got, m.l.sent)
		}
	}
}

func (w *fakeWorld) detach() {
	if m := w.member(); m != nil {
		w.unlink(m, rapid.Bool().Draw(w.t, "died"))
	}
}

func (w *fakeWorld) unlink(m *fakeMember, died bool) {
	requeued := w.o.Detach(m.g.b, m.l, died, w.now)
	if requeued != len(m.out) {
		w.t.Fatalf("%d requeued of %d", requeued, len(m.out))
	}
	suspects := m.l.concurrency
	for _, seq := range slices.Sorted(maps.Keys(m.out)) {
		f := m.out[seq]
		f.at = isWaiting
		if died && suspects > 0 {
			suspects--
			w.dies(m.g, f)
		}
	}
	m.g.tally.Redelivered += uint64(requeued)
	m.g.members = slices.DeleteFunc(m.g.members, func(x *fakeMember) bool { return x == m })
	w.check()
	if _, ok := w.o.Next(m.g.b, m.l); ok {
		w.t.Fatalf("a closed link got a batch")
	}
	if n := w.o.Detach(m.g.b, m.l, died, w.now); n != 0 {
		w.t.Fatalf("a second detach requeued %d", n)
	}
}

// remove ends a group, its links first, as a pipe does.
func (w *fakeWorld) remove() {
	if rapid.IntRange(0, 9).Draw(w.t, "really") > 0 {
		return
	}
	if g := w.group(); g != nil {
		for _, m := range slices.Clone(g.members) {
			w.unlink(m, false)
		}
		for _, f := range g.fates {
			f.removed = !f.over()
		}
		left, bytes := g.b.count, g.b.size
		n, size := w.o.Remove(g.b)
		if n != left || size != bytes || g.b.count != 0 || g.b.size != 0 {
			w.t.Fatalf("removed %d messages of %d bytes, of %d of %d", n, size, left, bytes)
		}
		w.groups = slices.DeleteFunc(w.groups, func(x *fakeGroup) bool { return x == g })
	}
}

// check compares everything with the model, and counts who holds each chunk.
func (w *fakeWorld) check() {
	t := w.t
	refs := map[*chunk]int{}
	for _, c := range []*chunk{w.o.open.last, w.o.open.aside} {
		if c != nil {
			refs[c]++
		}
	}
	pending := 0
	for _, g := range w.groups {
		checkBooks(t, g.b)
		pending += g.b.count
		if g.b.count > w.o.cfg.Queue.Messages || g.b.size > w.o.cfg.Queue.Bytes {
			t.Fatalf("group %q holds %d messages of %d bytes, over %+v", g.b.Group, g.b.count, g.b.size, w.o.cfg.Queue)
		}
		var want []uint64
		for i, f := range g.fates {
			if !f.over() {
				want = append(want, uint64(i+1))
			}
			if f.handled > 1 {
				t.Fatalf("message %d was acked %d times", f.id, f.handled)
			}
		}
		if got := held(g.b); !slices.Equal(got, want) {
			t.Fatalf("group %q holds %v, want %v", g.b.Group, got, want)
		}
		got := messages.PipeCounters{
			Nacked: g.b.counters.Nacked, Redelivered: g.b.counters.Redelivered, Released: g.b.counters.Released,
			Died: g.b.counters.Died, Rejected: g.b.counters.Rejected, Expired: g.b.counters.Expired,
		}
		if n := len(g.b.parked); n != min(g.parked, parkedLimit) {
			t.Fatalf("group %q keeps copies of %d, want %d", g.b.Group, n, g.parked)
		}
		if got != g.tally || w.deaths[g.b.Group] != g.tally.Died {
			t.Fatalf("group %q counts %+v and tells of %d deaths, want %+v", g.b.Group, got, w.deaths[g.b.Group], g.tally)
		}
		low := g.b.accepted + 1
		if len(want) > 0 {
			low = want[0]
		}
		for _, goal := range []uint64{0, low - 1, low, g.b.accepted} {
			if got := g.b.done(goal); got != (goal < low || len(want) == 0) {
				t.Fatalf("group %q is done up to %d: %t, the oldest unsettled is %d", g.b.Group, goal, got, low)
			}
		}
		g.b.spansOf(func(s span) { refs[s.c] += s.len() })
		// Where somebody can carry what waits, somebody is on the way. What its member may die
		// over is carried by a link that has nothing out.
		can, comes := false, false
		alone := g.b.source() != nil && g.b.source().front().deaths > 0
		for _, m := range g.members {
			if m.l.offer().can() && (!alone || m.l.out.empty()) {
				can = true
				comes = comes || m.awake || len(m.l.bell) > 0
			}
		}
		if g.b.source() != nil && can && !comes {
			t.Fatalf("group %q: %d wait, and all who can carry them sleep", g.b.Group, g.b.queued())
		}
		for _, m := range g.members {
			if m.l.writing != nil {
				refs[m.l.writing]++
			}
			for _, c := range m.l.gather.pins {
				refs[c]++
			}
			if len(sentRecords(slices.Collect(m.l.out.all()))) != len(m.out) {
				t.Fatalf("%d out on %s, want %d", len(sentRecords(slices.Collect(m.l.out.all()))), m.l.Member, len(m.out))
			}
		}
	}
	for _, a := range w.asked {
		a.check(t)
	}
	if got := w.o.Pending(); got != pending {
		t.Fatalf("%d pending, want %d", got, pending)
	}
	for c, n := range refs {
		w.seen[c] = true
		if c.live != n {
			t.Fatalf("a chunk that %d hold has %d reasons to live", n, c.live)
		}
	}
	for c := range w.seen {
		if refs[c] == 0 && c.live != 0 {
			t.Fatalf("a chunk that nobody holds has %d reasons to live", c.live)
		}
	}
}

// finish lets every writer and member run until nothing moves, and finds
// nothing left: a message that still waits was lost, or its wake-up was.
func (w *fakeWorld) finish() {
	for _, g := range w.groups {
		for _, m := range slices.Clone(g.members) {
			if m.l.draining {
				w.unlink(m, false)
			}
		}
		if len(g.members) == 0 {
			only := w.groups
			w.groups = []*fakeGroup{g}
			w.attach()
			w.groups = only
		}
		w.check()
	}
	for {
		moved := false
		for _, g := range w.groups {
			w.now = w.now.Add(w.o.cfg.Retry.Max)
			w.requeueDue(g)
			for range g.exhausted {
				w.deadLetter()
			}
			for _, m := range g.members {
				for w.step(m) {
					moved = true
				}
				for _, seq := range slices.Sorted(maps.Keys(m.held)) {
					m.settle(seq)
					moved = true
				}
				if m.done.Count > 0 || m.l.credit == 0 {
					w.ack(m)
				}
			}
			for _, f := range g.fates {
				moved = moved || f.at == isDelayed || f.at == isExhausted
			}
			for _, m := range g.members {
				moved = moved || len(m.l.bell) > 0 || m.awake
			}
		}
		w.check()
		if !moved {
			break
		}
	}
	for _, g := range w.groups {
		for i, f := range g.fates {
			if !f.over() {
				w.t.Fatalf("group %q: message %d, accepted as %d, stays %s", g.b.Group, f.id, i+1, f.at)
			}
		}
		for _, m := range slices.Clone(g.members) {
			w.unlink(m, false)
		}
	}
	w.check()
	w.end()
	if w.o.open != (openChunks{}) {
		w.t.Fatalf("an idle destination keeps a buffer")
	}
	for c := range w.seen {
		if c.live != 0 {
			w.t.Fatalf("a chunk has %d reasons to live at the end", c.live)
		}
	}
}

// end sends some more and closes the queue with that.
func (w *fakeWorld) end() {
	w.attach()
	for range rapid.IntRange(0, 5).Draw(w.t, "at the end") {
		w.send()
		w.report()
		w.write()
	}
	w.check()
	w.o.Close(nil)
	for _, g := range w.groups {
		for _, m := range g.members {
			w.o.Detach(g.b, m.l, false, w.now)
		}
	}
	for _, g := range w.groups {
		for _, f := range g.fates {
			f.removed = f.removed || !f.over()
		}
	}
	for _, a := range w.asked {
		a.check(w.t)
	}
}

func TestQueueAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &fakeWorld{t: t, now: time.Unix(1000, 0), seen: map[*chunk]bool{}, drops: map[string]int{}, deaths: map[string]uint64{}}
		cfg := Config{
			MaxMessageSize: 64 << 10,
			MaxAttempts:    rapid.SampledFrom([]int{-1, 1, 2, 16}).Draw(t, "attempts"),
			MaxDeaths:      rapid.SampledFrom([]int{-1, 1, 2, 16}).Draw(t, "deaths"),
			Queue: messages.QueueLimits{
				Messages: rapid.IntRange(1, 25).Draw(t, "messages"),
				Bytes:    rapid.SampledFrom([]int{65 << 10, 200 << 10, 1 << 20}).Draw(t, "bytes"),
			},
			Retry: messages.Retry{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond},
		}
		if rapid.Bool().Draw(t, "letters") {
			cfg.DeadLetters = true
		}
		cfg.Retry.EnsureDefaults()
		w.o = New("orders", cfg, w.emit, func(func()) {})
		w.addGroup()
		moves := []struct {
			weight int
			move   func()
		}{
			{1, w.addGroup}, {3, w.attach}, {20, w.send}, {20, w.write}, {8, w.handle}, {8, w.report},
			{4, w.nack}, {2, w.deadLetter}, {3, w.pass}, {1, w.sweep}, {1, w.hold}, {2, w.detach}, {1, w.remove},
		}
		var wheel []func()
		for _, m := range moves {
			wheel = append(wheel, slices.Repeat([]func(){m.move}, m.weight)...)
		}
		for range rapid.IntRange(0, 400).Draw(t, "moves") {
			wheel[rapid.IntRange(0, len(wheel)-1).Draw(t, "move")]()
			w.check()
		}
		w.finish()
	})
}

// testConfig is a destination's with the usual limits.
func testConfig() Config {
	cfg := Config{MaxMessageSize: 4 << 20, Queue: messages.QueueLimits{Messages: 65536, Bytes: 64 << 20}, MaxAttempts: 16}
	cfg.Retry.EnsureDefaults()
	return cfg
}

// testQueue is a queue with one group, and what it emits.
func testQueue(t *testing.T, s messages.GroupSettings, change func(*Config)) (*Queue, *Backlog, chan messages.Event) {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	events := make(chan messages.Event, 100)
	o := New("orders", cfg, func(e messages.Event) { events <- e }, func(func()) {})
	s.Mode, s.Policy = cmp.Or(s.Mode, messages.AtLeastOnce), cmp.Or(s.Policy, messages.QueueBlock)
	return o, o.Backlog("billing", s), events
}

// linkTo attaches a link with that much credit, whose writer sleeps.
func linkTo(t *testing.T, o *Queue, b *Backlog, name string, credit, bytes uint64) *Link {
	t.Helper()
	l := NewLink(name, 1, 1<<20)
	o.Attach(b, l)
	if err := o.Ack(b, l, &frame.Ack{CreditMessages: credit, CreditBytes: bytes}); err != nil {
		t.Fatal(err)
	}
	if got, ok := o.Next(b, l); ok {
		t.Fatalf("%s got %d messages at once", name, got.Count)
	}
	return l
}

func rung(l *Link) bool {
	select {
	case <-l.bell:
		return true
	default:
		return false
	}
}

func mustSend(t *testing.T, o *Queue, ms ...*messages.Message) {
	t.Helper()
	for _, m := range ms {
		if err := o.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// mustNext lets the writer of a rung link take its batch.
func mustNext(t *testing.T, o *Queue, b *Backlog, l *Link) []uint64 {
	t.Helper()
	if !rung(l) {
		t.Fatalf("%s was not called", l.Member)
	}
	got, ok := o.Next(b, l)
	if !ok {
		t.Fatalf("nothing for %s", l.Member)
	}
	return recordtest.Numbers(t, got.Records)
}

func TestWorkGoesWhereCreditIs(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	poor := linkTo(t, o, b, "poor", 10, 1<<20)
	rich := linkTo(t, o, b, "rich", 20, 1<<20)
	mustSend(t, o, recordtest.Numbered(1, 8))
	if rung(poor) {
		t.Error("the link with less credit was called")
	}
	if got := mustNext(t, o, b, rich); !slices.Equal(got, []uint64{1}) {
		t.Errorf("rich got %v", got)
	}
	// rich is in its write: who is free comes.
	mustSend(t, o, recordtest.Numbered(2, 8))
	if got := mustNext(t, o, b, poor); !slices.Equal(got, []uint64{2}) {
		t.Errorf("poor got %v", got)
	}
}

func TestWorkIsSharedAmongThoseWhoCan(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	var links []*Link
	for i := range 4 {
		links = append(links, linkTo(t, o, b, fmt.Sprint(i), 100, 1<<20))
	}
	for i := range uint64(12) {
		mustSend(t, o, recordtest.Numbered(i, 8))
	}
	counts := make([]int, 4)
	for range 4 {
		for i, l := range links {
			if counts[i] == 0 && rung(l) {
				got, _ := o.Next(b, l)
				counts[i] = got.Count
			}
		}
	}
	if !slices.Equal(counts, []int{3, 3, 3, 3}) {
		t.Errorf("12 messages for 4 links were shared as %v", counts)
	}
}

// A message that does not fit into what is left of the bytes goes all the same,
// alone, and then there is nothing left until an ack.
func TestTheLastOfAWindowMayOvershoot(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 1000, 10)
	mustSend(t, o, recordtest.Numbered(1, 1<<20), recordtest.Numbered(2, 8), recordtest.Numbered(3, 8))
	if got := mustNext(t, o, b, l); !slices.Equal(got, []uint64{1}) {
		t.Errorf("got %v", got)
	}
	if got, ok := o.Next(b, l); ok {
		t.Errorf("and %d more", got.Count)
	}
	if err := o.Ack(b, l, &frame.Ack{Cumulative: 1, CreditMessages: 1001, CreditBytes: l.sentBytes}); err != nil {
		t.Fatal(err)
	}
	if rung(l) {
		t.Error("called without a byte of credit")
	}
	if err := o.Ack(b, l, &frame.Ack{Cumulative: 1, CreditMessages: 1001, CreditBytes: l.sentBytes + 1}); err != nil {
		t.Fatal(err)
	}
	if got := mustNext(t, o, b, l); !slices.Equal(got, []uint64{2}) {
		t.Errorf("got %v", got)
	}
}

// What shares no chunk has a frame of its own, and so has what follows.
func TestALargeMessageTravelsAlone(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 1000, 1<<30)
	for id, size := range []int{8, chunkSize + 1, 8, 66 << 10, 8, 8, 300 << 10, 8, 2 << 20, 8} {
		mustSend(t, o, recordtest.Numbered(uint64(id), size))
	}
	rung(l)
	var frames [][]uint64
	for {
		got, ok := o.Next(b, l)
		if !ok {
			break
		}
		frames = append(frames, recordtest.Numbers(t, got.Records))
	}
	want := [][]uint64{{0}, {1}, {2}, {3}, {4, 5}, {6}, {7}, {8}, {9}}
	if !slices.EqualFunc(frames, want, slices.Equal) {
		t.Errorf("frames %v, want %v", frames, want)
	}
}

// The newest message of a group that drops is the one its queue is for.
func TestDropOldestKeepsTheNewest(t *testing.T) {
	o, b, events := testQueue(t, messages.GroupSettings{Policy: messages.QueueDropOldest}, func(c *Config) { c.Queue.Messages = 2 })
	for id := range uint64(5) {
		mustSend(t, o, recordtest.Numbered(id, 8))
	}
	l := linkTo2(t, o, b, 100)
	if got := mustNext(t, o, b, l); !slices.Equal(got, []uint64{3, 4}) {
		t.Errorf("kept %v, want the newest two", got)
	}
	// The first is told at once, the others as a sum.
	for _, n := range []int{1, 2} {
		if d, ok := (<-events).(messages.MessagesDropped); !ok || d.Count != n || d.Group != "billing" {
			t.Errorf("event %+v, want %d", d, n)
		}
		o.tellDrops()
	}
	// The link has both: there is nothing older to drop.
	mustSend(t, o, recordtest.Numbered(5, 8))
	if d, ok := (<-events).(messages.MessagesDropped); !ok || d.Count != 1 {
		t.Errorf("event %+v", d)
	}
	if err := o.Ack(b, l, &frame.Ack{Cumulative: 2, CreditMessages: 100, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if got, ok := o.Next(b, l); ok {
		t.Errorf("%d messages more: the new one should have gone", got.Count)
	}
	if b.counters.Accepted != 5 || b.counters.Dropped != 4 || o.Pending() != 0 {
		t.Errorf("%+v with %d pending", b.counters, o.Pending())
	}
}

// linkTo2 attaches a link that is called at once for what waits.
func linkTo2(t *testing.T, o *Queue, b *Backlog, credit uint64) *Link {
	t.Helper()
	l := NewLink("m", 1, 1<<20)
	o.Attach(b, l)
	if got, ok := o.Next(b, l); ok {
		t.Fatalf("%d messages without credit", got.Count)
	}
	if err := o.Ack(b, l, &frame.Ack{CreditMessages: credit, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBytesOfABatchOutliveItsAck(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 100, 1<<20)
	mustSend(t, o, recordtest.Numbered(1, 64))
	rung(l)
	got, _ := o.Next(b, l)
	want := slices.Clone(got.Records)
	// The ack comes while the write has not returned.
	if err := o.Ack(b, l, &frame.Ack{Cumulative: 1, CreditMessages: 101, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	for id := range uint64(5) {
		mustSend(t, o, recordtest.Numbered(id+7, 64))
	}
	if !slices.Equal(got.Records, want) {
		t.Error("the bytes of a frame being written were used again")
	}
}

func TestAcksOfWhatWasNeverSentAreRefused(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 100, 1<<20)
	mustSend(t, o, recordtest.Numbered(1, 8), recordtest.Numbered(2, 8))
	mustNext(t, o, b, l)
	sent := l.sent
	for name, a := range map[string]frame.Ack{
		"cumulative": {Cumulative: sent + 1},
		"a range":    {Ranges: []frame.Range{{From: sent, To: sent + 1}}},
	} {
		if err := o.Ack(b, l, &a); !errors.Is(err, errBadAck) {
			t.Errorf("%s beyond what was sent: %v", name, err)
		}
	}
	for _, seq := range []uint64{0, sent + 1} {
		if _, err := o.Nack(b, l, &frame.Nack{Seq: seq}, time.Now()); !errors.Is(err, errBadAck) {
			t.Errorf("a nack of %d of %d: %v", seq, sent, err)
		}
	}
}

func TestSendRefusals(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{Policy: messages.QueueError}, func(c *Config) {
		c.MaxMessageSize, c.Queue.Messages = 100, 1
	})
	if err := o.Send(t.Context(), recordtest.Numbered(1, 500)); !errors.Is(err, messages.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	mustSend(t, o, recordtest.Numbered(1, 8))
	if err := o.Send(t.Context(), recordtest.Numbered(2, 8)); !errors.Is(err, messages.ErrGroupFull) {
		t.Errorf("a full group: %v", err)
	}
	ended := errors.New("the caller had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	if err := o.Send(ctx, recordtest.Numbered(3, 8)); !errors.Is(err, ended) {
		t.Errorf("an ended context: %v", err)
	}
	o.Drain()
	if err := o.Send(t.Context(), recordtest.Numbered(4, 8)); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("a draining destination: %v", err)
	}
	if n := o.Close(ended); n != 1 || b.count != 0 || b.counters.Dropped != 1 {
		t.Errorf("%d abandoned, %d left, %d dropped", n, b.count, b.counters.Dropped)
	}
	var lost *messages.AbandonedError
	if err := o.Flush(t.Context()); !errors.As(err, &lost) || lost.Messages != 1 || !errors.Is(err, ended) {
		t.Errorf("flush of a closed destination: %v", err)
	}
	if err := o.Send(t.Context(), recordtest.Numbered(5, 8)); !errors.Is(err, messages.ErrClosed) || !errors.Is(err, ended) {
		t.Errorf("a closed destination: %v", err)
	}
	if n := o.Close(nil); n != 0 {
		t.Errorf("a second close abandoned %d", n)
	}
}

func TestSendWithoutAGroup(t *testing.T) {
	events := make(chan messages.Event, 10)
	cfg := testConfig()
	cfg.DropWithoutGroup = true
	o := New("orders", cfg, func(e messages.Event) { events <- e }, func(func()) {})
	mustSend(t, o, recordtest.Numbered(1, 8))
	if d, ok := (<-events).(messages.MessagesDropped); !ok || d.Count != 1 || d.Group != "" || d.Why == "" {
		t.Errorf("event %+v", d)
	}
	if o.Pending() != 0 || o.open != (openChunks{}) {
		t.Error("a dropped message is kept")
	}
	b := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock, KeepFor: messages.Forever})
	mustSend(t, o, recordtest.Numbered(2, 8))
	if b.count != 1 {
		t.Error("the first group did not get the second message")
	}
}

func TestSendWaitsForRoom(t *testing.T) {
	tests := map[string]struct {
		groups int
		free   func(*testing.T, *Queue, *Backlog, *Link)
		want   error
	}{
		"an ack": {1, func(t *testing.T, o *Queue, b *Backlog, l *Link) {
			o.Ack(b, l, &frame.Ack{Cumulative: 1, CreditMessages: 10, CreditBytes: 1000})
		}, nil},
		"the group is removed": {2, func(t *testing.T, o *Queue, b *Backlog, l *Link) {
			o.Detach(b, l, false, time.Now())
			o.Remove(b)
		}, nil},
		"the destination drains": {1, func(t *testing.T, o *Queue, b *Backlog, l *Link) { o.Drain() }, messages.ErrClosed},
		"the destination closes": {1, func(t *testing.T, o *Queue, b *Backlog, l *Link) { o.Close(nil) }, messages.ErrClosed},
		"a dead letter": {1, func(t *testing.T, o *Queue, b *Backlog, l *Link) {
			o.cfg.MaxAttempts = 1
			o.cfg.DeadLetters = true
			if back, err := o.Nack(b, l, &frame.Nack{Seq: 1}, time.Now()); err != nil || !back.Exhausted {
				t.Errorf("nack: %+v, %v", back, err)
			}
			o.DeadLettered(b, nil, time.Now())
		}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, b, events := testQueue(t, messages.GroupSettings{}, func(c *Config) { c.Queue.Messages = 1 })
				l := linkTo(t, o, b, "m", 10, 1000)
				mustSend(t, o, recordtest.Numbered(1, 8))
				mustNext(t, o, b, l)
				for i := range tt.groups - 1 {
					o.Backlog(fmt.Sprint(i), b.settings)
				}
				began := time.Now()
				sent := make(chan error, 1)
				go func() { sent <- o.Send(context.Background(), recordtest.Numbered(2, 8)) }()
				synctest.Wait()
				select {
				case err := <-sent:
					t.Fatalf("Send did not wait: %v", err)
				default:
				}
				time.Sleep(1500 * time.Millisecond)
				for range tt.groups - 1 {
					if e, ok := (<-events).(messages.GroupBegan); !ok || e.Missed != 1 {
						t.Errorf("event %+v", e)
					}
				}
				select {
				case e := <-events:
					if w, ok := e.(messages.SendBlocked); !ok || w.Group != "billing" || !w.Since.Equal(began) || w.Why == "" {
						t.Errorf("event %+v", e)
					}
				default:
					t.Error("nobody was told after more than a second")
				}
				tt.free(t, o, b, l)
				if err := <-sent; !errors.Is(err, tt.want) {
					t.Errorf("Send: %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestSendWaitsForTheFirstGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan messages.Event, 10)
		o := New("orders", testConfig(), func(e messages.Event) { events <- e }, func(func()) {})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := o.Send(ctx, recordtest.Numbered(1, 8)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		if o.waiting != 0 || len(events) != 0 {
			t.Errorf("%d wait, %d events", o.waiting, len(events))
		}
		sent := make(chan error, 1)
		go func() { sent <- o.Send(context.Background(), recordtest.Numbered(2, 8)) }()
		time.Sleep(2 * time.Second)
		if w, ok := (<-events).(messages.SendBlocked); !ok || w.Group != "" || w.Why != "no group has joined" {
			t.Errorf("event %+v", w)
		}
		b := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock, KeepFor: messages.Forever})
		if err := <-sent; err != nil || b.count != 1 {
			t.Errorf("Send: %v; %d queued", err, b.count)
		}
	})
}

// Many that wait for the same room all get their turn.
func TestManySendsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) { c.Queue.Messages = 3 })
		l := linkTo(t, o, b, "m", 1000, 1<<20)
		const senders, each = 10, 20
		sent := make(chan error, senders)
		for range senders {
			go func() {
				for i := range each {
					if err := o.Send(context.Background(), recordtest.Numbered(uint64(i), 8)); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
		}
		handled := uint64(0)
		for handled < senders*each {
			<-l.bell
			for {
				got, ok := o.Next(b, l)
				if !ok {
					break
				}
				handled += uint64(got.Count)
				if err := o.Ack(b, l, &frame.Ack{Cumulative: handled, CreditMessages: handled + 1000, CreditBytes: 1 << 30}); err != nil {
					t.Error(err)
				}
			}
		}
		for range senders {
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
		if o.waiting != 0 || o.Pending() != 0 {
			t.Errorf("%d wait, %d pending", o.waiting, o.Pending())
		}
	})
}

func TestFlushWaitsForWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		if err := o.Flush(t.Context()); err != nil {
			t.Errorf("flush of nothing: %v", err)
		}
		l := linkTo(t, o, b, "m", 100, 1<<20)
		mustSend(t, o, recordtest.Numbered(1, 8), recordtest.Numbered(2, 8))
		flushed := make(chan error, 1)
		go func() { flushed <- o.Flush(context.Background()) }()
		synctest.Wait()
		// What comes later is not waited for, in old groups and new ones.
		mustSend(t, o, recordtest.Numbered(3, 8))
		o.Backlog("late", b.settings)
		mustSend(t, o, recordtest.Numbered(4, 8))
		mustNext(t, o, b, l)
		ack := func(a frame.Ack) {
			a.CreditMessages, a.CreditBytes = 100, 1<<20
			if err := o.Ack(b, l, &a); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		ack(frame.Ack{Ranges: []frame.Range{{From: 2, To: 3}}})
		select {
		case err := <-flushed:
			t.Fatalf("flushed before the first was acked: %v", err)
		default:
		}
		ack(frame.Ack{Cumulative: 3})
		select {
		case err := <-flushed:
			if err != nil {
				t.Errorf("flush: %v", err)
			}
		default:
			t.Fatal("the flush still waits")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || o.flushing != 0 {
			t.Errorf("flush of what nobody acks: %v; %d wait", err, o.flushing)
		}
	})
}

// A group that nobody is linked to does not hold Flush without end; its messages
// stay, and who links again is waited for.
func TestFlushOfAGroupWithoutMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		mustSend(t, o, recordtest.Numbered(1, 8))
		began := time.Now()
		if err := o.Flush(context.Background()); !errors.Is(err, messages.ErrNoMember) || time.Since(began) != memberPatience {
			t.Errorf("flush with nobody linked: %v after %s", err, time.Since(began))
		}
		flushed := make(chan error, 1)
		go func() { flushed <- o.Flush(context.Background()) }()
		time.Sleep(memberPatience / 2)
		l := linkTo2(t, o, b, 100)
		mustNext(t, o, b, l)
		time.Sleep(2 * memberPatience)
		select {
		case err := <-flushed:
			t.Fatalf("flush did not wait for the member that linked: %v", err)
		default:
		}
		o.Detach(b, l, true, time.Now())
		time.Sleep(memberPatience / 2)
		l = linkTo2(t, o, b, 100)
		mustNext(t, o, b, l)
		if err := o.Ack(b, l, &frame.Ack{Cumulative: 1, CreditMessages: 100, CreditBytes: 1 << 20}); err != nil {
			t.Error(err)
		}
		if err := <-flushed; err != nil {
			t.Errorf("flush: %v", err)
		}
	})
}

func TestFlushOfARemovedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		mustSend(t, o, recordtest.Numbered(1, 8), recordtest.Numbered(2, 8))
		flushed := make(chan error, 1)
		go func() { flushed <- o.Flush(context.Background()) }()
		synctest.Wait()
		o.Remove(b)
		var abandoned *messages.AbandonedError
		if err := <-flushed; !errors.As(err, &abandoned) || abandoned.Messages != 2 {
			t.Errorf("flush: %v", err)
		}
	})
}

// Promise: Flush waits for every group that can still be served, whatever
// others lost; and what a removed group lost is said, once.
func TestFlushServesTheHealthyAndTellsTheLostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, removed, _ := testQueue(t, messages.GroupSettings{}, nil)
		healthy := o.Backlog("shipping", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock})
		l := linkTo(t, o, healthy, "w1", 10, 1<<20)
		mustSend(t, o, recordtest.Numbered(1, 8))
		o.Remove(removed)
		flushed := make(chan error, 1)
		go func() { flushed <- o.Flush(context.Background()) }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("flush gave up %d messages of a healthy group: %v", o.Pending(), err)
		default:
		}
		mustNext(t, o, healthy, l)
		if err := o.Ack(healthy, l, &frame.Ack{Cumulative: 1}); err != nil {
			t.Fatal(err)
		}
		var abandoned *messages.AbandonedError
		if err := <-flushed; !errors.As(err, &abandoned) || abandoned.Messages != 1 {
			t.Errorf("flush: %v, not one message abandoned", err)
		}
		if err := o.Flush(context.Background()); err != nil {
			t.Errorf("the flush after: %v", err)
		}
	})
}

func TestFlushEndsWithTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _ := testQueue(t, messages.GroupSettings{}, nil)
		mustSend(t, o, recordtest.Numbered(1, 8))
		flushed := make(chan error, 1)
		go func() { flushed <- o.Flush(context.Background()) }()
		synctest.Wait()
		o.Close(nil)
		if err := <-flushed; !errors.Is(err, messages.ErrClosed) {
			t.Errorf("flush: %v", err)
		}
	})
}

// The message that is not acked is parked once, however often it fails.
func TestParkedOncePerMessage(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) {
		c.MaxAttempts, c.Retry = 2, messages.Retry{Min: time.Millisecond, Max: time.Second, Factor: 2}
	})
	l := linkTo(t, o, b, "m", 100, 1<<20)
	mustSend(t, o, recordtest.Numbered(1, 8))
	now := time.Unix(1000, 0)
	for i := range uint64(5) {
		mustNext(t, o, b, l)
		o.Next(b, l)
		back, err := o.Nack(b, l, &frame.Nack{Seq: i + 1, Reason: "no"}, now)
		if err != nil || back.Attempt != int(i+1) || back.Exhausted != (i >= 1) {
			t.Fatalf("nack %d: %+v, %v", i+1, back, err)
		}
		now = now.Add(time.Second)
		if back.Due.After(now) || back.Exhausted && !back.Due.Equal(now) {
			t.Errorf("nack %d is due %s, and now is %s", i+1, back.Due, now)
		}
		o.RequeueDue(b, now)
	}
	if len(b.parked) != 1 {
		t.Errorf("one message is parked %d times", len(b.parked))
	}
}

func TestSendAllocatesNothing(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 1<<40, 1<<50)
	m := recordtest.Numbered(1, 64)
	const run = 1000
	ack := &frame.Ack{CreditMessages: 1 << 40, CreditBytes: 1 << 50}
	per := testing.AllocsPerRun(50, func() {
		for range run {
			if err := o.Send(context.Background(), m); err != nil {
				t.Fatal(err)
			}
		}
		rung(l)
		for {
			if _, ok := o.Next(b, l); !ok {
				break
			}
		}
		ack.Cumulative = l.sent
		if err := o.Ack(b, l, ack); err != nil {
			t.Fatal(err)
		}
	}) / run
	if o.Pending() != 0 {
		t.Errorf("%d pending", o.Pending())
	}
	if per >= 0.05 {
		t.Errorf("%.3f allocations for each message", per)
	}
	t.Logf("%.4f allocations for each message", per)
}

func TestAReturnedMessageGoesOutAtOnce(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "m", 10, 1000)
	mustSend(t, o, recordtest.Numbered(1, 8))
	mustNext(t, o, b, l)
	if got, ok := o.Next(b, l); ok {
		t.Fatalf("%d messages more", got.Count)
	}
	back, err := o.Nack(b, l, &frame.Nack{Seq: 1, Kind: frame.NackReturned}, time.Now())
	if err != nil || back.Failed {
		t.Fatalf("nack: %+v, %v", back, err)
	}
	if !rung(l) {
		t.Fatal("nobody was called")
	}
	if got, ok := o.Next(b, l); !ok || got.First != 2 || got.Attempt != 1 || !got.Redelivered {
		t.Errorf("batch %+v, %t; want the same message, untried, under the next sequence", got, ok)
	}
	// The ack of the next one does not settle the returned one twice.
	if err := o.Ack(b, l, &frame.Ack{Cumulative: 2, CreditMessages: 12, CreditBytes: 2000}); err != nil || o.Pending() != 0 || b.counters.Acked != 1 {
		t.Errorf("ack: %v; %d pending, %+v", err, o.Pending(), b.counters)
	}
}

// What was dropped because there was no group stands in the counters.
func TestDropsWithoutGroupAreCounted(t *testing.T) {
	cfg := testConfig()
	cfg.DropWithoutGroup = true
	o := New("orders", cfg, func(messages.Event) {}, func(func()) {})
	if rows := o.Stats(); len(rows) != 0 {
		t.Errorf("before: %+v", rows)
	}
	for i := range uint64(3) {
		if err := o.Send(t.Context(), recordtest.Numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	if rows := o.Stats(); len(rows) != 1 || rows[0].Group != "" || rows[0].Accepted != 3 || rows[0].Dropped != 3 || rows[0].Pending != 0 {
		t.Errorf("after: %+v", rows)
	}
}
