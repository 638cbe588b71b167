package demo

// The promise of pipes, shown: two groups, a member killed in mid-stream, nothing
// lost.

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

const (
	destName  = "lines"
	timeLimit = 2 * time.Minute
	// mostMessages keeps the books of the demo in memory.
	mostMessages = 50_000_000
)

var (
	groupNames = []string{"billing", "audit"}
	memberIDs  = []string{"1", "2"}
)

func (c *demo) runPipes(ctx context.Context, rt *penstock.Runtime, lines []string) error {
	working, cancel := c.working(ctx)
	defer cancel()
	d, err := rt.Register(working, destName)
	if err != nil {
		return err
	}
	c.Say("sender      %s", d.URL())
	run, err := c.startMembers(working)
	defer run.close()
	if err != nil {
		return err
	}
	res, err := c.scenario(working, d, run, lines)
	if err != nil {
		return err
	}
	if !c.keep {
		// Whatever a member still had to say is counted.
		if err := run.over(res); err != nil {
			return err
		}
	}
	if err := c.show(res); err != nil {
		return err
	}
	if c.keep {
		c.kept(ctx, "ls")
	}
	if n := res.Lost(); n > 0 {
		return fmt.Errorf("%d messages were lost", n)
	}
	return nil
}

func (c *demo) show(res *Result) error {
	if c.json {
		return json.NewEncoder(c.Out).Encode(res)
	}
	for _, g := range groupNames {
		if _, err := fmt.Fprintf(c.Out, "%-8s %s\n", g, res.Groups[g]); err != nil {
			return err
		}
	}
	return nil
}

// settleFor is how long reports may still be on their way when all is acked.
const settleFor = 3 * time.Second

// scenario sends, kills and counts until every group has acked everything.
func (c *demo) scenario(ctx context.Context, d *penstock.Destination, s *pipesRun, lines []string) (*Result, error) {
	victim := s.members[slices.IndexFunc(s.members, func(m *process) bool { return m.name() == "billing/2" })]
	res := &Result{Groups: make(map[string]GroupResult)}
	bar := c.Progress(int64(c.messages*len(groupNames)), "handled")
	defer bar.Stop()

	s.began = time.Now()
	sender := newSender(d, lines, c.messages, victim.cmd.Process)
	sending, cancel := context.WithCancel(ctx)
	go sender.run(sending)
	defer func() {
		cancel()
		<-sender.over
	}()

	over, settled, started := sender.over, (<-chan time.Time)(nil), sender.started
	for over != nil || res.Killed == nil || !s.reportedAll(c.messages) {
		if started != nil && atWork(s.tallies[victim.group].distinct, victim.reported, c.messages) {
			close(started)
			started = nil
		}
		select {
		case r := <-s.reports:
			if err := s.hear(r); err != nil {
				return nil, err
			}
			bar.At(int64(s.handled()))
			if r.line != nil {
				continue
			}
			if r.from != victim || !sender.hasKilled() {
				return nil, endedEarly(r.from)
			}
			res.Killed = &Killed{victim.name(), victim.cmd.Process.Pid, victim.reported}
			bar.Stop()
			c.step("%s", res.Killed)
		case <-over:
			if sender.err != nil && ctx.Err() == nil {
				return nil, sender.err
			}
			// All is acked, so all is reported: what is missing soon is lost.
			over, settled = nil, time.After(settleFor)
		case <-settled:
			return s.results(int(sender.sent.Load()), res), nil
		case <-ctx.Done():
			return nil, cli.Incompletef("%d of %d messages sent: %v", sender.sent.Load(), c.messages, context.Cause(ctx))
		}
	}
	return s.results(int(sender.sent.Load()), res), nil
}
