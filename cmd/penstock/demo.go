package main

// The promise, shown: two groups, a member killed in mid-stream, nothing lost.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

const (
	demoDest    = "lines"
	demoTimeout = 2 * time.Minute
	// demoMost keeps the books of the demo in memory.
	demoMost = 50_000_000
)

var (
	demoGroups  = []string{"billing", "audit"}
	demoMembers = []string{"1", "2"}
)

type demo struct {
	*app
	messages    int
	topics      bool
	json, keep  bool
	diagnostics string
}

func (a *app) demoCommand() *cobra.Command {
	c := demo{app: a}
	cmd := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Show two groups at work, and one of their members killed",
		Long: `Demo needs nothing: it runs an etcd in this process, a sender, and two groups,
billing and audit, of two members each in processes of their own. The sender
sends numbered lines of FILE, or of a text built in. In mid-stream the member
billing/2 is killed with SIGKILL; what it had not acked goes to billing/1.

It ends with a line for each group: how many deliveries its members handled, how
many of them were distinct, how many were duplicates, how many messages were
lost, and how many deliveries were marked as redelivered. Lost messages end the
command with code 1.

With --topics two producers put the lines into a topic of four partitions, and a
group of members handles them, all in processes of their own. While they work a
member joins, one leaves, and one is killed. The last line says how many records
were put and handled, how many were handled twice, and how many of these may not
have been: only what the killed member had not committed may. Lost records and
such duplicates end the command with code 1.`,
		Example: `  penstock demo
  penstock demo --topics
  penstock demo --messages 1000000
  penstock demo --json | jq .groups.billing.lost
  penstock demo --keep --diagnostics 127.0.0.1:7070    # and look at it from another shell`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return c.run(cmd.Context(), file)
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.messages, "messages", 20_000, "send `N` lines; the text is repeated")
	f.BoolVar(&c.topics, "topics", false, "show a topic and its consumer group instead")
	f.BoolVar(&c.json, "json", false, "print one object on standard output")
	f.BoolVar(&c.keep, "keep", false, "leave everything running at the end, to look at, until a signal comes")
	diagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

func (c *demo) run(ctx context.Context, file string) (err error) {
	if c.messages < 1 || c.messages > demoMost {
		return usagef("--messages %d: want 1 to %d", c.messages, demoMost)
	}
	lines, err := demoLines(file)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	srv, err := embedded.Start(starting, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	c.say("etcd        %s, in this process", srv.Endpoint())
	c.etcd = etcdFlags{endpoints: srv.Endpoint(), timeout: 30 * time.Second, prefix: "/penstock"}

	opts := append(diagnosticsOption(c.diagnostics), penstock.Listen("tcp://127.0.0.1:0"), penstock.LeaseTTL(demoTTL))
	rt, err := c.start(starting, opts...)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if serr := rt.Stop(stopping); err == nil {
			err = serr
		}
	}()
	if c.topics {
		return c.runTopics(ctx, rt, file)
	}
	return c.runPipes(ctx, rt, lines)
}

// working bounds a demo by what it has to do.
func (c *demo) working(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, demoTimeout+time.Duration(c.messages)*100*time.Microsecond, errTimeout)
}

// kept is the end of a demo that is left running.
func (c *demo) kept(ctx context.Context, try string) {
	c.say("still running: try \"penstock %s --etcd %s\"; Ctrl-C ends it", try, c.etcd.endpoints)
	<-ctx.Done()
}

func (c *demo) runPipes(ctx context.Context, rt *penstock.Runtime, lines []string) error {
	working, cancel := c.working(ctx)
	defer cancel()
	d, err := rt.Register(working, demoDest)
	if err != nil {
		return err
	}
	c.say("sender      %s", d.URL())
	stage, err := c.cast(working)
	defer stage.close()
	if err != nil {
		return err
	}
	res, err := c.play(working, d, stage, lines)
	if err != nil {
		return err
	}
	if !c.keep {
		// Whatever a member still had to say is counted.
		if err := stage.over(res); err != nil {
			return err
		}
	}
	if err := c.show(res); err != nil {
		return err
	}
	if c.keep {
		c.kept(ctx, "ls")
	}
	if n := res.lost(); n > 0 {
		return fmt.Errorf("%d messages were lost", n)
	}
	return nil
}

func (c *demo) show(res *result) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(res)
	}
	for _, g := range demoGroups {
		if _, err := fmt.Fprintf(c.out, "%-8s %s\n", g, res.Groups[g]); err != nil {
			return err
		}
	}
	return nil
}

// settleFor is how long reports may still be on their way when all is acked.
const settleFor = 3 * time.Second

// play sends, kills and counts until every group has acked everything.
func (c *demo) play(ctx context.Context, d *penstock.Destination, s *stage, lines []string) (*result, error) {
	victim := s.members[slices.IndexFunc(s.members, func(m *castMember) bool { return m.name() == "billing/2" })]
	res := &result{Groups: make(map[string]groupResult)}
	bar := c.progress(int64(c.messages*len(demoGroups)), "handled")
	defer bar.stop()

	s.began = time.Now()
	script := newScript(d, lines, c.messages, victim.cmd.Process)
	sending, cancel := context.WithCancel(ctx)
	go script.run(sending)
	defer func() {
		cancel()
		<-script.over
	}()

	over, settled, started := script.over, (<-chan time.Time)(nil), script.started
	for over != nil || res.Killed == nil || !s.reportedAll(c.messages) {
		if started != nil && atWork(s.tallies[victim.group].distinct, victim.own, c.messages) {
			close(started)
			started = nil
		}
		select {
		case r := <-s.reports:
			if err := s.hear(r); err != nil {
				return nil, err
			}
			bar.at(int64(s.handled()))
			if r.line != nil {
				continue
			}
			if r.from != victim || !script.hasKilled() {
				return nil, endedEarly(r.from)
			}
			res.Killed = &killed{victim.name(), victim.cmd.Process.Pid, victim.own}
			bar.stop()
			c.tell("%s", res.Killed)
		case <-over:
			if script.err != nil && ctx.Err() == nil {
				return nil, script.err
			}
			// All is acked, so all is reported: what is missing soon is lost.
			over, settled = nil, time.After(settleFor)
		case <-settled:
			return s.results(int(script.sent.Load()), res), nil
		case <-ctx.Done():
			return nil, incompletef("%d of %d messages sent: %v", script.sent.Load(), c.messages, context.Cause(ctx))
		}
	}
	return s.results(int(script.sent.Load()), res), nil
}

// tell says what happens on the stage.
func (c *demo) tell(format string, args ...any) {
	w := c.out
	if c.json {
		w = c.err // standard output is for the object
	}
	fmt.Fprintf(w, format+"\n", args...)
}
