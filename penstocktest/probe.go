package penstocktest

// Probes: what a member, a subscription or a receiver gets is recorded, and settled on
// command.

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
)

// DefaultWithin is how long the probes and Outcomes wait for what is expected, unless
// Within says otherwise. They wait no longer than the test binary may run.
const DefaultWithin = 5 * time.Second

// Probed is what a probe gets: a penstock.Delivery or a *penstock.RecordDelivery.
type Probed interface {
	Message() penstock.Message
	Ack()
	Nack(cause error)
	NackAfter(after time.Duration, cause error)
	Release()
	Reject(cause error)
}

// Probe takes the place of a service in a test: it records what it gets and settles it when
// the test says so. JoinProbe, SubscribeProbe, ProbeActor and RecordProbeActor make one.
//
// What came and was not looked at waits, in the order in which it came, for Next, Expect,
// ExpectMatch, ExpectValues and Fish, which take it. What is taken is in hand until one of its own
// verbs settles it, or Ack, Nack, NackAfter, Release or Reject of the probe, which settle all
// that is in hand.
//
// A probe ends with its test. What was not settled by then goes back, no attempt counts,
// and the test's log names it; nobody waits for an AckWait. With MustSettle it fails the
// test.
//
// Its methods must be called from the goroutine that runs the test.
type Probe[D Probed] struct {
	t      testing.TB
	what   string // for people: who it is
	within time.Duration
	must   bool
	pid    *actor.PID

	reading context.Context // ends when it takes no more
	stop    context.CancelFunc
	readers sync.WaitGroup
	leave   func(context.Context) error // ends its place in the group
	closing sync.Once

	mu    sync.Mutex
	came  []*received[D]
	taken int           // of came, how many the test has looked at
	auto  bool          // ack what comes
	over  bool          // no more will come
	err   error         // and why
	grown chan struct{} // closed when came or over changes
}

// received is one delivery. Its fields are guarded by the probe's mu.
type received[D Probed] struct {
	delivery D
	open     bool // nobody has settled it
	late     bool // it came when the test was over
}

// newProbe begins a probe. leave is set by the caller before anything can come.
func newProbe[D Probed](t testing.TB, what string) *Probe[D] {
	p := &Probe[D]{t: t, what: what, within: DefaultWithin, grown: make(chan struct{})}
	p.reading, p.stop = context.WithCancel(context.Background())
	return p
}

// Within sets how long the methods wait for what is expected.
func (p *Probe[D]) Within(d time.Duration) *Probe[D] {
	p.within = d
	return p
}

// MustSettle fails the test where it ends with something that was not settled.
func (p *Probe[D]) MustSettle() *Probe[D] {
	p.must = true
	return p
}

// AutoAck acks what came and what comes. It is recorded and can be expected as before.
func (p *Probe[D]) AutoAck() *Probe[D] {
	p.mu.Lock()
	p.auto = true
	open := p.open(p.came)
	p.mu.Unlock()
	for _, d := range open {
		d.Ack()
	}
	return p
}

// PID is the receiver that ProbeActor or RecordProbeActor has spawned; nil of the others.
func (p *Probe[D]) PID() *actor.PID { return p.pid }

// Next takes the next delivery. It waits for one, and then fails the test.
func (p *Probe[D]) Next() D {
	p.t.Helper()
	return p.Expect(1)[0]
}

// Expect takes the next n deliveries. It waits for them, and then fails the test.
func (p *Probe[D]) Expect(n int) []D {
	p.t.Helper()
	end := p.deadline()
	var got []D
	for len(got) < n {
		d, why := p.take(end)
		if why != "" {
			p.t.Fatalf("penstocktest: %s: want %s, got %d%s: %s", p.what, count(n), len(got), list(got), why)
		}
		got = append(got, d)
	}
	return got
}

// ExpectValues takes as many deliveries as values are given. It fails the test when the
// next one has another value than that in its place, or does not come.
func (p *Probe[D]) ExpectValues(values ...string) []D {
	p.t.Helper()
	end := p.deadline()
	var got []D
	for _, want := range values {
		d, why := p.take(end)
		if why != "" {
			p.t.Fatalf("penstocktest: %s: want %q after %d%s: %s", p.what, want, len(got), list(got), why)
		}
		if v := d.Message().Value; !bytes.Equal(v, []byte(want)) {
			p.t.Fatalf("penstocktest: %s: want %q after %d%s, got %s%s", p.what, want, len(got), list(got), text(d), p.behind())
		}
		got = append(got, d)
	}
	return got
}

