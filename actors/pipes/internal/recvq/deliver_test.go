package recvq

// Deliveries for a receiver with a mailbox: never more in its hands than its window,
// and as many whenever there are.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// mailbox is a receiver, and the model of what it has in hand.
type mailbox struct {
	t      *rapid.T
	q      *Queue
	window int
	links  []*Link // that live
	dead   []*Link

	stop context.CancelFunc
	over chan error

	mu      sync.Mutex
	got     []messages.Delivery // in hand
	settled []messages.Delivery // and may be settled again
	taken   []messages.Delivery // taken back
	last    map[messages.Settler]uint64
	largest int
}

func (m *mailbox) deliver(batch int) {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.over = cancel, make(chan error, 1)
	go func() {
		m.over <- m.q.Deliver(ctx, m.window, batch, func(ds []messages.Delivery) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.largest = max(m.largest, len(ds))
			for _, d := range ds {
				if d.Seq <= m.last[d.Settler] {
					panic(fmt.Sprintf("delivery %d of %s comes after %d", d.Seq, d.Sender, m.last[d.Settler]))
				}
				m.last[d.Settler] = d.Seq
			}
			m.got = append(m.got, ds...)
		})
	}()
}

func (m *mailbox) end() {
	m.stop()
	if err := <-m.over; !errors.Is(err, context.Canceled) {
		m.t.Fatalf("deliver: %v", err)
	}
}

// check compares with the model, when nothing moves.
func (m *mailbox) check() {
	time.Sleep(company)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.got) > m.window {
		m.t.Fatalf("%d in hand, the window is %d", len(m.got), m.window)
	}
	if held := m.q.gripped().held(); held != len(m.got) {
		m.t.Fatalf("%d are held to be in hand, and %d are", held, len(m.got))
	}
	if n := m.q.Unread(); n > 0 && len(m.got) < m.window {
		m.t.Fatalf("%d wait, and %d of %d are in hand", n, len(m.got), m.window)
	}
	for _, l := range m.links {
		if len(l.user.Ranges) > m.window+1 {
			t := l.user.Ranges
			m.t.Fatalf("%d ranges are kept of a window of %d: %v", len(t), m.window, t)
		}
	}
}

func (m *mailbox) link() *Link {
	if len(m.links) == 0 || len(m.links) < 3 && rapid.IntRange(0, 9).Draw(m.t, "new") == 0 {
		m.links = append(m.links, m.q.Open(fmt.Sprint(len(m.links)+len(m.dead)), 0))
	}
	return m.links[rapid.IntRange(0, len(m.links)-1).Draw(m.t, "link")]
}

// settle settles something in hand, in one way or another, which need not count.
func (m *mailbox) settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.got) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.got)-1).Draw(m.t, "i")
	d := m.got[i]
	m.got = slices.Delete(m.got, i, i+1)
	m.settled = append(m.settled, d)
	if rapid.Bool().Draw(m.t, "ack") {
		d.Ack()
	} else {
		d.Nack(nil)
	}
}

// again settles what is settled, or was taken back.
func (m *mailbox) again() {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := append(slices.Clone(m.settled), m.taken...)
	if len(all) == 0 {
		return
	}
	d := all[rapid.IntRange(0, len(all)-1).Draw(m.t, "i")]
	d.Ack()
	d.Nack(nil)
}

// expire has a delivery in hand outlive AckWait.
func (m *mailbox) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.got) > 0 {
		d := m.got[rapid.IntRange(0, len(m.got)-1).Draw(m.t, "i")]
		d.Settler.(*Link).Expire(d.Seq, true)
	}
}

func (m *mailbox) die() {
	if len(m.links) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.links)-1).Draw(m.t, "dies")
	m.q.Shut(m.links[i])
	m.dead = append(m.dead, m.links[i])
	m.links = slices.Delete(m.links, i, i+1)
}

func (m *mailbox) takeBack(batch int) {
	m.end()
	m.mu.Lock()
	unsettled := 0
	for _, l := range m.links {
		l.acks.Gaps(l.handed, func(uint64) { unsettled++ })
	}
	m.taken = append(m.taken, m.got...)
	var suspect *messages.Delivery // the oldest that is still to be settled
	for _, d := range m.got {
		if l := d.Settler.(*Link); suspect == nil && slices.Contains(m.links, l) && !l.acks.Has(d.Seq) {
			suspect = &d
		}
	}
	m.got = nil
	m.mu.Unlock()
	if m.q.cfg.Mode == messages.AtMostOnce {
		unsettled = 0
	}
	var cause error
	if rapid.Bool().Draw(m.t, "failed") {
		cause = errors.New("the receiver failed")
	}
	if n := m.q.TakeBack(cause); n != unsettled {
		m.t.Fatalf("%d are taken back of %d", n, unsettled)
	}
	deaths := 0
	for _, l := range m.links {
		for _, f := range l.failures {
			if f.kind != frame.NackExpired || f.reason == keptReason {
				continue
			}
			if deaths++; suspect == nil || suspect.Settler != l || suspect.Seq != f.seq {
				m.t.Fatalf("%d of link %s counts a death, want %+v", f.seq, l.Sender, suspect)
			}
		}
		l.failures = nil
	}
	if want := cause != nil && suspect != nil && m.q.cfg.Mode != messages.AtMostOnce; deaths == 1 != want || deaths > 1 {
		m.t.Fatalf("%d deaths, want one: %t", deaths, want)
	}
	m.deliver(batch)
}

