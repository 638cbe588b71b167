package pipes

// One message for each line.

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
	"github.com/penstock-io/penstock/messages"
)

type send struct {
	*cli.App
	link        cli.LinkFlags
	listen      string
	plain       []string
	plainOnFull string
	timeout     time.Duration
	sole        bool
	maxLine     int
	keySep      string
	require     []string
	zone        string
	farAbove    int
	diagnostics string
}

// Send returns the command send.
func Send(a *cli.App) *cobra.Command {
	c := send{App: a}
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

While no group has joined, send waits, and with --require until each of those groups
has. What is accepted waits in this process
for its acks, and is lost with it: code 4 means that some were not acked in time.
A signal stops the reading, and send waits up to 10 s for the acks.

With --plain, stock nanomsg peers get the lines too: nngcat, nanocat and other PULL
sockets that dial that URL. All of them are as one group, whose messages are acked
when they are written: each line goes to one of them. There is no token: whoever can
connect takes lines, and so keeps them from the others. What has no peer for a minute
is given up.`,
		Example: `  seq 1000 | penstock send orders
  penstock send orders lines.txt --timeout 30s --require billing,audit
  penstock send orders lines.txt --key-sep : --require shipping
  tail -f app.log | penstock send logs --listen tcp://:7000
  seq 1000 | penstock send orders --plain tcp://127.0.0.1:7100    # nngcat --pull0 --dial tcp://127.0.0.1:7100 --ascii
  tail -f app.log | penstock send logs --listen 'ipc:///run/logs.sock?mode=0660&group=logs'`,
		Args:              cli.Between(1, 2),
		ValidArgsFunction: completeDestination(a, cli.LeaveToShell(cobra.ShellCompDirectiveDefault)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.alone(cmd.Flags()); err != nil {
				return err
			}
			return c.run(cmd.Context(), args[0], cli.FileOf(args))
		},
	}
	a.Etcd.Add(cmd.Flags())
	c.link.Add(cmd.Flags())
	c.link.AddRequire(cmd.Flags())
	cmd.Flags().StringVar(&c.listen, "listen", "", "`url` that members dial, such as tcp://:7000-7010?advertise=example.com, or ws://:8080/penstock?advertise=wss://example.com/penstock behind a proxy, or advertise=$NAME for what that environment variable says, or ipc:///run/orders.sock?mode=0660&group=orders for members on this machine, or several with spaces in between (default "+actors.DefaultListen+", with --link-cacert "+actors.DefaultListenTLS+")")
	cmd.Flags().StringVar(&c.keySep, "key-sep", "", "`separator` between key and value of a line; none: the line is the value")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0, "give up after so long; 0 waits without limit")
	cmd.Flags().BoolVar(&c.sole, "sole", false, "refuse other senders of the destination, and fail where there is one")
	cmd.Flags().IntVar(&c.maxLine, "max-line", actors.DefaultMaxMessageSize, "longest line in `bytes`, 67108864 at most; a longer one ends the command with code 1")
	cmd.Flags().StringSliceVar(&c.require, "require", nil, "`groups` that get every line: send waits until each has joined")
	cmd.Flags().StringVar(&c.zone, "zone", "", "`name` of the place where this command runs: members with the same one get messages first")
	cmd.Flags().IntVar(&c.farAbove, "far-above", actors.DefaultFarAbove, "with --zone, members elsewhere get what is above `N` messages that wait in a group's queue")
	cmd.Flags().StringSliceVar(&c.plain, "plain", nil, "`url` that stock nanomsg PULL peers dial to get lines too, such as tcp://127.0.0.1:7100")
	cmd.Flags().StringVar(&c.plainOnFull, "plain-on-full", string(penstock.QueueBlock), "what happens when these peers read too slowly: block, drop-oldest or error")
	cli.CompleteFlag(cmd, "plain-on-full", string(penstock.QueueBlock), string(penstock.QueueDropOldest), string(penstock.QueueError))
	cli.DiagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

// alone refuses flags that do nothing without another.
func (c *send) alone(given *pflag.FlagSet) error {
	switch {
	case given.Changed("far-above") && c.zone == "":
		return cli.Usagef("--far-above %d does nothing without --zone: say where this command runs, as in --zone eu-1a, or leave --far-above out", c.farAbove)
	case given.Changed("plain-on-full") && len(c.plain) == 0:
		return cli.Usagef("--plain-on-full %s does nothing without --plain: say where plain peers dial, as in --plain tcp://127.0.0.1:7100, or leave --plain-on-full out", c.plainOnFull)
	default:
		return nil
	}
}

func (c *send) run(ctx context.Context, dest, file string) error {
	if err := c.link.Check(); err != nil {
		return err
	}
	in, err := c.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if c.timeout < 0 {
		return cli.Usagef("--timeout is negative")
	}
	if c.maxLine < 1 {
		return cli.Usagef("--max-line %d: want at least 1", c.maxLine)
	}
	cfg := actors.DestinationConfig{
		Name: dest, Listen: c.listen, Plain: strings.Join(c.plain, " "), PlainPolicy: messages.QueuePolicy(c.plainOnFull),
		MaxMessageSize: c.maxLine, Require: c.require, FarAbove: c.farAbove,
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	ctx, cancel := cli.Limited(ctx, c.timeout)
	defer cancel()
	rt, err := c.Start(ctx, append(append(cli.DiagnosticsOption(c.diagnostics), penstock.Listen(c.listen), penstock.Zone(c.zone)), c.link.Options()...)...)
	if err != nil {
		return err
	}
	c.ReportTroubles(rt, linkTrouble(dest))
	defer c.stop(ctx, rt)
	losses := watchLosses(c.App, rt, dest)
	register := []penstock.RegisterOption{penstock.MaxMessageSize(c.maxLine), penstock.RequireGroups(c.require...), penstock.PreferZone(c.farAbove)}
	if len(c.plain) > 0 {
		register = append(register, penstock.PlainListen(c.plain...), penstock.PlainOnFull(penstock.QueuePolicy(c.plainOnFull)))
	}
	if c.sole {
		register = append(register, penstock.SoleSender())
	}
	d, err := rt.Register(ctx, dest, register...)
	if err != nil {
		return err
	}

	sent, err := lines.Each(ctx, lines.NewReader(in, c.maxLine), func(line []byte) error {
		return d.Send(ctx, c.message(line))
	})
	if ferr := lines.Flush(ctx, d); ferr != nil {
		err = errors.Join(err, ferr)
	}
	o := outcome{sent: sent, unacked: pending(d), dropped: max(dropped(d), losses.dropped.most()), givenUp: losses.givenUp.most()}
	said := c.Said(errors.Join(err, o.err(err)))
	c.Say("%s", o)
	return said
}

// message is what a line says. One without the separator has no key.
func (c *send) message(line []byte) penstock.Message {
	if c.keySep != "" {
		if key, value, ok := bytes.Cut(line, []byte(c.keySep)); ok {
			return penstock.Message{Key: key, Value: value}
		}
	}
	return penstock.Message{Value: line}
}

// stop ends the runtime; what was not acked by now is given up.
func (c *send) stop(ctx context.Context, rt *penstock.Runtime) {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	var abandoned *penstock.AbandonedError
	if err := rt.Stop(stopping); err != nil && !errors.As(err, &abandoned) && c.Verbose > 0 {
		c.Complain(err)
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
// carry the same in sums, which may come after the end.
func dropped(d *penstock.Destination) int {
	most := uint64(0)
	for _, s := range d.Stats() {
		most = max(most, s.Dropped)
	}
	return int(min(most, math.MaxInt32))
}