// ExpectMatch takes the next delivery, and fails the test when match is false for it, or
// when none comes.
func (p *Probe[D]) ExpectMatch(match func(D) bool) D {
	p.t.Helper()
	d, why := p.take(p.deadline())
	switch {
	case why != "":
		p.t.Fatalf("penstocktest: %s: want a delivery that matches: %s", p.what, why)
	case !match(d):
		p.t.Fatalf("penstocktest: %s: the next delivery does not match: %s%s", p.what, text(d), p.behind())
	}
	return d
}

// Fish takes deliveries until match is true for one, and returns that. Those before it
// are in hand, too. It fails the test when none is found in time.
func (p *Probe[D]) Fish(match func(D) bool) D {
	p.t.Helper()
	end := p.deadline()
	var passed []D
	for {
		d, why := p.take(end)
		if why != "" {
			p.t.Fatalf("penstocktest: %s: none of %d matches%s: %s", p.what, len(passed), list(passed), why)
		}
		if match(d) {
			return d
		}
		passed = append(passed, d)
	}
}

// ExpectNone fails the test when there is something that was not taken, or something comes
// before d has passed. It takes nothing.
func (p *Probe[D]) ExpectNone(d time.Duration) {
	p.t.Helper()
	late := time.NewTimer(d)
	defer late.Stop()
	for {
		p.mu.Lock()
		rest, over, err, grown := deliveries(p.came[p.taken:]), p.over, p.err, p.grown
		p.mu.Unlock()
		switch {
		case len(rest) > 0:
			p.t.Fatalf("penstocktest: %s: want nothing, got %d%s", p.what, len(rest), list(rest))
		case err != nil:
			p.t.Fatalf("penstocktest: %s: it ended: %v", p.what, err)
		case over:
			return
		}
		select {
		case <-grown:
		case <-late.C:
			return
		}
	}
}

// Received returns all that came so far, in order, whether it was taken or not.
func (p *Probe[D]) Received() []D {
	p.mu.Lock()
	defer p.mu.Unlock()
	return deliveries(p.came)
}

// Ack settles all that is in hand: it was handled. Without anything in hand it fails the
// test, as the other verbs do.
func (p *Probe[D]) Ack() {
	p.t.Helper()
	p.settle("ack", func(d D) { d.Ack() })
}

// Nack gives all that is in hand back: its handling failed.
func (p *Probe[D]) Nack(cause error) {
	p.t.Helper()
	p.settle("nack", func(d D) { d.Nack(cause) })
}

// NackAfter is Nack with a delay of its own.
func (p *Probe[D]) NackAfter(after time.Duration, cause error) {
	p.t.Helper()
	p.settle("nack", func(d D) { d.NackAfter(after, cause) })
}

// Release gives all that is in hand back: nobody tried.
func (p *Probe[D]) Release() {
	p.t.Helper()
	p.settle("release", func(d D) { d.Release() })
}

// Reject gives all that is in hand back: nobody ever will handle it.
func (p *Probe[D]) Reject(cause error) {
	p.t.Helper()
	p.settle("reject", func(d D) { d.Reject(cause) })
}

func (p *Probe[D]) settle(verb string, do func(D)) {
	p.t.Helper()
	p.mu.Lock()
	hand, rest := p.open(p.came[:p.taken]), len(p.came)-p.taken
	p.mu.Unlock()
	if len(hand) == 0 {
		p.t.Fatalf("penstocktest: %s: nothing is in hand to %s; %d came and were not taken: call Next or Expect first", p.what, verb, rest)
	}
	for _, d := range hand {
		do(d)
	}
}

// Close ends the probe before the test does: what was not settled goes back, without an
// attempt, and other members get it. A second Close does nothing.
func (p *Probe[D]) Close() { p.close(false) }