// bubbled is a test whose deadline nobody asks for: that panics in a bubble.
type bubbled struct{ *testing.T }

func TestReceiversAreKeptToTheirWindow(t *testing.T) {
	for _, mode := range []messages.Mode{messages.AtLeastOnce, messages.AtMostOnce} {
		t.Run(fmt.Sprint("mode ", mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(bubbled{t}, func(t *rapid.T) {
					q, events := testQueue(func(c *Config) { c.Mode = mode })
					window, batch := rapid.IntRange(1, 12).Draw(t, "window"), rapid.IntRange(1, 5).Draw(t, "batch")
					m := &mailbox{t: t, q: q, window: window, last: make(map[messages.Settler]uint64)}
					m.deliver(batch)
					defer func() { m.stop(); synctest.Wait() }()
					for range rapid.IntRange(0, 60).Draw(t, "steps") {
						switch rapid.IntRange(0, 11).Draw(t, "step") {
						case 0, 1, 2:
							comes(t, m.link(), rapid.IntRange(1, 8).Draw(t, "n"))
						case 3, 4, 5, 6:
							m.settle()
						case 7:
							m.again()
						case 8:
							m.expire()
						case 9:
							m.die()
						case 10:
							m.takeBack(batch)
						case 11:
							m.end()
							q.Yield("nobody reads")
							m.deliver(batch)
						}
						m.check()
						for len(events) > 0 {
							<-events
						}
					}
					if m.largest > batch {
						t.Fatalf("%d at once, %d are allowed", m.largest, batch)
					}
					m.end()
				})
			})
		})
	}
}

// Many who settle at once lose no wake-up, and nothing is counted twice.
func TestManySettleAtOnce(t *testing.T) {
	const window, n = 7, 20000
	q, _ := testQueue(nil)
	l := q.Open("s", 0)
	work := make(chan messages.Delivery, window)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for d := range work {
				d.Ack()
				d.Ack()
				runtime.Gosched()
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	handed := 0
	over := make(chan error, 1)
	go func() {
		over <- q.Deliver(ctx, window, 3, func(ds []messages.Delivery) {
			for _, d := range ds {
				select {
				case work <- d:
				default:
					t.Error("more than the window")
				}
			}
			if handed += len(ds); handed == n {
				cancel()
			}
		})
	}()
	for sent := 0; sent < n; sent += 100 {
		comes(t, l, 100)
	}
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("after %d: %v", handed, err)
	}
	close(work)
	workers.Wait()
	if held := q.gripped().held(); held != 0 {
		t.Errorf("%d are held to be in hand", held)
	}
}

// What is settled while all is taken back is counted in one epoch or not at all.
func TestSettlingRacesWithTakingBack(t *testing.T) {
	const window = 4
	q, events := testQueue(nil)
	go func() {
		for range events {
		}
	}()
	defer close(events)
	for round := range 500 {
		l := q.Open(fmt.Sprint(round), 0)
		comes(t, l, window)
		ctx, cancel := context.WithCancel(t.Context())
		var late sync.WaitGroup
		_ = q.Deliver(ctx, window, window, func(ds []messages.Delivery) {
			cancel()
			for _, d := range ds {
				late.Go(d.Ack)
			}
		})
		if round%2 == 0 {
			q.Shut(l) // its epoch is the old one without end
		}
		q.TakeBack(nil)
		late.Wait()
		if held := q.gripped().held(); held != 0 {
			t.Fatalf("round %d: %d are held to be in hand", round, held)
		}
	}
}

// A receiver that settles nothing does not keep Deliver from its end.
func TestDeliverEndsWithTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("ousted")
		for _, waiting := range []bool{false, true} {
			q, _ := testQueue(nil)
			l := q.Open("s", 0)
			over := make(chan error, 1)
			go func() { over <- q.Deliver(t.Context(), 1, 1, func([]messages.Delivery) {}) }()
			synctest.Wait()
			if waiting {
				comes(t, l, 2)
				synctest.Wait()
			}
			if err := q.Deliver(t.Context(), 1, 1, nil); !errors.Is(err, messages.ErrBusy) {
				t.Errorf("a second reader: %v", err)
			}
			q.Leave(Left, cause)
			if err := <-over; !errors.Is(err, cause) {
				t.Errorf("the end: %v", err)
			}
			if err := q.Deliver(t.Context(), 1, 1, nil); !errors.Is(err, messages.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
	})
}

