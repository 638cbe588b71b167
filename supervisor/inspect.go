package supervisor

// A look at running actors: what they report of themselves, how long a message waits
// for them, and how long they take for one.

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A look is two messages, and nothing is measured for anybody else. The first
// overtakes what is queued: it has the actor report its attributes, and has the next
// user messages measured. The second queues behind the others and measures the
// mailbox. A guard has at most one of each on the way, so that looks at a stuck actor
// do not pile up.
const (
	// lookSamples is how many messages are measured after a look.
	lookSamples = 64
	// lookPatience is how long a look waits for actors that do not reply.
	lookPatience = time.Second
)

// Inspector is implemented by an actor that has something to report of itself to
// whoever looks at Tree. It is the actor that the producer of Props returned; nothing
// has to be registered.
//
// Inspect is called on the actor's own goroutine, between two messages, so it may read
// the actor's fields without a lock. It is called while the actor runs, and after it
// has handled Started. It overtakes queued user messages. It should be quick, must not
// block, and has no Context, as it is not there to act. A panic in it becomes an
// attribute, and does not fail the actor.
type Inspector interface{ Inspect(*Inspection) }

// Attribute is a fact that an actor reported of itself.
type Attribute struct {
	// Name is lower case by convention, with underscores: pending_bytes.
	Name string
	// Value is a decimal number, a duration as time.Duration prints it, a time in UTC
	// as RFC 3339 has it, or text.
	Value string
}

const (
	mostAttributes = 16
	mostText       = 256
)

// Inspection takes an actor's attributes, in the order in which they are to be shown.
// It keeps the first 16. It is good until Inspect returns.
type Inspection struct{ attributes []Attribute }

func (in *Inspection) add(name, value string) {
	if len(in.attributes) < mostAttributes {
		in.attributes = append(in.attributes, Attribute{name, value})
	}
}

// Int reports a number.
func (in *Inspection) Int(name string, n int) { in.Int64(name, int64(n)) }

// Int64 reports a number.
func (in *Inspection) Int64(name string, n int64) { in.add(name, strconv.FormatInt(n, 10)) }

// Text reports text: the first 256 bytes of it, and nothing when it is empty.
func (in *Inspection) Text(name, text string) {
	if text != "" {
		in.add(name, strings.ToValidUTF8(text[:min(len(text), mostText)], ""))
	}
}

// Duration reports a duration.
func (in *Inspection) Duration(name string, d time.Duration) { in.add(name, d.String()) }

// Time reports a point in time, to the millisecond, and nothing when it is zero.
func (in *Inspection) Time(name string, t time.Time) {
	if !t.IsZero() {
		in.add(name, t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
}

// inquiry is the first message of a look, a system message.
type inquiry struct {
	asked time.Time
	done  chan struct{}
	// attributes are written before done is closed.
	attributes []Attribute
}

// probe is the second one, a user message that the actor never sees.
type probe struct {
	sent   time.Time
	done   chan struct{}
	waited time.Duration // written before done is closed
}

// over reports whether a message of a look was handled.
func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// looking is what a guard knows of looks.
type looking struct {
	mu      sync.Mutex
	inquiry *inquiry // on its way; nil when the last one was handled
	probe   *probe   // as inquiry

	// How long the actor took for messages since a look.
	sampled int
	sum     time.Duration
	longest time.Duration
}

// look is what one call of Tree has sent to one guard. A message that is on its way
// for an earlier call serves this one, too.
type look struct {
	guard   *guard
	inquiry *inquiry // nil when the actor cannot reply now
	probe   *probe   // nil when its mailbox is not measured
}

// lookAt sends the messages of a look. They are posted outside of the lock, because a
// dispatcher may run the mailbox right there.
func lookAt(g *guard) look {
	if g.looking.Load() == nil {
		g.looking.CompareAndSwap(nil, new(looking))
	}
	l, ask, send := g.looking.Load().begin(g)
	if ask {
		g.mb.PostSystemMessage(l.inquiry)
	}
	if send {
		g.mb.PostUserMessage(l.probe)
	}
	return l
}

func (k *looking) begin(g *guard) (l look, ask, send bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.is() == running {
		if ask = k.inquiry == nil; ask {
			k.inquiry = &inquiry{asked: time.Now(), done: make(chan struct{})}
		}
		if send = k.probe == nil && g.settings.mailbox == nil; send {
			k.probe = &probe{sent: time.Now(), done: make(chan struct{})}
		}
	}
	return look{g, k.inquiry, k.probe}, ask, send
}

// wait waits for the replies until timeout. An actor that has not replied to an
// earlier look in time is not waited for again.
func (l look) wait(timeout <-chan struct{}) {
	if l.guard.is() != running {
		return
	}
	if q := l.inquiry; q != nil && time.Since(q.asked) < lookPatience {
		select {
		case <-q.done:
		case <-timeout:
		}
	}
	if p := l.probe; p != nil && time.Since(p.sent) < lookPatience {
		select {
		case <-p.done:
		case <-timeout:
		}
	}
}

// report writes what came of the look.
func (l look) report(i *Info) {
	if q := l.inquiry; q != nil {
		if over(q.done) {
			i.Attributes = q.attributes
		} else {
			i.Silent = time.Since(q.asked)
		}
	}
	if p := l.probe; p != nil {
		if over(p.done) {
			i.Mailbox = p.waited
		} else {
			i.Mailbox = time.Since(p.sent)
			i.Queue = max(0, i.Queue-1) // the probe itself
		}
	}
	k := l.guard.looking.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	i.Sampled, i.Longest = k.sampled, k.longest
	if k.sampled > 0 {
		i.Processing = k.sum / time.Duration(k.sampled)
	}
}

// answer handles an inquiry, on the actor's goroutine.
func (g *guard) answer(q *inquiry) {
	defer func() {
		k := g.looking.Load()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.inquiry = nil
		close(q.done)
	}()
	if g.is() != running {
		return
	}
	g.unsampled, g.resample = lookSamples, true
	if inspector, ok := g.inner.(Inspector); ok {
		in := &Inspection{}
		defer func() {
			if r := recover(); r != nil {
				in.Text("inspect", fmt.Sprintf("panic: %v", r))
			}
			q.attributes = in.attributes
		}()
		inspector.Inspect(in)
	}
}

// reach handles a probe, on the actor's goroutine.
func (g *guard) reach(p *probe) {
	p.waited = time.Since(p.sent)
	k := g.looking.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.probe = nil
	close(p.done)
}

// measure hands a user message to the actor and takes the time. The first one after a
// look begins a new sample.
func (g *guard) measure(message any) {
	began := time.Now()
	g.raw.InvokeUserMessage(message)
	took := time.Since(began)
	g.unsampled--
	k := g.looking.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.resample {
		g.resample, k.sampled, k.sum, k.longest = false, 0, 0, 0
	}
	k.sampled++
	k.sum += took
	k.longest = max(k.longest, took)
}