// close ends it. With report it says what was not settled.
func (p *Probe[D]) close(report bool) {
	p.t.Helper()
	p.closing.Do(func() {
		p.t.Helper()
		p.mu.Lock()
		p.stop()
		p.mu.Unlock()
		p.readers.Wait()
		p.end(nil)
		p.mu.Lock()
		left := p.open(p.came)
		var forgotten []D
		for _, r := range p.came {
			if r.open && !r.late {
				forgotten = append(forgotten, r.delivery)
			}
		}
		p.mu.Unlock()
		for _, d := range left {
			d.Release()
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.leave(ctx); err != nil {
			p.t.Logf("penstocktest: %s: %v", p.what, err)
		}
		if !report || len(forgotten) == 0 {
			return
		}
		say := p.t.Logf
		if p.must {
			say = p.t.Errorf
		}
		say("penstocktest: %s: not settled when the test ended, and released: %s%s", p.what, count(len(forgotten)), list(forgotten))
	})
}

// read runs what gets deliveries until reading ends, unless it has ended.
func (p *Probe[D]) read(run func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading.Err() == nil {
		p.readers.Go(run)
	}
}

// record records a delivery that note has made, with the function that marks it settled. It
// acks it in the mode of AutoAck.
func (p *Probe[D]) record(note func(settled func()) D) {
	over := p.t.Context().Err() != nil
	p.mu.Lock()
	r := &received[D]{open: true, late: over}
	r.delivery = note(func() {
		p.mu.Lock()
		r.open = false
		p.mu.Unlock()
	})
	p.came = append(p.came, r)
	auto := p.auto
	p.grow()
	p.mu.Unlock()
	if auto {
		r.delivery.Ack()
	}
}

// end says that nothing more will come, and why. The first call counts.
func (p *Probe[D]) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over, p.err = true, err
		p.grow()
	}
}

// grow wakes who waits. The caller holds mu.
func (p *Probe[D]) grow() {
	close(p.grown)
	p.grown = make(chan struct{})
}

// take is the next delivery, waited for until end; or why there is none.
func (p *Probe[D]) take(end time.Time) (d D, why string) {
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	for expired := false; ; {
		p.mu.Lock()
		if p.taken < len(p.came) {
			d = p.came[p.taken].delivery
			p.taken++
			p.mu.Unlock()
			return d, ""
		}
		over, err, grown := p.over, p.err, p.grown
		p.mu.Unlock()
		switch {
		case err != nil:
			return d, fmt.Sprintf("it ended: %v", err)
		case over:
			return d, "it was closed"
		case expired:
			return d, fmt.Sprintf("nothing more came within %v", p.within)
		}
		select {
		case <-grown:
		case <-late.C:
			expired = true
		}
	}
}

// behind says what waits behind what was taken last.
func (p *Probe[D]) behind() string {
	p.mu.Lock()
	rest := deliveries(p.came[p.taken:])
	p.mu.Unlock()
	if len(rest) == 0 {
		return ""
	}
	return "; behind it" + list(rest)
}

// open are those of rs that nobody has settled. The caller holds mu.
func (p *Probe[D]) open(rs []*received[D]) (open []D) {
	for _, r := range rs {
		if r.open {
			open = append(open, r.delivery)
		}
	}
	return open
}

func (p *Probe[D]) deadline() time.Time { return deadline(p.t, p.within) }

// deadline is when a wait of within ends, which is before the test binary is killed.
func deadline(t testing.TB, within time.Duration) time.Time {
	end := time.Now().Add(within)
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if last, ok := t.Deadline(); ok {
			end = slices.MinFunc([]time.Time{end, last.Add(-time.Second)}, time.Time.Compare)
		}
	}
	return end
}

func deliveries[D Probed](rs []*received[D]) []D {
	ds := make([]D, len(rs))
	for i, r := range rs {
		ds[i] = r.delivery
	}
	return ds
}

// listed is how many deliveries a failure names.
const listed = 10

// list names deliveries, behind a colon.
func list[D Probed](ds []D) string {
	if len(ds) == 0 {
		return ""
	}
	var names []string
	for _, d := range ds[:min(len(ds), listed)] {
		names = append(names, text(d))
	}
	if more := len(ds) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return ": " + strings.Join(names, ", ")
}

// text names a delivery.
func text[D Probed](d D) string {
	switch d := any(d).(type) {
	case penstock.Delivery:
		deaths := ""
		if d.Deaths > 0 {
			deaths = fmt.Sprintf(", deaths %d", d.Deaths)
		}
		return fmt.Sprintf("%s (attempt %d%s)", content(d.Key, d.Value), d.Attempt, deaths)
	case *penstock.RecordDelivery:
		return fmt.Sprintf("%s (partition %d, offset %d, attempt %d)", content(d.Key, d.Value), d.Partition, d.Offset, d.Attempt)
	}
	return fmt.Sprintf("%T", d)
}

// content is the beginning of a value, with its key.
func content(key, value []byte) string {
	const most = 60
	shown := fmt.Sprintf("%q", value[:min(len(value), most)])
	if len(value) > most {
		shown += fmt.Sprintf("… of %d bytes", len(value))
	}
	if len(key) > 0 {
		shown = fmt.Sprintf("%q: %s", key[:min(len(key), most)], shown)
	}
	return shown
}

func count(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}
