package pipes

// One line for each message.

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
	"github.com/penstock-io/penstock/messages"
)

type recv struct {
	*cli.App
	link        cli.LinkFlags
	count       int
	idle        time.Duration
	mode        string
	onFull      string
	window      int
	keepFor     string
	zone        string
	plainURLs   []string
	json        bool
	diagnostics string
}

// Recv returns the command recv.
func Recv(a *cli.App) *cobra.Command {
	c := recv{App: a}
	cmd := &cobra.Command{
		Use:   "recv DEST GROUP",
		Short: "Join a group and print each message on a line",
		Long: `Recv joins the group GROUP of the destination DEST as a member and prints the
value of each message with a newline after it. A message is acked once it is
written. A message that could not be written, as to a closed pipe, goes back to the
group, and the exit code is 1. When standard output is closed nothing is taken.
Every group gets every message, and one member of the group gets it.

Without --count and --idle it runs until a signal, and ends with code 0: it prints
first what has arrived. A value with newlines in it takes several lines; --json
keeps it on one. With --json a key, value or header that is not UTF-8 is printed as
key_base64 or value_base64.

In the mode at-most-once, messages that arrived and were not printed are lost.

With --plain-url, recv also takes what stock nanomsg peers send: nngcat, nanocat and
other PUSH sockets that listen at that URL, and are dialled again when they are gone.
Their bytes are printed as values; the URL is the sender. They send nothing again:
what arrived and was not printed is lost. There is no token: whoever listens there is
believed.`,
		Example: `  penstock recv orders billing
  penstock recv orders billing --count 10 --json | jq -r .value
  penstock recv orders audit --idle 5s > orders.txt
  penstock recv orders audit --keep-for forever    # the group waits for its members
  penstock recv orders billing --plain-url tcp://127.0.0.1:7200    # nngcat --push0 --listen tcp://127.0.0.1:7200 --data hello`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeDestination(a, completeGroupOf(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	c.link.Add(cmd.Flags())
	c.link.AddRequire(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&c.count, "count", 0, "end after `N` messages; the rest goes back to the group")
	f.DurationVar(&c.idle, "idle", 0, "end after so long without a message")
	f.StringVar(&c.mode, "mode", string(penstock.AtLeastOnce), "what the group promises: at-least-once, at-most-once, failover (one member at a time gets all of a sender, in order) or key-affinity (one gets all of a key, in order); the first member decides")
	f.StringVar(&c.onFull, "on-full", string(penstock.QueueBlock), "what a full group does to senders: block, drop-oldest or error; the first member decides")
	f.IntVar(&c.window, "window", actors.DefaultWindow, "how many unsettled messages each sender may have on its way to this member")
	f.StringVar(&c.keepFor, "keep-for", messages.DefaultKeepFor.String(), "how long the group outlives its last member: a `duration`, or forever")
	f.StringSliceVar(&c.plainURLs, "plain-url", nil, "`url` at which a stock nanomsg PUSH peer listens, to take its messages too, such as tcp://127.0.0.1:7200")
	f.BoolVar(&c.json, "json", false, "print an object for each message: key, value, headers, attempt, redelivered, sender, seq, time")
	f.StringVar(&c.zone, "zone", "", "`name` of the place where this command runs: senders that prefer it send to this member first")
	cli.DiagnosticsFlag(cmd, &c.diagnostics)
	cli.CompleteFlag(cmd, "mode", string(penstock.AtLeastOnce), string(penstock.AtMostOnce), string(penstock.Failover), string(penstock.KeyAffinity))
	cli.CompleteFlag(cmd, "on-full", string(penstock.QueueBlock), string(penstock.QueueDropOldest), string(penstock.QueueError))
	cli.CompleteFlag(cmd, "keep-for", "1m", "1h", "forever")
	return cmd
}

// parseKeepFor takes a duration or forever.
func parseKeepFor(s string) (time.Duration, error) {
	if s == "forever" {
		return penstock.Forever, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, cli.Usagef("--keep-for %q: want a duration such as 90s, or forever", s)
	}
	return d, nil
}

// windowFor asks for no more than is wanted, so that less has to go back.
func windowFor(window, count int) int {
	if count > 0 {
		return min(window, count)
	}
	return window
}

func (c *recv) run(ctx context.Context, dest, group string) error {
	if err := c.link.Check(); err != nil {
		return err
	}
	if err := c.OutputOpen(); err != nil {
		return err
	}
	keepFor, err := parseKeepFor(c.keepFor)
	if err != nil {
		return err
	}
	if c.count < 0 || c.idle < 0 {
		return cli.Usagef("--count and --idle cannot be negative")
	}
	if c.window < 1 {
		return cli.Usagef("--window %d: want at least 1", c.window)
	}
	cfg := actors.MemberConfig{
		Destination: dest, Group: group, Mode: messages.Mode(c.mode), Policy: messages.QueuePolicy(c.onFull),
		KeepFor: keepFor, Window: windowFor(c.window, c.count), PlainURLs: c.plainURLs,
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	rt, err := c.Start(ctx, append(append(cli.DiagnosticsOption(c.diagnostics), penstock.Zone(c.zone)), c.link.Options()...)...)
	if err != nil {
		return err
	}
	c.ReportTroubles(rt, linkTrouble(dest))
	m, err := rt.Join(ctx, dest, group,
		penstock.InMode(penstock.Mode(c.mode)), penstock.OnFull(penstock.QueuePolicy(c.onFull)),
		penstock.KeepFor(keepFor), penstock.Window(windowFor(c.window, c.count)), penstock.PlainURL(c.plainURLs...))
	if err != nil {
		if c.count == 0 && errors.Is(ctx.Err(), context.Canceled) {
			return c.Stop(ctx, rt) // by a signal, before there was anything to receive
		}
		return errors.Join(err, c.Stop(ctx, rt))
	}
	if m.Stats().Links == 0 {
		c.Say("waiting: %s has no sender yet", dest)
	}
	p := lines.Pump{Member: m, Out: c.Out, Encode: appendLine, Count: c.count, Idle: c.idle}
	if c.json {
		p.Encode = appendJSON
	}
	end, err := p.Run(ctx)
	if err == nil && c.count > 0 && end != lines.EndCounted {
		err = cli.Incompletef("got %d of %d messages (%s)", p.Acked(), c.count, end)
	}
	return errors.Join(err, c.Stop(ctx, rt))
}

// appendLine is a delivery as plain text.
func appendLine(dst []byte, d *penstock.Delivery) []byte {
	return append(append(dst, d.Value...), '\n')
}

// line is a delivery as JSON.
type line struct {
	lines.Payload
	Attempt     int        `json:"attempt"`
	Redelivered bool       `json:"redelivered,omitempty"`
	Sender      string     `json:"sender"`
	Seq         uint64     `json:"seq"`
	Time        *time.Time `json:"time,omitempty"`
}

// appendJSON is a delivery as one line of JSON.
func appendJSON(dst []byte, d *penstock.Delivery) []byte {
	l := line{Payload: lines.PayloadOf(&d.Payload), Attempt: d.Attempt, Redelivered: d.Redelivered, Sender: d.Sender, Seq: d.Seq}
	if t := d.Time(); !t.IsZero() {
		l.Time = &t
	}
	return lines.AppendJSON(dst, l)
}