// Handlers may read before and after a receiver: theirs is not in its hands.
func TestReceiversAndHandlersTakeTurns(t *testing.T) {
	q, _ := testQueue(nil)
	l := q.Open("s", 0)
	read := func(n int) {
		comes(t, l, n)
		ctx, cancel := context.WithCancel(t.Context())
		for d, err := range q.Messages(ctx, true) {
			if err != nil {
				break
			}
			d.Ack()
			if n--; n == 0 {
				break
			}
		}
		cancel()
	}
	var got []messages.Delivery
	receive := func(n int) {
		comes(t, l, n)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = q.Deliver(ctx, 100, 1, func(ds []messages.Delivery) {
			got = append(got, ds...)
			if n--; n == 0 {
				cancel()
			}
		})
	}
	for range 3 {
		read(5)
		receive(3)
	}
	if held := q.gripped().held(); held != 9 || len(got) != 9 {
		t.Errorf("%d held to be in hand, %d are", held, len(got))
	}
	for _, d := range got {
		d.Ack()
	}
	if held := q.gripped().held(); held != 0 {
		t.Errorf("%d held to be in hand at last", held)
	}
}

// What has counted a death comes by itself.
func TestADeliveryThatCountedADeathComesAlone(t *testing.T) {
	q, _ := testQueue(nil)
	l := q.Open("s", 0)
	for _, deaths := range []uint32{0, 1, 0, 2} {
		l.granted = [2]uint64{math.MaxUint64, math.MaxUint64}
		first := l.received + 1
		if err := l.Arrive(&frame.Data{First: first, Count: 2, Records: recordtest.Records(first, first+1), Deaths: deaths}, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got [][]uint64
	_ = q.Deliver(ctx, 100, 10, func(ds []messages.Delivery) {
		var seqs []uint64
		for _, d := range ds {
			seqs = append(seqs, d.Seq)
		}
		if got = append(got, seqs); slices.Contains(seqs, 8) {
			cancel()
		}
	})
	if want := "[[1 2] [3] [4] [5 6] [7] [8]]"; fmt.Sprint(got) != want {
		t.Errorf("handed out %v, want %s", got, want)
	}
}

// The memory of what is in hand is not used for other frames, though it went back.
func TestWhatIsTakenBackKeepsItsMemory(t *testing.T) {
	for name, end := range map[string]func(*Queue, messages.Delivery){
		"taken back": func(q *Queue, _ messages.Delivery) { q.TakeBack(nil) },
		"expired":    func(_ *Queue, d messages.Delivery) { d.Settler.(*Link).Expire(d.Seq, true) },
	} {
		q, _ := testQueue(nil)
		l := q.Open("s", 0)
		comes(t, l, 1)
		l.frames[0].buffer = new(frames.Buffer)
		f := l.frames[0]
		ctx, cancel := context.WithCancel(t.Context())
		_ = q.Deliver(ctx, 1, 1, func(ds []messages.Delivery) {
			cancel()
			defer func() {
				if f.left != 0 || f.buffer != nil {
					t.Errorf("%s: %d left, its buffer is reused: %t", name, f.left, f.buffer != nil)
				}
			}()
			end(q, ds[0])
		})
	}
}

// At most once a receiver that fails loses messages, and no credit: else a link would stand
// still after as many failures as its window has messages.
func TestWhatAReceiverLosesAtMostOnceFreesCredit(t *testing.T) {
	const window = 8
	q, _ := testQueue(func(c *Config) { c.Mode, c.Window = messages.AtMostOnce, window })
	l := q.Open("s", 0)
	for range 3 * window {
		comes(t, l, 1)
		ctx, cancel := context.WithCancel(t.Context())
		_ = q.Deliver(ctx, 1, 1, func([]messages.Delivery) { cancel() })
		if n := q.TakeBack(errors.New("the receiver failed")); n != 0 {
			t.Fatalf("%d go back", n)
		}
	}
	if r, _ := told(l); r.credit != 4*window || len(r.failures) > 0 {
		t.Errorf("credit for %d messages, want %d; nacks: %v", r.credit, 4*window, r.failures)
	}
}

// To hand out a batch takes a few allocations, and to settle it none.
func TestDeliverAllocatesABatchAtATime(t *testing.T) {
	const batch, runs = 64, 200
	q, _ := testQueue(func(c *Config) { c.Window, c.WindowBytes = 1<<20, 1<<30 })
	l := q.Open("s", 0)
	for range runs + 2 {
		comes(t, l, batch)
	}
	next := make(chan []messages.Delivery)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- q.Deliver(ctx, 4*batch, batch, func(ds []messages.Delivery) {
			select {
			case next <- ds:
			case <-ctx.Done():
			}
		})
	}()
	var r report
	per := testing.AllocsPerRun(runs, func() {
		for _, d := range <-next {
			d.Ack()
		}
		l.collect(&r, time.Now())
	})
	cancel()
	<-over
	if per > 4 {
		t.Errorf("%.1f allocations for a batch of %d", per, batch)
	}
}
