package main

// One message for each line.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

type send struct {
	*app
	listen      string
	timeout     time.Duration
	sole        bool
	maxLine     int
	diagnostics string
}

func (a *app) sendCommand() *cobra.Command {
	c := send{app: a}
	cmd := &cobra.Command{
		Use:   "send DEST [FILE]",
		Short: "Send each line of a file or of standard input as a message",
		Long: `Send registers as a sender of the destination DEST, sends each line, without its
newline, as a message to every group of DEST, and ends with code 0 when every
group has acked every message. Its last line on standard error is
"sent N acked N": how many messages were accepted, and how many of them every
group acked. Where a full group dropped messages, or messages were given up with
a group that was removed or with this sender, the line also has "dropped N"
and "given up N", and the code is 1.

While no group has joined, send waits. What is accepted waits in this process
for its acks, and is lost with it: code 4 tells that some were not acked in time.
A signal stops the reading and waits up to 10 s for what was accepted.`,
		Example: `  seq 1000 | penstock send orders
  penstock send orders lines.txt --timeout 30s
  tail -f app.log | penstock send logs --listen tcp://:7000`,
		Args:              between(1, 2),
		ValidArgsFunction: a.completeDestination(then(cobra.ShellCompDirectiveDefault)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0], fileOf(args))
		},
	}
	a.etcd.add(cmd.Flags())
	cmd.Flags().StringVar(&c.listen, "listen", actors.DefaultListen, "`url` that members dial, such as tcp://:7000-7010?advertise=example.com")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0, "give up after so long; 0 waits without limit")
	cmd.Flags().BoolVar(&c.sole, "sole", false, "refuse other senders of the destination, and fail where there is one")
	cmd.Flags().IntVar(&c.maxLine, "max-line", actors.DefaultMaxMessageSize, "longest line in `bytes`, 67108864 at most; a longer one ends the command with code 1")
	diagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

func diagnosticsFlag(cmd *cobra.Command, addr *string) {
	cmd.Flags().StringVar(addr, "diagnostics", "", "serve what this process does at a loopback `address` or unix:///path, for \"penstock actors\"")
}

func diagnosticsOption(addr string) []penstock.StartOption {
	if addr == "" {
		return nil
	}
	return []penstock.StartOption{penstock.Diagnostics(addr)}
}

func (c *send) run(ctx context.Context, dest, file string) error {
	in, err := c.open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if c.timeout < 0 {
		return usagef("--timeout is negative")
	}
	if c.maxLine < 1 {
		return usagef("--max-line %d: want at least 1", c.maxLine)
	}
	cfg := actors.DestinationConfig{Name: dest, Listen: c.listen, MaxMessageSize: c.maxLine}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	ctx, cancel := limited(ctx, c.timeout)
	defer cancel()
	rt, err := c.start(ctx, append(diagnosticsOption(c.diagnostics), penstock.Listen(c.listen))...)
	if err != nil {
		return err
	}
	defer c.stop(ctx, rt)
	losses := watchLosses(c.app, rt, dest)
	register := []penstock.RegisterOption{penstock.MaxMessageSize(c.maxLine)}
	if c.sole {
		register = append(register, penstock.SoleSender())
	}
	d, err := rt.Register(ctx, dest, register...)
	if err != nil {
		return err
	}

	sent, err := eachLine(ctx, newLineReader(in, c.maxLine), func(line []byte) error {
		return d.Send(ctx, penstock.Message{Value: line})
	})
	if ferr := flush(ctx, d); ferr != nil {
		err = errors.Join(err, ferr)
	}
	f := fate{sent: sent, unacked: pending(d), dropped: max(dropped(d), losses.dropped.most()), givenUp: losses.givenUp.most()}
	said := c.said(errors.Join(err, f.err(err)))
	c.say("%s", f)
	return said
}

