package lanes

// The records of one partition that are taken in and not finished.

import (
	"container/heap"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Order says which records of a partition are handled one after the other.
type Order uint8

// The orders.
const (
	// ByKey: those of one key. Those without a key are in no order.
	ByKey Order = iota
	// None: no two of them are.
	None
	// Strict: all of them are.
	Strict
)

// Held is a batch that records of a window are from. Its bytes stay in memory while it
// is in use.
type Held struct {
	// Base is the offset of its first record, Bytes the size of its records.
	Base  int64
	Bytes int
	uses  int
}

// InUse reports whether a record is in the window that needs its bytes.
func (h *Held) InUse() bool { return h.uses > 0 }

// Entry is one record that was taken in. Its exported fields are for the caller, who
// changes none but Attempts and Deaths.
type Entry struct {
	// Record is the record, with an Attempt and Deaths that are not set.
	Record messages.Record
	// Base is that of the batch that it is from.
	Base int64
	// Attempts are its failed handlings, Deaths how often a process may have died over it.
	Attempts, Deaths int

	notBefore time.Time
	state     state
	lane      *lane // nil: it has one of its own
	held      *Held // nil: its bytes are its own
	own       int   // how many they are then

	before, behind *Entry // that are not finished, by offset
}

type state uint8

const (
	parked state = iota // behind another one of its lane
	ready
	out // handed out
	rests
	over
)

// mostOwn bounds the bytes of records that rest and do not keep their batch.
const mostOwn = 1 << 20

// lane is the records of one key that are not finished: the first one, and those behind it.
type lane struct {
	key    string
	parked []*Entry
}

// Window is what is taken in of one partition and not finished. Use New.
type Window struct {
	order Order
	most  int

	next        int64 // the first offset that was not taken in
	first, last *Entry
	open        int // how many there are from first to last
	outside     int // of them, handed out
	lanes       map[string]*lane
	again       []*Entry // ready, and was handed out before: it comes first
	ready       queue
	resting     resting
	own         int             // bytes of records that have theirs
	ahead       format.Progress // of what was not taken in
}

// New is a window that begins at an offset. At most most records are in it; progress is
// what is known of records from there on.
func New(order Order, most int, offset int64, progress format.Progress) *Window {
	return &Window{order: order, most: most, next: offset, lanes: make(map[string]*lane), ahead: progress}
}

// Floor is the first offset that is not finished.
func (w *Window) Floor() int64 {
	if w.first != nil {
		return w.first.Record.Offset
	}
	return w.next
}

// FloorBase is the base of the batch that the record at Floor is from, or -1 when that was
// not taken in.
func (w *Window) FloorBase() int64 {
	if w.first != nil {
		return w.first.Base
	}
	return -1
}

// Next is the first offset that was not taken in.
func (w *Window) Next() int64 { return w.next }

// Full reports whether no more records can be taken in before one is finished.
func (w *Window) Full() bool { return w.open >= w.most }

// Open is how many records are taken in and not finished, Out how many of them are
// handed out.
func (w *Window) Open() int { return w.open }

// Out is how many records are handed out.
func (w *Window) Out() int { return w.outside }

// Ready reports whether Take returns a record.
func (w *Window) Ready() bool { return len(w.again) > 0 || w.ready.len() > 0 }

// Admit takes in the record at Next, which is from held, and reports whether it has to be
// handled: not when it is finished already. The window must not be Full.
func (w *Window) Admit(r messages.Record, held *Held) bool {
	w.next = r.Offset + 1
	if w.ahead.IsDone(r.Offset) {
		return false
	}
	e := &Entry{Record: r, Base: held.Base, held: held, before: w.last}
	if tried, ok := w.ahead.TriedAt(r.Offset); ok {
		e.Attempts, e.Deaths, e.notBefore = tried.Attempts, tried.Deaths, tried.NotBefore
	}
	held.uses++
	if w.last == nil {
		w.first = e
	} else {
		w.last.behind = e
	}
	w.last = e
	w.open++
	if w.enters(e) {
		w.present(e)
	}
	return true
}

// Pass notes that the record at Next is finished, though it was not taken in.
func (w *Window) Pass(offset int64) { w.next = offset + 1 }

// enters puts a record into its lane, and reports whether it is the first one there.
func (w *Window) enters(e *Entry) bool {
	key := ""
	switch {
	case w.order == Strict:
	case w.order == None || len(e.Record.Key) == 0:
		return true
	default:
		key = string(e.Record.Key)
	}
	l := w.lanes[key]
	if l == nil {
		e.lane = &lane{key: key}
		w.lanes[key] = e.lane
		return true
	}
	e.lane, e.state = l, parked
	l.parked = append(l.parked, e)
	return false
}

// present makes the first record of a lane ready, or lets it rest as long as it has to.
func (w *Window) present(e *Entry) {
	if !e.notBefore.IsZero() {
		e.state = rests
		heap.Push(&w.resting, e)
		return
	}
	e.state = ready
	w.ready.push(e)
}

// Take hands out a record, or returns nil.
func (w *Window) Take() *Entry {
	var e *Entry
	if n := len(w.again); n > 0 {
		e = w.again[n-1]
		w.again[n-1] = nil
		w.again = w.again[:n-1]
	} else if e = w.ready.pop(); e == nil {
		return nil
	}
	e.state = out
	w.outside++
	return e
}

// Finish notes that a record that was handed out is finished. It returns the batch whose
// bytes nobody needs any more, or nil.
func (w *Window) Finish(e *Entry) *Held {
	if e.state != out {
		return nil
	}
	e.state = over
	w.outside--
	w.open--
	if e.before == nil {
		w.first = e.behind
	} else {
		e.before.behind = e.behind
	}
	if e.behind == nil {
		w.last = e.before
	} else {
		e.behind.before = e.before
	}
	e.before, e.behind = nil, nil
	w.own -= e.own
	if l := e.lane; l != nil {
		if len(l.parked) == 0 {
			delete(w.lanes, l.key)
		} else {
			next := l.parked[0]
			l.parked[0] = nil
			l.parked = l.parked[1:]
			w.present(next)
		}
	}
	return e.letGo()
}

// letGo takes a record from its batch, and returns that when it was the last one.
func (e *Entry) letGo() *Held {
	h := e.held
	if h == nil {
		return nil
	}
	e.held = nil
	if h.uses--; h.uses == 0 {
		return h
	}
	return nil
}

// GiveBack takes back a record that was handed out and not handled: it is the next one.
func (w *Window) GiveBack(e *Entry) {
	if e.state != out {
		return
	}
	w.outside--
	e.state = ready
	w.again = append(w.again, e)
}

// Rest takes back a record that was handed out, to be handed out again at a time. Its
// lane waits. The record gets bytes of its own, while there are few of these; the batch is
// returned when nobody needs its bytes any more.
func (w *Window) Rest(e *Entry, until time.Time) *Held {
	if e.state != out {
		return nil
	}
	w.outside--
	e.notBefore, e.state = until, rests
	heap.Push(&w.resting, e)
	m := e.Record.Message()
	size := messages.PayloadSize(&m)
	if e.held == nil || w.own+size > mostOwn {
		return nil
	}
	e.Record, e.own = e.Record.Clone(), size
	w.own += size
	return e.letGo()
}

// Wake makes those ready whose rest is over, and returns when the next one's is: the zero
// Time when none rests.
func (w *Window) Wake(now time.Time) time.Time {
	for len(w.resting) > 0 {
		e := w.resting[0]
		if e.notBefore.After(now) {
			return e.notBefore
		}
		heap.Pop(&w.resting)
		e.notBefore, e.state = time.Time{}, ready
		w.again = append(w.again, e)
	}
	return time.Time{}
}

// Alarm is when Wake has something to do: the zero Time when nothing rests.
func (w *Window) Alarm() time.Time {
	if len(w.resting) == 0 {
		return time.Time{}
	}
	return w.resting[0].notBefore
}

// Progress is what is finished behind Floor, and what is known of what is not.
func (w *Window) Progress() format.Progress { return w.progress(w.Floor(), nil) }

// Without is where the window would be if a record were finished: the Floor, the base of
// the batch that the record there is from, or -1, and the Progress.
func (w *Window) Without(e *Entry) (floor, base int64, p format.Progress) {
	first := w.first
	if first == e {
		first = e.behind
	}
	floor, base = w.next, -1
	if first != nil {
		floor, base = first.Record.Offset, first.Base
	}
	return floor, base, w.progress(floor, e)
}

// progress is what is finished from an offset on, if a record, which may be nil, were.
func (w *Window) progress(at int64, without *Entry) (p format.Progress) {
	for e := w.first; e != nil; e = e.behind {
		if e == without {
			continue
		}
		p.Done = format.AppendRange(p.Done, at, e.Record.Offset)
		at = e.Record.Offset + 1
		if e.Attempts > 0 || e.Deaths > 0 {
			p.Tried = append(p.Tried, format.Tried{Offset: e.Record.Offset, Attempts: e.Attempts, Deaths: e.Deaths, NotBefore: e.notBefore})
		}
	}
	p.Done = format.AppendRange(p.Done, at, w.next)
	rest := w.ahead.From(w.next)
	for _, r := range rest.Done {
		p.Done = format.AppendRange(p.Done, r.From, r.To)
	}
	p.Tried = append(p.Tried, rest.Tried...)
	return p
}

// queue is records in the order that they came.
type queue struct {
	of   []*Entry
	head int
}

func (q *queue) len() int { return len(q.of) - q.head }

func (q *queue) push(e *Entry) { q.of = append(q.of, e) }

func (q *queue) pop() *Entry {
	if q.len() == 0 {
		return nil
	}
	e := q.of[q.head]
	q.of[q.head] = nil
	if q.head++; q.head == len(q.of) {
		q.of, q.head = q.of[:0], 0
	} else if q.head >= 1024 && 2*q.head >= len(q.of) {
		n := copy(q.of, q.of[q.head:])
		clear(q.of[n:])
		q.of, q.head = q.of[:n], 0
	}
	return e
}

// resting is a heap of records, by when their rest is over.
type resting []*Entry

func (r resting) Len() int           { return len(r) }
func (r resting) Less(i, j int) bool { return r[i].notBefore.Before(r[j].notBefore) }
func (r resting) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *resting) Push(x any)        { *r = append(*r, x.(*Entry)) }
func (r *resting) Pop() any {
	old := *r
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*r = old[:len(old)-1]
	return e
}
