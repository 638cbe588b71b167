package side

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// A receiver of messages: what came of a run, and whether it came right.

// Receiver is what a system hands each message of one group to, from one goroutine.
type Receiver struct {
	runs  chan *reception // the next run, known before its first message is sent
	cur   *reception      // nil between runs
	next  uint64
	stray error // what came between runs
}

// reception is a run as a receiver knows it.
type reception struct {
	Run
	bodies *load.Bodies // of flat and lone runs
	began  time.Time
	took   *results.Histogram // of paced runs
	at     []moment           // of lone runs
	done   chan answer        // told once
}

// newReceiver is a receiver without a run.
func newReceiver() *Receiver { return &Receiver{runs: make(chan *reception, 1)} }

// expect has the receiver take what comes next for a run.
func (r *Receiver) expect(run Run) *reception {
	c := &reception{Run: run, done: make(chan answer, 1)}
	if run.Way == Paced {
		c.took = results.NewHistogram()
	} else {
		c.bodies = load.NewBodies(run.Size)
	}
	r.runs <- c
	return c
}

// Take checks one message. It keeps no part of body and never blocks.
func (r *Receiver) Take(body []byte) {
	if r.cur == nil && !r.begin() {
		return
	}
	last, err := r.cur.take(r.next, body)
	if r.next++; last || err != nil {
		r.end(err)
	}
}

// begin takes up the next run. What comes when there is none is a fault of the next.
func (r *Receiver) begin() bool {
	select {
	case r.cur = <-r.runs:
	default:
		r.stray = errors.New("a message came after the last of its run, or after a fault")
		return false
	}
	if r.next, r.cur.began = 0, time.Now(); r.stray == nil {
		return true
	}
	r.end(r.stray)
	return false
}

func (r *Receiver) end(err error) {
	a := answer{Count: r.next, Began: r.cur.began.UnixNano(), Ended: time.Now().UnixNano(), Took: r.cur.took, At: r.cur.at}
	if err != nil {
		a.Error = err.Error()
	}
	r.cur.done <- a
	r.cur = nil
}

// take checks message i, and reports whether it is the run's last.
func (c *reception) take(i uint64, body []byte) (last bool, err error) {
	switch c.Way {
	case Paced:
		return i+1 == c.Count, c.note(i, body)
	case Lone:
		c.at = append(c.at, moment{Done: time.Now().UnixNano()})
		return i+1 == c.Count, c.bodies.Check(i, body)
	default:
		if err = c.bodies.Check(i, body); err == nil {
			return false, nil
		}
		if len(body) != c.bodies.Size() || body[lastAt]&lastBit == 0 {
			return false, err
		}
		body = bytes.Clone(body)
		body[lastAt] &^= lastBit
		return true, c.bodies.Check(i, body)
	}
}

// note checks message i of a paced run, and enters how long it took.
func (c *reception) note(i uint64, body []byte) error {
	now := time.Now().UnixNano()
	id, meant, err := load.Read(body)
	switch {
	case err != nil:
		return err
	case len(body) != max(c.Size, load.MinRecord):
		return fmt.Errorf("message %d has %d bytes, %d were sent", id, len(body), c.Size)
	case id != i:
		return fmt.Errorf("message %d came where %d was due", id, i)
	case i >= c.warm():
		c.took.Note(time.Duration(now - int64(meant)))
	}
	return nil
}

// wait returns what came of the run, when all of it has come or a fault has.
func (c *reception) wait(ctx context.Context) (answer, error) {
	select {
	case a := <-c.done:
		return a, a.fault()
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// The last message of a flat run says so, in the highest bit of its number: nobody knows
// before how many there will be.
const (
	lastAt  = 7
	lastBit = 0x80
)

// asLast is message i as the last.
func asLast(bodies *load.Bodies, i uint64) []byte {
	body := bodies.At(i)
	binary.LittleEndian.PutUint64(body, i|lastBit<<(8*lastAt))
	return body
}
