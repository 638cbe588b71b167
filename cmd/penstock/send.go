package main

// One message for each line.

import (
	"context"
	"errors"
	"fmt"
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
group acked.

While no group has joined, send waits. What is accepted waits in this process
for its acks, and is lost with it: code 4 tells that some were not acked in time.
A signal stops the reading and waits up to 10 s for what was accepted.`,
		Example: `  seq 1000 | penstock send orders
  penstock send orders lines.txt --timeout 30s
  tail -f app.log | penstock send logs --listen tcp://0.0.0.0:7000`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0], fileOf(args))
		},
	}
	a.etcd.add(cmd.Flags())
	cmd.Flags().StringVar(&c.listen, "listen", actors.DefaultListen, "`url` that members dial, such as tcp://0.0.0.0:7000-7010?advertise=example.com")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0, "give up after so long; 0 waits for ever")
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
	unacked := pending(d) + losses.count()
	if unacked > 0 && codeOf(err) != exitIncomplete {
		err = errors.Join(err, incompletef("%d messages were not acked by every group", unacked))
	}
	said := c.said(err)
	c.say("sent %d acked %d", sent, max(0, sent-unacked))
	return said
}

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

// losses counts what groups lost: dropped by their policy, or removed with the
// group.
type losses struct {
	mu    sync.Mutex
	group map[string]int
}

// watchLosses follows the events of a destination until rt stops, and tells
// what holds a Send up.
func watchLosses(a *app, rt *penstock.Runtime, dest string) *losses {
	l := &losses{group: make(map[string]int)}
	events := rt.Events(context.Background())
	go func() {
		for e := range events {
			switch e := e.(type) {
			case messages.SendWaiting:
				if e.Destination == dest {
					a.say("waiting: %s", waitingFor(e))
				}
			case messages.MessagesDropped:
				l.add(e.Group, e.Count)
			case messages.GroupRemoved:
				l.add(e.Group, e.Unsent)
			}
		}
	}()
	return l
}

func waitingFor(e messages.SendWaiting) string {
	if e.Group == "" {
		return fmt.Sprintf("no group of %s has joined yet", e.Destination)
	}
	return fmt.Sprintf("group %s of %s is full", e.Group, e.Destination)
}

func (l *losses) add(group string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.group[group] += n
}

// count is the loss of the group that lost most.
func (l *losses) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := 0
	for _, n := range l.group {
		most = max(most, n)
	}
	return most
}