// fate is what became of the messages of a send. Groups differ: each number is
// that of the group that had most of it.
type fate struct {
	sent             int // accepted
	unacked          int // not acked in time
	dropped, givenUp int // by a group's policy; with a group that was removed, or a sender that was replaced
}

// acked is how many messages every group acked, at least.
func (f fate) acked() int { return max(0, f.sent-f.unacked-f.dropped-f.givenUp) }

func (f fate) String() string {
	s := fmt.Sprintf("sent %d acked %d", f.sent, f.acked())
	if f.dropped > 0 {
		s += fmt.Sprintf(" dropped %d", f.dropped)
	}
	if f.givenUp > 0 {
		s += fmt.Sprintf(" given up %d", f.givenUp)
	}
	return s
}

// err is what a fate adds to the error with which the sending ended. What is
// lost is a failure; what may yet have been acked is incomplete.
func (f fate) err(ended error) error {
	var errs []error
	if f.dropped > 0 {
		errs = append(errs, fmt.Errorf("%d messages were dropped by a full group: %w", f.dropped, errLost))
	}
	if f.givenUp > 0 {
		errs = append(errs, fmt.Errorf("%d messages were given up: their group or their sender is gone: %w", f.givenUp, errLost))
	}
	if f.unacked > 0 && codeOf(ended) != exitIncomplete {
		errs = append(errs, incompletef("%d messages were not acked by every group", f.unacked))
	}
	return errors.Join(errs...)
}

// errLost: messages that were accepted will not be handled.
var errLost = errors.New("they are lost")

// stop ends the runtime; what was not acked by now is given up.
func (c *send) stop(ctx context.Context, rt *penstock.Runtime) {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	var abandoned *penstock.AbandonedError
	if err := rt.Stop(stopping); err != nil && !errors.As(err, &abandoned) && c.verbose > 0 {
		c.complain(err)
	}
}

// pending is how many messages the slowest group has not acked.
func pending(d *penstock.Destination) int {
	most := 0
	for _, s := range d.Stats() {
		most = max(most, s.Pending)
	}
	return most
}

// dropped is how many messages the group that dropped most has dropped. Events
// tell of the same in sums, which may come after the end.
func dropped(d *penstock.Destination) int {
	most := uint64(0)
	for _, s := range d.Stats() {
		most = max(most, s.Dropped)
	}
	return int(min(most, math.MaxInt32))
}

// losses counts what groups lost: dropped by their policy, or given up with a
// group or the sender.
type losses struct{ dropped, givenUp perGroup }

// perGroup is a number for each group. It is safe for concurrent use.
type perGroup struct {
	mu    sync.Mutex
	group map[string]int
}

// watchLosses follows the events of a destination until rt stops, and tells
// what holds a Send up.
func watchLosses(a *app, rt *penstock.Runtime, dest string) *losses {
	l := &losses{}
	events := rt.Events(context.Background())
	go func() {
		for e := range events {
			if e, ok := e.(messages.SendBlocked); ok && e.Destination == dest {
				a.say("waiting: %s", waitingFor(e))
			}
			l.hear(e)
		}
	}()
	return l
}

// hear takes one event. A process that sends has one destination.
func (l *losses) hear(e penstock.Event) {
	switch e := e.(type) {
	case messages.MessagesDropped:
		l.dropped.add(e.Group, e.Count)
	case messages.GroupRemoved:
		l.givenUp.add(e.Group, e.Unsent)
	}
}

func waitingFor(e messages.SendBlocked) string {
	if e.Group == "" {
		return fmt.Sprintf("no group of %s has joined yet", e.Destination)
	}
	return fmt.Sprintf("group %s of %s is full", e.Group, e.Destination)
}

func (p *perGroup) add(group string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group == nil {
		p.group = make(map[string]int)
	}
	p.group[group] += n
}

// most is the number of the group that has most.
func (p *perGroup) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	for _, n := range p.group {
		most = max(most, n)
	}
	return most
}
