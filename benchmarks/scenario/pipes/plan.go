package pipes

// What the two halves of a scenario say to each other, when senders and members are in
// processes of their own. The senders' process asks, through a destination beside that of
// the messages, in which each members' process is a group by itself; so whoever the
// members can dial is enough.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/benchmarks/scenario/internal/journal"
)

// planOf is the destination beside that of the messages.
func planOf(name string) string { return name + "-plan" }

// largest is the most bytes of a question or a report: what a member got may be in as
// many pieces as the sender made batches.
const largest = 15 << 20

// step is what a members' process is asked.
type step string

const (
	stepClock   step = "clock"   // what its clock shows
	stepBegin   step = "begin"   // a run begins
	stepEnd     step = "end"     // everything was sent: what came
	stepVerdict step = "verdict" // what became of all messages
)

// question is from the senders' process.
type question struct {
	Step step `json:"step"`

	// Of stepBegin.
	Scenario Scenario                 `json:"scenario,omitzero"`
	Streams  int                      `json:"streams,omitempty"`
	Began    time.Duration            `json:"began,omitempty"`  // by the senders' clock
	Behind   map[string]time.Duration `json:"behind,omitempty"` // by group: how far its clock is behind the senders'

	// Of stepVerdict.
	Check results.Check `json:"check,omitzero"`
	Error string        `json:"error,omitempty"`
}

// answer is from a members' process.
type answer struct {
	Clock   time.Duration       `json:"clock,omitempty"`
	Members int                 `json:"members,omitempty"` // of each group, in that process
	Mode    penstock.Mode       `json:"mode,omitempty"`
	Groups  [][]journal.Journal `json:"groups,omitempty"` // by group and stream
	Handled *results.Histogram  `json:"handled,omitempty"`
	Used    scenario.Usage      `json:"used,omitzero"` // since the warm-up
	Error   string              `json:"error,omitempty"`
}

func encode[T any](v T) (penstock.Message, error) {
	value, err := json.Marshal(v)
	return penstock.Message{Value: value}, err
}

func decode[T any](value []byte) (v T, err error) {
	if err = json.Unmarshal(value, &v); err != nil {
		err = fmt.Errorf("the other half of the scenario is of another version: %w", err)
	}
	return v, err
}

// ask asks one members' process, or all, and returns the answers by group. An answer
// that is missing is an error, beside the others.
func ask(ctx context.Context, plan *penstock.Destination, q question, to ...string) (map[string]answer, error) {
	m, err := encode(q)
	if err != nil {
		return nil, err
	}
	var opts []penstock.RequestOption
	if len(to) > 0 {
		opts = append(opts, penstock.FromGroup(to...))
	}
	out := map[string]answer{}
	for reply, err := range plan.RequestMany(ctx, m, opts...) {
		if err != nil {
			return out, fmt.Errorf("members %s: %s: %w", reply.Group, q.Step, err)
		}
		a, err := decode[answer](reply.Value)
		if err == nil && a.Error != "" {
			err = fmt.Errorf("members %s: %s: %s", reply.Group, q.Step, a.Error)
		}
		if err != nil {
			return out, err
		}
		out[reply.Group] = a
	}
	return out, nil
}

// soon bounds a question that is answered at once.
const soon = 10 * time.Second

// behind is how far the clock of a members' process is behind that of start: by the
// quickest of several answers, and half the time that took is how wrong it may be.
func behind(ctx context.Context, plan *penstock.Destination, group string, start time.Time) (by, within time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	within = soon
	for range 64 {
		asked := time.Since(start)
		a, err := ask(ctx, plan, question{Step: stepClock}, group)
		if err != nil {
			return 0, 0, err
		}
		if took := time.Since(start) - asked; took/2 < within {
			within, by = took/2, asked+took/2-a[group].Clock
		}
	}
	return by, within, nil
}
