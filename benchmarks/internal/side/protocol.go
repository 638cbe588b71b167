package side

import (
	"fmt"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// What processes are asked and answer, one JSON object a line.

// role is which end of a system a process is.
type role string

const (
	roleBroker  role = "broker"
	roleReceive role = "recv"
	roleSend    role = "send"
	rolePerform role = "perform"
)

type operation string

const (
	opOpen   operation = "open"   // the first
	opExpect operation = "expect" // of a receiver: a run begins
	opSum    operation = "sum"    // of a receiver: what it saw of the run, when it has all of it
	opSend   operation = "send"   // of a sender and of a performer
	opUsage  operation = "usage"  // processor time so far
)

type call struct {
	Op    operation `json:"op"`
	Place Place     `json:"place,omitzero"`
	Run   Run       `json:"run,omitzero"`
}

// Way is how messages are sent.
type Way string

// The ways.
const (
	Flat  Way = "flat"  // as many as it takes in a time
	Paced Way = "paced" // at a rate, whatever becomes of them
	Lone  Way = "lone"  // one by one, with pauses
	Batch Way = "batch" // of records: many in one call, which waits for all
)

// Run is one run.
type Run struct {
	Way   Way           `json:"way"`
	Size  int           `json:"size"`
	For   time.Duration `json:"for"`             // how long to send
	Rate  float64       `json:"rate,omitempty"`  // Paced: messages a second
	Batch int           `json:"batch,omitempty"` // Batch: records in a call
	// Later has records consumed after they were put. Else they are consumed meanwhile.
	Later bool `json:"later,omitempty"`

	Log   string `json:"log,omitempty"`
	Count uint64 `json:"count,omitempty"` // how many messages, where that is known before
}

// pause is between lone messages.
const pause = time.Millisecond

// known is r with how many messages it has, where that follows from r.
func (r Run) known() Run {
	switch r.Way {
	case Paced:
		r.Count = max(1, uint64(r.Rate*r.For.Seconds()))
	case Lone:
		r.Count = max(10, uint64(r.For/(pause+200*time.Microsecond)))
	}
	return r
}

// warm is how many of the first messages of a paced run do not count.
func (r Run) warm() uint64 { return r.Count / 5 }

// answer is what a process says to a call. Times are nanoseconds of the wall clock.
type answer struct {
	Address string `json:"address,omitempty"`
	None    bool   `json:"none,omitempty"` // the system has no such end, and has these
	Ends    []role `json:"ends,omitempty"`

	Count uint64             `json:"count,omitempty"`
	Began int64              `json:"began,omitempty"`
	Ended int64              `json:"ended,omitempty"`
	Acked bool               `json:"acked,omitempty"` // Ended is when all were
	CPU   float64            `json:"cpu_s,omitempty"`
	Took  *results.Histogram `json:"took,omitempty"`
	At    []moment           `json:"at,omitempty"` // of a sender: of each lone message

	Missing string `json:"missing,omitempty"`
	Error   string `json:"error,omitempty"`
}

// moment is when something was begun, and when it was done: a call of a sender. Of a
// receiver, it came then.
type moment struct {
	Called int64 `json:"c"`
	Done   int64 `json:"d"`
}

func (a answer) fault() error {
	switch {
	case a.Missing != "":
		return fmt.Errorf("%w: %s", ErrMissing, a.Missing)
	case a.Error != "":
		return fmt.Errorf("%s", a.Error)
	default:
		return nil
	}
}
